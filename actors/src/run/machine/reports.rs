//! Reports on their way out, and what their answers mean for the run.

use std::time::Duration;

use log_events::{millis, table};
use protocol::lightning::Timestamp;
use protocol::plan::Step;
use tokio::sync::OwnedSemaphorePermit;

use super::events::{Count, Effect, Timer, Turn};
use super::{Fact, Flush, RunMachine, State};
use crate::events::{End, Unreported};
use crate::run::outbox::FollowUp;
use crate::run::report::{Milestone, Report, refusal};
use crate::run::reporter::Outgoing;
use crate::traces::{Moment, StepStart};

impl RunMachine {
    /// Reports something of the worker's own.
    pub(super) fn report(&mut self, outgoing: Outgoing, turn: &mut Turn<'_>) {
        self.queue(outgoing, None, turn);
    }

    /// Puts a report into the outbox; the permit covers its bytes.
    pub(super) fn queue(
        &mut self,
        outgoing: Outgoing,
        permit: Option<OwnedSemaphorePermit>,
        turn: &mut Turn<'_>,
    ) {
        match outgoing {
            Outgoing::Line(lines) => {
                if self.outbox.push_log(lines, permit) {
                    self.arm_flush(turn);
                }
            }
            Outgoing::Report(report) => {
                self.trace_report(&report, turn);
                if let Report::StepComplete(step) = &report {
                    if step.event.webhook_response.is_some() {
                        self.memory.has_webhook_response();
                    }
                    turn.count(Count::Step {
                        reason: step.event.reason,
                        lasted: Duration::from_millis(step.event.duration.unwrap_or_default()),
                    });
                }
                self.outbox.push(report, permit.into_iter().collect());
            }
            Outgoing::Log(notice) => turn.perform(Effect::Log(notice)),
        }
    }

    fn trace_report(&self, report: &Report, turn: &mut Turn<'_>) {
        match report {
            Report::StepStart(step) => {
                let at = believed(step.timestamp, turn.time);
                self.trace_at(at, turn, || {
                    let job = self.reporter.job(&step.job_id);
                    Moment::StepStarted(StepStart {
                        step_id: step.step_id.clone(),
                        job_id: step.job_id.clone(),
                        job: job.and_then(|job| job.name.clone()),
                        adaptor: job.and_then(adaptor),
                    })
                });
            }
            Report::StepComplete(step) => {
                let step = &step.event;
                let at = believed(step.timestamp, turn.time);
                self.trace_at(at, turn, || Moment::StepEnded {
                    step_id: step.step_id.clone(),
                    reason: step.reason,
                    error_type: step.error_type.clone(),
                });
            }
            Report::RunComplete(_) => self.trace(turn, || Moment::Completed),
            Report::RunStart(_) | Report::Logs(_) => {}
        }
    }

    fn arm_flush(&mut self, turn: &mut Turn<'_>) {
        if let Some(batch) = self.settings.delivery.batch
            && self.flush == Flush::Unarmed
        {
            self.flush = Flush::Armed;
            turn.arm(Timer::Flush, batch.interval);
        }
    }

    /// Sends as many reports as the window takes.
    pub(super) fn send(&mut self, turn: &mut Turn<'_>) {
        while self.channel.is_up() && !matches!(self.state, State::Done) {
            let ticket = self.ticket();
            let Some(report) = self.outbox.next(ticket, turn.now) else {
                return;
            };
            let (event, payload) = (report.event(), report.payload());
            let starts = matches!(report, Report::RunStart(_));
            if self.outbox.is_resent(ticket) {
                turn.log(
                    &table::EVENT_RESENT,
                    [("report", event.into())],
                    format!("run {}: {event} is sent again", self.claimed.id),
                );
                turn.count(Count::Resent(event));
            } else if starts {
                let since = turn.now.saturating_duration_since(self.born);
                turn.count(Count::Started(since));
                turn.log(
                    &table::RUN_STARTED,
                    [
                        ("workloop", self.workloop.as_str().into()),
                        ("duration_ms", millis(since).into()),
                    ],
                    format!("run {} starts", self.claimed.id),
                );
            }
            match payload {
                Ok(payload) if self.settings.delivery.frames.take_payload(payload.bytes()) => {
                    turn.perform(Effect::Push {
                        ticket,
                        event,
                        payload,
                    });
                }
                Ok(payload) => {
                    turn.log(
                        &table::EVENT_TOO_LARGE,
                        [("report", event.into()), ("bytes", payload.bytes().into())],
                        format!(
                            "run {}: {event} with {} bytes is larger than a message to Lightning may be",
                            self.claimed.id,
                            payload.bytes()
                        ),
                    );
                    let outcome = self.outbox.not_sent(ticket);
                    self.act_on(outcome, turn);
                }
                Err(error) => {
                    // Only what was valid JSON before goes into a report, so this cannot be the job's doing.
                    turn.log(
                        &table::EVENT_UNWRITABLE,
                        [
                            ("report", event.into()),
                            ("error", error.to_string().into()),
                        ],
                        format!("{event} cannot be written as JSON: {error}"),
                    );
                    let dropped = self.outbox.answered(ticket, None, turn.now);
                    turn.debug(format!("{event} was dropped: {dropped:?}"));
                }
            }
        }
    }

    pub(super) fn report_settled(&mut self, outcome: FollowUp, turn: &mut Turn<'_>) {
        if outcome != FollowUp::Unknown {
            self.act_on(outcome, turn);
            self.send(turn);
        }
    }

    fn act_on(&mut self, outcome: FollowUp, turn: &mut Turn<'_>) {
        match outcome {
            FollowUp::Unknown | FollowUp::Resend => {}
            FollowUp::Delivered(milestone) => {
                self.channel.works();
                self.delivered(milestone, turn);
            }
            FollowUp::Retry(wait) => turn.arm(Timer::Resend, wait),
            FollowUp::Split => self.channel.works(),
            FollowUp::Withheld {
                dataclip,
                too_large,
            } => {
                self.channel.works();
                turn.log(
                    &table::RUN_DATACLIP_WITHHELD,
                    [("dataclip_id", dataclip.as_str().into())],
                    format!(
                        "run {}: Lightning refuses the dataclip {dataclip}; its step is completed without it",
                        self.claimed.id
                    ),
                );
                self.reporter.withhold(&dataclip);
                if too_large {
                    let line = self.reporter.too_large_line(turn.time);
                    let end = self.reporter.time(turn.time);
                    self.outbox.push_before_end(Report::Logs(line), end);
                }
            }
            FollowUp::Rejoin => self.rejoin(turn),
            FollowUp::LinesDropped(lines, why) => {
                self.channel.works();
                turn.count(Count::LinesDropped(lines));
                turn.log(
                    &table::RUN_LINES_DROPPED,
                    [("lines", lines.into()), ("error", why.to_string().into())],
                    format!(
                        "Lightning refused {lines} log lines of run {}: {why}",
                        self.claimed.id
                    ),
                );
            }
            FollowUp::Abandoned(why) => {
                let why = format!("Lightning says that it is not this worker's: {why}");
                self.give_up(Unreported::TakenAway, &why, turn);
            }
            FollowUp::Refused { event, why, open } => {
                turn.log(
                    &table::EVENT_REFUSED,
                    [("report", event.into()), ("error", why.to_string().into())],
                    format!(
                        "Lightning refused {event} of run {}: {why}",
                        self.claimed.id
                    ),
                );
                self.outbox.clear();
                self.reporter.refused(open);
                self.stop_job(refusal(event, &why), turn);
            }
            FollowUp::GaveUp(why) => {
                let why = format!("Lightning refuses every form of its end: {why}");
                self.give_up(Unreported::GivenUp, &why, turn);
            }
        }
    }

    fn delivered(&mut self, milestone: Milestone, turn: &mut Turn<'_>) {
        match milestone {
            Milestone::RunStart if matches!(self.state, State::Starting) => {
                self.enter(Fact::StartAccepted, State::Executing, turn);
                turn.perform(Effect::Proceed);
            }
            Milestone::RunComplete => {
                let end = self
                    .reporter
                    .reason()
                    .map_or(End::Unreported(Unreported::GivenUp), End::Reported);
                self.done(Fact::EndAccepted, end, turn);
            }
            Milestone::RunStart | Milestone::Other => {}
        }
    }
}

/// When something has happened of which the engine tells: never later than now, whatever a job has done to its clock.
fn believed(told: Option<Timestamp>, now: Timestamp) -> Timestamp {
    told.map_or(now, |told| told.min(now))
}

/// The adaptors of a job: with the versions that were found, else as the plan names them.
fn adaptor(job: &Step) -> Option<String> {
    let named: Vec<String> = if job.linker.is_empty() {
        job.adaptors.iter().flatten().cloned().collect()
    } else {
        let linked = job.linker.iter();
        linked
            .map(|(name, linked)| format!("{name}@{}", linked.version))
            .collect()
    };
    (!named.is_empty()).then(|| named.join(","))
}
