//! A service that jobs ask: it answers every request with a little JSON.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::LoadError;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{\"patients\":3}";

/// Serves a free port, which is returned.
pub(crate) async fn start() -> Result<u16, LoadError> {
    let listen = || LoadError::system("listen for the service that jobs ask");
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .map_err(listen())?;
    let port = listener.local_addr().map_err(listen())?.port();
    actix_rt::spawn(async move {
        while let Ok((asker, _)) = listener.accept().await {
            actix_rt::spawn(answer(asker));
        }
    });
    Ok(port)
}

/// Answers requests without a body until the other side closes.
async fn answer(asker: TcpStream) -> io::Result<()> {
    asker.set_nodelay(true)?;
    let (input, mut output) = asker.into_split();
    let mut lines = BufReader::new(input).lines();
    while let Some(line) = lines.next_line().await? {
        if line.is_empty() {
            output.write_all(ANSWER).await?;
        }
    }
    Ok(())
}
