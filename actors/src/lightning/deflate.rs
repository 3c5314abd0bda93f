//! permessage-deflate (RFC 7692): what is agreed on, and messages in and out. No socket.

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What is offered: neither side keeps anything between two messages, so that a socket costs no memory while it is quiet.
pub(super) const OFFER: &str =
    "permessage-deflate; client_no_context_takeover; server_no_context_takeover";

/// A message below this is sent as it is: its few packets are not worth the time.
pub(super) const WORTHWHILE: usize = 4 << 10;

/// What was compressed goes on its way in parts of this size.
pub(super) const PART: usize = 64 << 10;

/// What ends the flush of a message, and is not sent (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// How much is compressed or inflated before others have their turn on the thread.
const TURN: usize = 256 << 10;

/// What client and server agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Agreed {
    /// Every message goes as it is.
    Plain,
    /// Messages may be compressed.
    Deflate {
        /// The server's messages refer back to earlier ones: it did not take up that part of the offer.
        server_keeps_context: bool,
    },
}

/// The server's answer to the offer is not one that can be lived with (RFC 7692, section 7.1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Lightning wants to compress with {0:?}, which was not offered: start the worker with --no-compression"
)]
pub struct NotOffered(String);

/// Reads the `Sec-WebSocket-Extensions` header of the server's answer; `offered` is whether [`OFFER`] was sent.
///
/// # Errors
/// [`NotOffered`] for another extension, or parameters that are unknown, repeated, of a wrong value or not for us to have.
pub(super) fn agreed(answer: &str, offered: bool) -> Result<Agreed, NotOffered> {
    let answer = answer.trim();
    if answer.is_empty() {
        return Ok(Agreed::Plain);
    }
    let wrong = || NotOffered(answer.to_owned());
    let mut parts = answer.split(';').map(str::trim);
    if parts.next() != Some("permessage-deflate") || !offered {
        return Err(wrong());
    }
    let mut seen = Vec::new();
    let mut server_keeps_context = true;
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(value.trim().trim_matches('"'))),
            None => (part, None),
        };
        if seen.contains(&name) {
            return Err(wrong());
        }
        seen.push(name);
        match (name, value) {
            ("server_no_context_takeover", None) => server_keeps_context = false,
            // Ours are independent of each other in any case.
            ("client_no_context_takeover", None) => {}
            // Every window up to the largest can be inflated.
            (
                "server_max_window_bits",
                Some("8" | "9" | "10" | "11" | "12" | "13" | "14" | "15"),
            ) => {}
            _ => return Err(wrong()),
        }
    }
    Ok(Agreed::Deflate {
        server_keeps_context,
    })
}

/// Compresses one message, piece by piece.
pub(super) struct Deflater {
    compress: Compress,
    out: Vec<u8>,
    since_turn: usize,
}

impl Deflater {
    pub(super) fn new() -> Self {
        Self {
            // The fastest level: what is left to gain on records costs three times as much.
            compress: Compress::new(Compression::fast(), false),
            out: Vec::new(),
            since_turn: 0,
        }
    }

    /// Takes in a piece.
    ///
    /// # Errors
    /// None in practice: it is for misuse of the library.
    pub(super) fn add(&mut self, piece: &[u8]) -> std::io::Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        self.run(piece, FlushCompress::None)
    }

    /// The next part that can be sent, once there is enough of it.
    pub(super) fn part(&mut self) -> Option<Bytes> {
        (self.out.len() >= PART).then(|| std::mem::take(&mut self.out).into())
    }

    /// The last part of the message.
    ///
    /// # Errors
    /// None in practice, as for [`Self::add`].
    pub(super) fn finish(mut self) -> std::io::Result<Bytes> {
        self.run(&[], FlushCompress::Sync)?;
        let end = self.out.len().saturating_sub(TAIL.len());
        if self.out[end..] != TAIL {
            return Err(std::io::Error::other("a flush of DEFLATE ended otherwise"));
        }
        self.out.truncate(end);
        Ok(self.out.into())
    }

    /// To be called between pieces: lets others have their turn once in a while.
    pub(super) async fn turn(&mut self, bytes: usize) {
        take_turns(&mut self.since_turn, bytes).await;
    }

    fn run(&mut self, mut piece: &[u8], flush: FlushCompress) -> std::io::Result<()> {
        loop {
            self.out.reserve(piece.len() / 2 + 256);
            let before = self.compress.total_in();
            self.compress
                .compress_vec(piece, &mut self.out, flush)
                .map_err(std::io::Error::other)?;
            piece = &piece[consumed(before, self.compress.total_in())..];
            // Room that is left means that nothing is held back.
            if piece.is_empty() && self.out.len() < self.out.capacity() {
                return Ok(());
            }
        }
    }
}

/// A whole message compressed, `None` where that makes it no smaller.
pub(super) async fn deflated(message: &[u8]) -> std::io::Result<Option<Bytes>> {
    let mut deflater = Deflater::new();
    for piece in message.chunks(PART) {
        deflater.add(piece)?;
        deflater.turn(piece.len()).await;
    }
    let out = deflater.finish()?;
    Ok((out.len() < message.len()).then_some(out))
}

/// Whether what begins with these pieces is worth compressing: pictures and archives, written as text, are not.
pub(super) fn pays(beginning: &[Bytes]) -> std::io::Result<bool> {
    let mut deflater = Deflater::new();
    for piece in beginning {
        deflater.add(piece)?;
    }
    let bytes: usize = beginning.iter().map(Bytes::len).sum();
    Ok(deflater.finish()?.len() < bytes / 10 * 9)
}

/// Why a message cannot be inflated.
#[derive(Debug, thiserror::Error)]
pub(super) enum InflateError {
    #[error("Lightning sent a message of more than {0} bytes, compressed")]
    TooLarge(usize),
    #[error("Lightning sent a compressed message that cannot be inflated")]
    Corrupt,
}

/// Inflates the server's messages.
pub(super) struct Inflater {
    keeps_context: bool,
    /// What was kept of the message before.
    context: Option<Decompress>,
}

impl Inflater {
    pub(super) fn new(agreed: Agreed) -> Self {
        Self {
            keeps_context: agreed
                == Agreed::Deflate {
                    server_keeps_context: true,
                },
            context: None,
        }
    }

    /// The message that was compressed, of at most so many bytes.
    ///
    /// # Errors
    /// [`InflateError`]; the socket is of no use after it.
    pub(super) async fn inflate(
        &mut self,
        message: &[u8],
        limit: usize,
    ) -> Result<Bytes, InflateError> {
        let fresh = || Decompress::new(false);
        let mut decompress = self.context.take().unwrap_or_else(fresh);
        let mut out = Vec::with_capacity(message.len().saturating_mul(2).min(limit) + 256);
        let mut since_turn = 0;
        for mut input in [message, &TAIL] {
            // Without room there may be more to come from what was read.
            while !input.is_empty() || out.len() == out.capacity() {
                if out.len() == out.capacity() {
                    let growth = out.len().max(PART).min(limit + 1 - out.len());
                    out.reserve_exact(growth);
                }
                let (before, had) = (decompress.total_in(), out.len());
                let turn = &input[..input.len().min(PART)];
                let status = decompress
                    .decompress_vec(turn, &mut out, FlushDecompress::Sync)
                    .map_err(|_| InflateError::Corrupt)?;
                let read = consumed(before, decompress.total_in());
                input = &input[read..];
                if out.len() > limit {
                    return Err(InflateError::TooLarge(limit));
                }
                match status {
                    // A sender may end a stream within a message; what follows is another one.
                    Status::StreamEnd => decompress.reset(false),
                    Status::Ok | Status::BufError => {
                        if read == 0 && out.len() == had && !input.is_empty() {
                            return Err(InflateError::Corrupt);
                        }
                    }
                }
                take_turns(&mut since_turn, out.len() - had).await;
            }
        }
        if self.keeps_context {
            self.context = Some(decompress);
        }
        Ok(out.into())
    }
}

/// How much of its input the library has taken.
fn consumed(before: u64, after: u64) -> usize {
    usize::try_from(after - before).unwrap_or(usize::MAX)
}

async fn take_turns(since: &mut usize, bytes: usize) {
    *since += bytes;
    if *since >= TURN {
        *since = 0;
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests;
