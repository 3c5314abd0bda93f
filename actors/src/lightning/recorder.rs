//! Writes what goes over the wire into a file (`--record`), for `ws-worker replay`.
//!
//! The connections hand over what they send and receive, and never wait: a thread of its own takes secrets and data out,
//! writes, and changes files. What it has no time for is left out, and the recording says how much that was. An error of
//! the disk ends the recording, not the worker.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, mem};

use bytes::Bytes;
use log_events::{event, table};
use protocol::lightning::{LongPayload, Timestamp};
use protocol::recording::{
    CLOSED_BY_WORKER, Direction, Header, Loss, Message, Record, Redactor, What,
};

use super::socket::{SocketEnd, SocketEventKind};
use crate::clock;

/// What may wait for the writer.
const QUEUED_RECORDS: usize = 4096;
const QUEUED_BYTES: usize = 32 << 20;

/// How long the writer may take for the rest at the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// The recording of all connections; cheap to clone.
#[derive(Clone)]
pub struct Recorder(Arc<Inner>);

struct Inner {
    queue: SyncSender<(Timestamp, u64, Taken)>,
    sockets: AtomicU64,
    waiting: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
    /// Nothing more is written: by an error, or because it is over.
    over: Arc<AtomicBool>,
    written: Mutex<mpsc::Receiver<()>>,
}

/// What the actors hand over: nothing is copied that they could share.
enum Taken {
    What(What),
    Text(Bytes),
    Long(Vec<u8>, LongPayload, &'static [u8]),
    Binary(Bytes),
    End,
}

impl Taken {
    fn bytes(&self) -> usize {
        match self {
            Self::What(What::Out(text)) => text.len(),
            Self::What(_) | Self::End => 0,
            Self::Text(bytes) | Self::Binary(bytes) => bytes.len(),
            Self::Long(begin, payload, _) => begin.len() + payload.bytes(),
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorder")
    }
}

impl Recorder {
    /// Begins a recording in this file, which only its owner may read; an older file of this name becomes `<name>.1`, as it
    /// does again when `most_bytes` are written.
    ///
    /// # Errors
    /// The file cannot be made, or the thread cannot be started.
    pub fn start(path: &Path, most_bytes: u64, header: Header) -> io::Result<Self> {
        let (queue, records) = mpsc::sync_channel(QUEUED_RECORDS);
        let (done, written) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let dropped = Arc::new(AtomicU64::new(0));
        let over = Arc::new(AtomicBool::new(false));
        let mut writer = Writer {
            redactor: Redactor::new(header.data),
            tape: Tape::create(path, most_bytes, header)?,
            waiting: Arc::clone(&waiting),
            dropped: Arc::clone(&dropped),
            over: Arc::clone(&over),
        };
        std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || {
                if let Err(error) = writer.write_all(&records) {
                    let path = writer.tape.path.display();
                    event!(table::RECORDING_FAILED, file:% = path, error:% = error; "the recording {path} ends here, it cannot be written: {error}");
                }
                writer.over.store(true, Ordering::Relaxed);
                if done.send(()).is_err() {
                    log::debug!("nobody waits for the end of the recording");
                }
            })?;
        Ok(Self(Arc::new(Inner {
            queue,
            sockets: AtomicU64::new(0),
            waiting,
            dropped,
            over,
            written: Mutex::new(written),
        })))
    }

    /// Ends the recording; waits a moment for what is not written yet.
    pub fn finish(&self) {
        self.take(0, Taken::End);
        self.0.over.store(true, Ordering::Relaxed);
        let written = self
            .0
            .written
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if written.recv_timeout(FAREWELL) == Err(RecvTimeoutError::Timeout) {
            event!(table::RECORDING_GAPS, error = "its end was not written in time"; "the end of the recording is missing: it could not be written in time");
        }
    }

    fn take(&self, socket: u64, taken: Taken) {
        let inner = &self.0;
        if inner.over.load(Ordering::Relaxed) {
            return;
        }
        let bytes = taken.bytes();
        let before = inner.waiting.fetch_add(bytes, Ordering::Relaxed);
        let fits = before == 0 || before + bytes <= QUEUED_BYTES;
        if !fits || inner.queue.try_send((clock::now(), socket, taken)).is_err() {
            inner.waiting.fetch_sub(bytes, Ordering::Relaxed);
            inner.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One connection's hand in the recording; without one, nothing is done.
#[derive(Debug, Default)]
pub(super) struct Microphone {
    recorder: Option<Recorder>,
    /// The number of the present socket.
    socket: u64,
}

impl Microphone {
    pub(super) fn new(recorder: Option<Recorder>) -> Self {
        Self {
            recorder,
            socket: 0,
        }
    }

    pub(super) fn opened(&mut self) {
        if let Some(recorder) = &self.recorder {
            self.socket = recorder.0.sockets.fetch_add(1, Ordering::Relaxed) + 1;
            recorder.take(self.socket, Taken::What(What::Opened));
        }
    }

    pub(super) fn not_opened(&self, why: &str) {
        if let Some(recorder) = &self.recorder {
            recorder.take(0, Taken::What(What::NotOpened(why.to_owned())));
        }
    }

    pub(super) fn lost(&self, ended: &SocketEnd) {
        let (why, code) = (ended.why.clone(), ended.code);
        self.what(|| What::Lost(Loss { why, code }));
    }

    /// The worker itself ends the connection.
    pub(super) fn closed(&self) {
        let why = CLOSED_BY_WORKER.to_owned();
        self.what(|| What::Lost(Loss { why, code: None }));
    }

    pub(super) fn sent(&self, text: &str) {
        self.what(|| What::Out(text.to_owned()));
    }

    pub(super) fn sent_long(&self, begin: &[u8], payload: &LongPayload, end: &'static [u8]) {
        if let Some(recorder) = &self.recorder {
            let taken = Taken::Long(begin.to_vec(), payload.clone(), end);
            recorder.take(self.socket, taken);
        }
    }

    pub(super) fn received(&self, event: &SocketEventKind) {
        if let Some(recorder) = &self.recorder {
            match event {
                SocketEventKind::Text(text) => {
                    recorder.take(self.socket, Taken::Text(text.clone()));
                }
                SocketEventKind::Binary(bytes) => {
                    recorder.take(self.socket, Taken::Binary(bytes.clone()));
                }
                SocketEventKind::Life | SocketEventKind::Ended(_) => {}
            }
        }
    }

    fn what(&self, what: impl FnOnce() -> What) {
        if let Some(recorder) = &self.recorder {
            recorder.take(self.socket, Taken::What(what()));
        }
    }
}

/// The writing thread.
struct Writer {
    tape: Tape,
    redactor: Redactor,
    waiting: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Writer {
    /// Writes until the end, or until an error.
    fn write_all(&mut self, records: &mpsc::Receiver<(Timestamp, u64, Taken)>) -> io::Result<()> {
        loop {
            let (time, socket, taken) = match records.try_recv() {
                Ok(record) => record,
                Err(TryRecvError::Empty) => {
                    self.tape.file.flush()?;
                    // The mark of the end may not have found room.
                    match records.recv_timeout(FAREWELL) {
                        Ok(record) => record,
                        Err(RecvTimeoutError::Timeout) if !self.over.load(Ordering::Relaxed) => {
                            continue;
                        }
                        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                            return Ok(());
                        }
                    }
                }
                Err(TryRecvError::Disconnected) => return self.tape.file.flush(),
            };
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                event!(table::RECORDING_GAPS, records = dropped; "{dropped} records are missing in the recording: the disk is too slow");
                self.write(time, 0, What::Dropped(dropped))?;
            }
            self.waiting.fetch_sub(taken.bytes(), Ordering::Relaxed);
            let what = match taken {
                Taken::End => return self.tape.file.flush(),
                Taken::What(What::Out(text)) => self.out(socket, &text),
                Taken::What(what) => what,
                Taken::Long(mut text, payload, end) => {
                    text.reserve(payload.bytes() + end.len());
                    for piece in payload.pieces() {
                        text.extend_from_slice(&piece.map_err(io::Error::other)?);
                    }
                    text.extend_from_slice(end);
                    self.out(socket, &String::from_utf8_lossy(&text))
                }
                Taken::Text(bytes) => {
                    let text = String::from_utf8_lossy(&bytes);
                    What::In(Message::Text(self.redactor.text(
                        socket,
                        Direction::In,
                        &text,
                    )))
                }
                Taken::Binary(bytes) => {
                    What::In(Message::Binary(self.redactor.binary(socket, &bytes)))
                }
            };
            self.write(time, socket, what)?;
        }
    }

    fn out(&mut self, socket: u64, text: &str) -> What {
        What::Out(self.redactor.text(socket, Direction::Out, text))
    }

    fn write(&mut self, time: Timestamp, socket: u64, what: What) -> io::Result<()> {
        let record = Record { time, socket, what };
        let line = record.line().map_err(io::Error::other)?;
        self.tape.write(&line)
    }
}

/// The files.
struct Tape {
    path: PathBuf,
    header: Header,
    most: u64,
    file: BufWriter<File>,
    bytes: u64,
}

impl Tape {
    fn create(path: &Path, most: u64, header: Header) -> io::Result<Self> {
        let mut tape = Self {
            file: BufWriter::new(begin(path)?),
            path: path.to_owned(),
            header,
            most,
            bytes: 0,
        };
        tape.write_header()?;
        tape.file.flush()?;
        Ok(tape)
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.most {
            self.file.flush()?;
            let full = mem::replace(&mut self.file, BufWriter::new(begin(&self.path)?));
            drop(full);
            self.header.part += 1;
            self.header.time = clock::now();
            self.write_header()?;
        }
        self.bytes += line.len() as u64;
        self.file.write_all(line.as_bytes())
    }

    /// What a header takes does not count, so that each file has room for a record.
    fn write_header(&mut self) -> io::Result<()> {
        self.bytes = 0;
        let line = self.header.line().map_err(io::Error::other)?;
        self.file.write_all(line.as_bytes())
    }
}

/// A new file, the one that was there being kept under another name.
fn begin(path: &Path) -> io::Result<File> {
    let mut older = path.as_os_str().to_owned();
    older.push(".1");
    match std::fs::rename(path, older) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests;
