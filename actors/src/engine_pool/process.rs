//! An engine child's process: the tasks that read and write it, and what they have to know of the run in it.

use std::cell::RefCell;
use std::process::ExitStatus;
use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;
use bytes::Bytes;
use protocol::engine::{Frame, FrameDecoder, FrameLimits};
use protocol::ids::RunId;
use sandbox::{Confined, Control};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::launch::Launch;
use super::memory;

/// The part of a child's stderr that is kept as evidence of how it died.
const STDERR_TAIL: usize = 4096;
/// The longest line of a child's output that goes to the operator's log.
const LONGEST_LINE: usize = 2000;
/// What an event costs of a run's budget besides its body.
const EVENT_OVERHEAD: usize = 256;

/// What the tasks tell the child's actor.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) enum FromProcess {
    Frame(Frame, Option<OwnedSemaphorePermit>),
    /// The events have ended; why, if not by the end of the stream.
    EventsEnded(Option<String>),
    /// The process has closed its descriptor of commands.
    CommandsClosed,
    /// It has written to it.
    CommandsWritten,
    Exited(Option<ExitStatus>),
}

/// What the run that a child executes may send.
#[derive(Debug, Clone)]
pub(super) struct Allowance {
    /// Bytes that the run's outbox can still hold.
    pub(super) budget: Arc<Semaphore>,
    /// Bytes of the largest body.
    pub(super) body: usize,
}

/// The run in a child, as far as the tasks that read from the child need to know it.
#[derive(Debug, Default)]
pub(super) struct Guest {
    /// Of the run in work.
    pub(super) allowance: Option<Allowance>,
    /// The run in work, else the one before it.
    pub(super) last: Option<RunId>,
}

/// Shared between the child and the tasks that read from it.
pub(super) type SharedGuest = Rc<RefCell<Guest>>;

/// A started process. Dropping it kills the process.
pub(super) struct Process {
    pub(super) control: Control,
    commands: mpsc::UnboundedSender<Bytes>,
    stderr: Rc<RefCell<String>>,
}

impl Process {
    /// Queues a command, or the next part of one. A child takes one run at a time, so only a handful ever wait.
    pub(super) fn send(&self, part: Bytes) {
        if self.commands.send(part).is_err() {
            log::debug!("an engine child ended before a command was written to it");
        }
    }

    /// Has the kernel limit the memory of the process for a run, where it can.
    pub(super) fn limit_memory(&self, limit_mb: f64) {
        self.control.limit_memory(memory::most_bytes(limit_mb));
    }

    /// The end of what the process wrote to stderr.
    pub(super) fn stderr(&self) -> String {
        self.stderr.borrow().clone()
    }
}

/// Starts a child and the tasks that read and write it.
///
/// # Errors
/// A text that names what could not be started.
pub(super) fn start(
    launch: &Launch,
    guest: SharedGuest,
    recipient: Recipient<FromProcess>,
) -> Result<Process, String> {
    let Confined {
        control,
        sockets,
        stdout,
        stderr: errors,
        reaper,
    } = sandbox::spawn(&launch.spec()?).map_err(|error| format!("an engine child: {error}"))?;
    let sockets = sockets.ok_or("an engine child has no sockets")?;
    let pid = control.pid();
    let (commands, queue) = mpsc::unbounded_channel();
    let stderr = Rc::new(RefCell::new(String::new()));
    if let Some(output) = stdout {
        actix_rt::spawn(log_lines(output, pid, Rc::clone(&guest), None));
    }
    if let Some(output) = errors {
        let tail = Some(Rc::clone(&stderr));
        actix_rt::spawn(log_lines(output, pid, Rc::clone(&guest), tail));
    }
    let (answers, writer) = sockets.commands.into_split();
    actix_rt::spawn(write(writer, queue));
    actix_rt::spawn(watch(answers, recipient.clone()));
    actix_rt::spawn(read(sockets.events, guest, recipient.clone()));
    actix_rt::spawn(async move {
        recipient.do_send(FromProcess::Exited(reaper.reap().await));
    });
    Ok(Process {
        control,
        commands,
        stderr,
    })
}

async fn write(mut socket: OwnedWriteHalf, mut queue: mpsc::UnboundedReceiver<Bytes>) {
    while let Some(frame) = queue.recv().await {
        if let Err(error) = socket.write_all(&frame).await {
            log::debug!("writing to an engine child failed: {error}");
            return;
        }
    }
}

/// A process that reads commands never answers there: whatever happens on the socket is job code's doing, or its end.
async fn watch(mut socket: OwnedReadHalf, events: Recipient<FromProcess>) {
    events.do_send(match socket.read(&mut [0; 1]).await {
        Ok(0) | Err(_) => FromProcess::CommandsClosed,
        Ok(_) => FromProcess::CommandsWritten,
    });
}

async fn read(mut socket: UnixStream, guest: SharedGuest, events: Recipient<FromProcess>) {
    let mut decoder = FrameDecoder::new(FrameLimits::default());
    let ended = loop {
        let body = guest
            .borrow()
            .allowance
            .as_ref()
            .map_or(0, |of_run| of_run.body);
        decoder.set_limits(FrameLimits {
            body,
            ..FrameLimits::default()
        });
        match decoder.next_frame() {
            Ok(Some(frame)) => {
                let permit = afford(&guest, frame.body.len()).await;
                events.do_send(FromProcess::Frame(frame, permit));
                continue;
            }
            Ok(None) => {}
            Err(error) => break Some(error.to_string()),
        }
        match socket.read_buf(decoder.buffer()).await {
            Ok(0) => break None,
            Ok(_) => {}
            Err(error) => break Some(format!("reading failed: {error}")),
        }
    };
    events.do_send(FromProcess::EventsEnded(ended));
}

/// Waits until the run's outbox can hold this event: meanwhile the descriptor is not read, so the job waits in its write. The
/// run's time goes on: a job that writes faster than Lightning takes it is a slow job.
async fn afford(guest: &SharedGuest, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let semaphore = guest.borrow().allowance.as_ref()?.budget.clone();
    // An event larger than the whole budget takes what there is.
    let most = semaphore.available_permits().max(EVENT_OVERHEAD);
    let wanted = u32::try_from((bytes + EVENT_OVERHEAD).min(most)).unwrap_or(u32::MAX);
    semaphore.acquire_many_owned(wanted).await.ok()
}

async fn log_lines(
    output: impl AsyncRead + Unpin,
    pid: u32,
    guest: SharedGuest,
    tail: Option<Rc<RefCell<String>>>,
) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        // Bounded: a job may write one endless line.
        match (&mut reader)
            .take(64 * 1024)
            .read_until(b'\n', &mut line)
            .await
        {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                log::debug!(target: "engine", "engine child {pid}: its output cannot be read: {error}");
                return;
            }
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if let Some(tail) = &tail {
            let mut tail = tail.borrow_mut();
            tail.push_str(text);
            tail.push('\n');
            if tail.len() > STDERR_TAIL {
                let mut cut = tail.len() - STDERR_TAIL;
                while !tail.is_char_boundary(cut) {
                    cut += 1;
                }
                tail.drain(..cut);
            }
        }
        if let Some(run) = &guest.borrow().last {
            log::trace!(target: "engine", run_id = run.as_str(); "engine child {pid} wrote {} bytes to its output in run {run}, which may hold its data", text.len());
        } else {
            let shown: String = text.chars().take(LONGEST_LINE).collect();
            log::debug!(target: "engine", "engine child {pid}: {shown}");
        }
    }
}
