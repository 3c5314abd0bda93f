//! An engine child's process: the tasks that read and write it, and what they have to know of the run in it.

use std::cell::{Cell, RefCell};
use std::process::ExitStatus;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use protocol::engine::{Frame, FrameDecoder, FrameLimits};
use protocol::ids::RunId;
use protocol::size::Mebibytes;
use sandbox::egress::{OnRefusal, Refusal};
use sandbox::{Confined, Control};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::error::LaunchError;
use super::launch::Launch;
use super::memory;
use crate::tell::Tell as _;

/// The part of a child's stderr that is kept as evidence of how it died.
const STDERR_TAIL: usize = 4096;
/// How V8 begins to say why it ends the process.
pub(super) const FATAL: &str = "FATAL ERROR: ";
/// The longest line of a child's output that goes to the operator's log.
const LONGEST_LINE: usize = 2000;
/// What an event costs of a run's budget besides its body.
const EVENT_OVERHEAD: usize = 256;
/// How long events may still arrive after the process has ended: its group is killed with it, so only a process that left the
/// group can keep the descriptor open.
const LEFTOVERS: Duration = Duration::from_secs(30);

/// What the tasks tell the child's actor.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) enum FromProcess {
    Frame(Frame, Option<OwnedSemaphorePermit>),
    /// The process did what its side of the wire never does; what.
    Broke(String),
    /// It has closed a descriptor, or has ended; which.
    Closed(&'static str),
    /// A job was refused a connection, for the first time in its run by this rule.
    Refused(Refusal),
    /// It is dead, and all that it had said was passed on.
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
pub(super) struct ActiveRun {
    /// Of the run in work.
    pub(super) allowance: Option<Allowance>,
    /// The run in work, else the one before it.
    pub(super) last: Option<RunId>,
    /// The end of what the process wrote to stderr in that run, or before it: evidence of how it died.
    pub(super) errors: String,
    /// The last line in which V8 said why it ends the process. A long stack follows it.
    pub(super) fatal: Option<String>,
}

impl ActiveRun {
    fn hear(&mut self, line: &str) {
        if line.starts_with(FATAL) {
            self.fatal = Some(line.to_owned());
        }
        let tail = &mut self.errors;
        tail.push_str(line);
        tail.push('\n');
        if tail.len() > STDERR_TAIL {
            let mut cut = tail.len() - STDERR_TAIL;
            while !tail.is_char_boundary(cut) {
                cut += 1;
            }
            tail.drain(..cut);
        }
    }

    /// What it wrote to stderr, as far as it is kept, and nothing the next time.
    pub(super) fn take_errors(&mut self) -> String {
        let fatal = self.fatal.take().map(|line| line + "\n");
        fatal.unwrap_or_default() + &std::mem::take(&mut self.errors)
    }
}

/// Shared between the child and the tasks that read from it.
pub(super) type SharedRun = Rc<RefCell<ActiveRun>>;

/// A started process. Dropping it kills the process.
pub(super) struct Process {
    pub(super) control: Control,
    commands: mpsc::UnboundedSender<Bytes>,
    exited: Rc<Cell<bool>>,
}

impl Process {
    /// Queues a command, or the next part of one. A child takes one run at a time, so only a handful ever wait.
    pub(super) fn send(&self, part: Bytes) {
        if self.commands.send(part).is_err() {
            log::debug!("an engine child ended before a command was written to it");
        }
    }

    /// Has the kernel limit the memory of the process for a run, where it can.
    pub(super) fn limit_memory(&self, limit: Mebibytes) {
        self.control.limit_memory(memory::most_bytes(limit));
    }

    /// Whether it is dead, though something of it may still be on its way.
    pub(super) fn has_exited(&self) -> bool {
        self.exited.get()
    }
}

/// Starts a child and the tasks that read and write it.
///
/// # Errors
/// What could not be started.
pub(super) fn start(
    launch: &Launch,
    active: SharedRun,
    recipient: Recipient<FromProcess>,
) -> Result<Process, LaunchError> {
    let hears = recipient.clone();
    let refusals = OnRefusal::new(move |refusal| hears.tell(FromProcess::Refused(refusal)));
    let Confined {
        control,
        sockets,
        stdout,
        stderr,
        reaper,
    } = sandbox::spawn(&launch.spec(refusals)?)?;
    let sockets = sockets.ok_or(LaunchError::NoSockets)?;
    let pid = control.pid();
    let (commands, queue) = mpsc::unbounded_channel();
    if let Some(output) = stdout {
        actix_rt::spawn(log_lines(output, pid, Rc::clone(&active), Output::Stdout));
    }
    if let Some(output) = stderr {
        actix_rt::spawn(log_lines(output, pid, Rc::clone(&active), Output::Stderr));
    }
    let (answers, writer) = sockets.commands.into_split();
    actix_rt::spawn(write(writer, queue));
    actix_rt::spawn(watch(answers, recipient.clone()));
    let exited = Rc::new(Cell::new(false));
    let (all_heard, hearing) = oneshot::channel::<()>();
    let (has_exited, events) = (Rc::clone(&exited), recipient.clone());
    actix_rt::spawn(async move {
        let broken = read(sockets.events, active, &events).await;
        // The end of a process ends the stream too.
        if !has_exited.get() {
            events.tell(match broken {
                Some(why) => FromProcess::Broke(why),
                None => FromProcess::Closed("it closed its descriptor of events"),
            });
        }
        drop(all_heard);
    });
    let has_exited = Rc::clone(&exited);
    actix_rt::spawn(async move {
        let status = reaper.reap().await;
        has_exited.set(true);
        if tokio::time::timeout(LEFTOVERS, hearing).await.is_err() {
            log::debug!(
                "something that left the group of engine child {pid} keeps its events open"
            );
        }
        recipient.tell(FromProcess::Exited(status));
    });
    Ok(Process {
        control,
        commands,
        exited,
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
    events.tell(match socket.read(&mut [0; 1]).await {
        Ok(0) | Err(_) => FromProcess::Closed("it closed its descriptor of commands"),
        Ok(_) => FromProcess::Broke("it wrote to its descriptor of commands".to_owned()),
    });
}

/// Passes on what the process says, up to its end; why that came, if not by the end of the stream.
async fn read(
    mut socket: UnixStream,
    active: SharedRun,
    events: &Recipient<FromProcess>,
) -> Option<String> {
    let mut decoder = FrameDecoder::new(FrameLimits::default());
    loop {
        let body = active
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
                let permit = acquire_budget(&active, frame.body.len()).await;
                events.tell(FromProcess::Frame(frame, permit));
                continue;
            }
            Ok(None) => {}
            Err(error) => return Some(error.to_string()),
        }
        match socket.read_buf(decoder.buffer()).await {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) => return Some(format!("reading failed: {error}")),
        }
    }
}

/// Waits until the run's outbox can hold this event: meanwhile the descriptor is not read, so the job waits in its write. The
/// run's time goes on: a job that writes faster than Lightning takes it is a slow job.
async fn acquire_budget(active: &SharedRun, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let semaphore = active.borrow().allowance.as_ref()?.budget.clone();
    // An event larger than the whole budget takes what there is.
    let most = semaphore.available_permits().max(EVENT_OVERHEAD);
    let wanted = u32::try_from((bytes + EVENT_OVERHEAD).min(most)).unwrap_or(u32::MAX);
    semaphore.acquire_many_owned(wanted).await.ok()
}

/// What a process writes lines to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    Stdout,
    Stderr,
}

async fn log_lines(output: impl AsyncRead + Unpin, pid: u32, active: SharedRun, kind: Output) {
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
        if kind == Output::Stderr {
            active.borrow_mut().hear(text);
        }
        if let Some(run) = &active.borrow().last {
            log::trace!(target: "engine", run_id = run.as_str(); "engine child {pid} wrote {} bytes to its output in run {run}, which may hold its data", text.len());
        } else {
            let shown: String = text.chars().take(LONGEST_LINE).collect();
            log::debug!(target: "engine", "engine child {pid}: {shown}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_v8_ends_a_process_is_kept_however_long_the_stack_is_that_follows() {
        let mut run = ActiveRun::default();
        run.hear(
            "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
        );
        (0..100).for_each(|_| run.hear(&"x".repeat(200)));
        let errors = run.take_errors();
        assert!(errors.starts_with(FATAL));
        assert!(errors.len() < 2 * STDERR_TAIL);
        assert_eq!(run.take_errors(), "");
    }
}
