//! The outbox against a server that stores ids once: whatever is lost, crashes or comes late, everything arrives.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;
use protocol::lightning::Refusal;
use tokio::sync::Semaphore;

use super::super::cause::RETRIES;
use super::tests::{line_of, run_end, run_start, step_complete, step_start};
use super::*;

const WINDOW: usize = 4;
const STEPS: usize = 3;
/// More than the outbox needs for everything, with every answer missing once.
const PLENTY: usize = 10_000;

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Op {
    /// The job says something.
    Say,
    /// The outbox sends what it may.
    Send,
    /// The server handles what it has got first.
    Handle,
    /// The server passes over what it has got first, without a word.
    PassOver,
    /// Answers reach the outbox.
    Answer,
    /// The link is lost with the answers under way; the server still handles this many of what it has got.
    Lose(usize),
    /// The channel crashes under what the server has got first, which is not stored.
    Crash,
    /// The server refuses what it has got first, in words that are not known.
    Refuse,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => Just(Op::Say),
        4 => Just(Op::Send),
        6 => Just(Op::Handle),
        4 => Just(Op::Answer),
        1 => Just(Op::PassOver),
        1 => (0..=WINDOW).prop_map(Op::Lose),
        1 => Just(Op::Crash),
        1 => Just(Op::Refuse),
    ];
    proptest::collection::vec(op, 0..200)
}

/// Everything that a run says, in order.
fn script() -> VecDeque<Report> {
    let mut script = VecDeque::from([Report::Logs(line_of(None, "before")), run_start()]);
    for step in 0..STEPS {
        let input = step.checked_sub(1).map(|step| format!("clip {step}"));
        let id = format!("step {step}");
        script.push_back(step_start(&id, input.as_deref()));
        for line in 0..3 {
            script.push_back(Report::Logs(line_of(
                Some(&id),
                &format!("{id} line {line}"),
            )));
        }
        script.push_back(step_complete(&id, &format!("clip {step}")));
    }
    script.push_back(run_end(&format!("clip {}", STEPS - 1)));
    script
}

/// The name of a report, for comparing what was said with what was stored.
fn name(report: &Report) -> String {
    match report {
        Report::RunStart(_) => "start".to_owned(),
        Report::StepStart(start) => format!("start of {}", start.step_id),
        Report::Logs(lines) => format!("line {:?}", lines.lines[0].message),
        Report::StepComplete(step) => format!("end of {}", step.event.step_id),
        Report::RunComplete(_) => "end".to_owned(),
    }
}

/// How the server takes one push.
enum Taken {
    Ok,
    Error(&'static str),
    Crash,
}

#[derive(Default)]
struct Server {
    ids: HashSet<String>,
    stored: Vec<String>,
}

impl Server {
    fn take(&mut self, report: &Report) -> Taken {
        let missing = |id: Option<&str>| id.is_some_and(|id| !self.ids.contains(id));
        let (needs, makes, words) = match report {
            Report::RunStart(_) => (None, None, ""),
            Report::StepStart(start) => (
                start.input_dataclip_id.as_ref().map(DataclipId::as_str),
                Some(start.step_id.as_str()),
                "input_dataclip_id: does not exist",
            ),
            Report::Logs(lines) => (
                lines.lines[0].step_id.as_ref().map(StepId::as_str),
                None,
                "step_id: must be associated with the run",
            ),
            Report::StepComplete(step) => (
                Some(step.event.step_id.as_str()),
                step.event
                    .output_dataclip_id
                    .as_ref()
                    .map(DataclipId::as_str),
                "step_id: not found",
            ),
            Report::RunComplete(end) => (
                end.event.final_dataclip_id.as_ref().map(DataclipId::as_str),
                None,
                "final_dataclip_id: does not exist",
            ),
        };
        let name = name(report);
        if name == "end" && self.stored.contains(&name) {
            return Taken::Error("state: already in completed state");
        }
        if missing(needs) {
            return Taken::Error(words);
        }
        if let Some(id) = makes
            && !self.ids.insert(id.to_owned())
        {
            return Taken::Crash;
        }
        self.stored.push(name);
        Taken::Ok
    }
}

struct World {
    outbox: Outbox,
    server: Server,
    script: VecDeque<Report>,
    /// What the server has got and not handled.
    mailbox: VecDeque<(Ticket, Report)>,
    answers: VecDeque<(Ticket, Option<&'static str>)>,
    /// Sent on this channel and not answered by the server.
    open: Vec<Ticket>,
    tickets: u64,
    memory: Arc<Semaphore>,
    ended: bool,
    passed_over: bool,
    crashed: bool,
    refused: usize,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let script = script();
        Self {
            outbox: Outbox::new(WINDOW, None),
            server: Server::default(),
            memory: Arc::new(Semaphore::new(script.len())),
            script,
            mailbox: VecDeque::new(),
            answers: VecDeque::new(),
            open: Vec::new(),
            tickets: 0,
            ended: false,
            passed_over: false,
            crashed: false,
            refused: 0,
            now: Instant::now(),
        }
    }

    fn say(&mut self) {
        if let Some(report) = self.script.pop_front() {
            let permit = Arc::clone(&self.memory).try_acquire_owned().unwrap();
            self.outbox.push(report, vec![permit]);
        }
    }

    fn send(&mut self) {
        loop {
            self.tickets += 1;
            let ticket = Ticket(self.tickets);
            let Some(report) = self.outbox.next(ticket, self.now) else {
                break;
            };
            self.mailbox.push_back((ticket, report.clone()));
            self.open.push(ticket);
        }
        assert!(self.outbox.in_flight <= WINDOW);
        assert!(self.outbox.assumed.len() <= ASSUMED);
    }

    fn handle(&mut self) {
        let Some((ticket, report)) = self.mailbox.pop_front() else {
            return;
        };
        match self.server.take(&report) {
            Taken::Ok => self.answers.push_back((ticket, None)),
            Taken::Error(words) => self.answers.push_back((ticket, Some(words))),
            Taken::Crash => return self.crash(),
        }
        self.open.retain(|open| *open != ticket);
    }

    /// The answers that were given before the crash arrive before it.
    fn crash(&mut self) {
        self.answer();
        self.mailbox.clear();
        let open = std::mem::take(&mut self.open);
        let outcome = self.outbox.channel_crashed(&open);
        self.settled(&outcome);
    }

    fn answer(&mut self) {
        while let Some((ticket, error)) = self.answers.pop_front() {
            let outcome = self
                .outbox
                .answered(ticket, error.map(Refusal::from_words), self.now);
            self.settled(&outcome);
        }
    }

    fn lose(&mut self, handled: usize) {
        for (_, report) in self.mailbox.drain(..).take(handled) {
            if matches!(self.server.take(&report), Taken::Crash) {
                break;
            }
        }
        self.mailbox.clear();
        self.answers.clear();
        self.open.clear();
        self.outbox.link_lost();
    }

    fn settled(&mut self, outcome: &FollowUp) {
        match outcome {
            FollowUp::Delivered(Milestone::RunComplete) => self.ended = true,
            FollowUp::Delivered(_) | FollowUp::Resend | FollowUp::Retry(_) | FollowUp::Unknown => {}
            FollowUp::Rejoin => self.lose(0),
            other => panic!("the run suffered: {other:?}"),
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Say => self.say(),
            Op::Send => self.send(),
            Op::Handle => self.handle(),
            Op::Answer => self.answer(),
            Op::Lose(handled) => self.lose(handled),
            // A second one could be the fault of what was sent, as far as anyone can tell.
            Op::Crash if !self.crashed && !self.mailbox.is_empty() => {
                self.crashed = true;
                self.crash();
            }
            Op::PassOver if !self.mailbox.is_empty() => {
                self.passed_over = true;
                self.mailbox.pop_front();
            }
            // So often that nothing is given up for it.
            Op::Refuse if self.refused < RETRIES.waits().count() => {
                if let Some((ticket, _)) = self.mailbox.pop_front() {
                    self.refused += 1;
                    self.answers.push_back((ticket, Some("busy")));
                    self.open.retain(|open| *open != ticket);
                }
            }
            Op::Crash | Op::PassOver | Op::Refuse => {}
        }
    }

    /// From here on nothing goes wrong; silence ends in a rejoin.
    fn finish(&mut self) {
        for _ in 0..PLENTY {
            if self.ended {
                return;
            }
            self.say();
            self.now += Duration::from_secs(1);
            self.send();
            if self.mailbox.is_empty() && self.answers.is_empty() {
                self.lose(0);
            }
            self.handle();
            self.answer();
        }
        panic!("the run does not end: {:?}", self.outbox);
    }
}

proptest! {
    #[test]
    fn everything_arrives_once_and_in_order_whatever_happens_on_the_way(ops in ops()) {
        let said: Vec<String> = script().iter().map(name).collect();
        let mut world = World::new();
        for op in ops {
            world.step(op);
            if world.ended {
                break;
            }
        }
        world.finish();
        let mut first: Vec<String> = Vec::new();
        for stored in &world.server.stored {
            if !first.contains(stored) {
                first.push(stored.clone());
            }
        }
        if world.passed_over || world.refused > 0 {
            // The server took later lines before it was told again the one that it had passed over or refused.
            first.sort_by_key(|stored| said.iter().position(|said| said == stored));
        }
        prop_assert_eq!(&first, &said);
        let steps = |stored: &&String| stored.contains(" of step");
        prop_assert_eq!(world.server.stored.iter().filter(steps).count(), 2 * STEPS);
        prop_assert_eq!(world.server.stored.last().map(String::as_str), Some("end"));
        // What was delivered takes no memory any more.
        prop_assert_eq!(world.memory.available_permits(), said.len());
    }
}
