//! A program that is only waited for.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::error::Error;
use crate::spawn::{Confined, spawn};
use crate::spec::Spec;

/// The part of a program's output that is kept, of each stream: npm prints hundreds of lines when much goes wrong.
const MOST_OUTPUT: u64 = 4 << 20;

/// What came of a program.
#[derive(Debug)]
pub struct Output {
    /// How it ended; `None` when it did not in time and was killed.
    pub status: Option<ExitStatus>,
    /// What it printed, from the beginning.
    pub stdout: Vec<u8>,
    /// What it printed to stderr, from the beginning.
    pub stderr: Vec<u8>,
}

/// Runs a program to its end, or kills it when that takes longer than `patience`. Dropping the future kills it too.
///
/// # Errors
/// When it cannot be started or its output not be read.
pub async fn output(spec: &Spec, patience: Duration) -> Result<Output, Error> {
    let Confined {
        mut control,
        stdout,
        stderr,
        reaper,
        ..
    } = spawn(spec)?;
    let mut is_late = false;
    let end = async {
        let reap = reaper.reap();
        tokio::pin!(reap);
        tokio::select! {
            status = &mut reap => status,
            () = tokio::time::sleep(patience) => {
                is_late = true;
                control.kill();
                reap.await
            }
        }
    };
    let (status, stdout, stderr) = tokio::join!(end, read(stdout), read(stderr));
    let failed = |error| Error::Read {
        program: spec.program.clone(),
        error,
    };
    Ok(Output {
        status: status.filter(|_| !is_late),
        stdout: stdout.map_err(failed)?,
        stderr: stderr.map_err(failed)?,
    })
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut stream) = stream {
        (&mut stream)
            .take(MOST_OUTPUT)
            .read_to_end(&mut kept)
            .await?;
        // Read on, so that the program does not wait for ever.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}
