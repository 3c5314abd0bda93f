//! A TCP proxy that holds back what passes through it, as a long way would: later, and no more at a time than the line
//! carries.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::LoadError;

/// What a narrow line takes in ahead of what it has carried.
const BUFFER: Duration = Duration::from_millis(50);

const CHUNK_BYTES: usize = 64 * 1024;

/// Forwards a free port, which is returned, to `target`, each way with `delay` and at most `mbit` Mbit/s.
pub(crate) async fn start(
    target: u16,
    delay: Duration,
    mbit: Option<u64>,
) -> Result<u16, LoadError> {
    let listen = || LoadError::system("listen for the proxy");
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .map_err(listen())?;
    let port = listener.local_addr().map_err(listen())?.port();
    actix_rt::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            actix_rt::spawn(forward(near, target, delay, mbit));
        }
    });
    Ok(port)
}

async fn forward(
    near: TcpStream,
    target: u16,
    delay: Duration,
    mbit: Option<u64>,
) -> io::Result<()> {
    let far = TcpStream::connect(("127.0.0.1", target)).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    actix_rt::spawn(one_way(near_in, far_out, delay, mbit));
    one_way(far_in, near_out, delay, mbit).await
}

/// Reading and writing are apart, so that the delay is that of a distance and not that of a bottleneck.
async fn one_way(
    mut from: impl AsyncRead + Unpin + 'static,
    mut to: impl AsyncWrite + Unpin + 'static,
    delay: Duration,
    mbit: Option<u64>,
) -> io::Result<()> {
    let (sender, mut queue) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    actix_rt::spawn(async move {
        while let Some((due, bytes)) = queue.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        // The other side may have gone first.
        to.shutdown().await.ok();
    });
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut free = Instant::now();
    loop {
        let length = from.read(&mut chunk).await?;
        let bytes = chunk[..length].to_vec();
        free = free.max(Instant::now());
        if let Some(mbit) = mbit {
            // A bit a microsecond is a megabit a second.
            free += Duration::from_micros(length as u64 * 8 / mbit.max(1));
        }
        if length == 0 || sender.send((free + delay, bytes)).is_err() {
            return Ok(());
        }
        tokio::time::sleep_until(free - BUFFER).await;
    }
}
