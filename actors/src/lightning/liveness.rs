//! Whether Lightning is alive behind a socket, and what it is to be asked. No socket, no clock.
//!
//! Two things are told apart. The *line* lives as long as anything arrives, a pong too. The *application* behind it lives
//! as long as it answers heartbeats; the npm mock answers none, so that is asked of nobody who never did (protocol spec,
//! section 1.4).

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protocol::ids::MessageRef;
use tokio::time::Instant;

/// As the reference's client; the server closes a connection that was silent for 60 s (protocol spec, section 1.4).
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);

/// As the reference's client. Not shorter: a busy server answers late (protocol spec, section 1.4).
const HEARTBEAT_PATIENCE: Duration = Duration::from_secs(30);

/// How often the peer is pinged between heartbeats, and looked at for its last sign of life.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(10);

/// A line that was silent for so long, though pinged twice at least, is dead. Not shorter: a busy server answers late
/// (protocol spec, section 1.4).
const SILENCE: Duration = Duration::from_secs(30);

/// Whether this endpoint has ever answered a heartbeat, known to all connections of the process.
#[derive(Debug, Clone, Default)]
pub(crate) struct AnswersHeartbeats(Arc<AtomicBool>);

impl AnswersHeartbeats {
    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What the writer of a socket has got rid of. A long message holds back the pings and heartbeats behind it.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// When a piece of a long message was last taken by the peer's side. Short messages do not count: the system takes
    /// those for a peer that is long gone.
    piece: Rc<Cell<Option<Instant>>>,
    /// When the last heartbeat was written.
    beat: Rc<Cell<Option<Instant>>>,
}

impl Progress {
    pub(super) fn piece_written(&self, now: Instant) {
        self.piece.set(Some(now));
    }

    pub(super) fn beat_written(&self, now: Instant) {
        self.beat.set(Some(now));
    }
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Ping,
    PingAndHeartbeat,
    /// The socket is of no use any more.
    Dead(Dead),
}

/// What has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Dead {
    #[error("Lightning sent nothing for {} s", SILENCE.as_secs())]
    Line,
    #[error(
        "Lightning answers pings, but has not answered a heartbeat for {} s",
        HEARTBEAT_PATIENCE.as_secs()
    )]
    Application,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heartbeat {
    /// The next one is sent then.
    Next(Instant),
    /// Sent and not answered.
    Unanswered {
        reference: MessageRef,
        sent: Instant,
    },
}

/// The signs of life of one socket.
#[derive(Debug)]
pub(super) struct Liveness {
    heard: Instant,
    heartbeat: Heartbeat,
    progress: Progress,
    answers: AnswersHeartbeats,
}

impl Liveness {
    /// That of a socket which was opened `now`.
    pub(super) fn new(progress: Progress, answers: AnswersHeartbeats, now: Instant) -> Self {
        Self {
            heard: now,
            heartbeat: Heartbeat::Next(now + HEARTBEAT_INTERVAL),
            progress,
            answers,
        }
    }

    /// Something arrived.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// A heartbeat with this ref is on its way.
    pub(super) fn sent(&mut self, reference: MessageRef, now: Instant) {
        self.progress.beat.set(None);
        self.heartbeat = Heartbeat::Unanswered {
            reference,
            sent: now,
        };
    }

    /// A heartbeat was answered, whatever the answer says. One that is not the last sent tells the same.
    pub(super) fn answered(&mut self, reference: &str) {
        self.answers.set();
        if let Heartbeat::Unanswered {
            reference: last,
            sent,
        } = self.heartbeat
            && reference.parse() == Ok(last)
        {
            self.heartbeat = Heartbeat::Next(sent + HEARTBEAT_INTERVAL);
        }
    }

    /// To be asked every [`PING_INTERVAL`].
    pub(super) fn due(&self, now: Instant) -> Due {
        let moved = self
            .progress
            .piece
            .get()
            .map_or(self.heard, |at| at.max(self.heard));
        if now.duration_since(moved) >= SILENCE {
            return Due::Dead(Dead::Line);
        }
        match self.heartbeat {
            Heartbeat::Next(at) if now >= at => Due::PingAndHeartbeat,
            Heartbeat::Next(_) => Due::Ping,
            Heartbeat::Unanswered { sent, .. } if !self.answers.get() => {
                if now.duration_since(sent) >= HEARTBEAT_INTERVAL {
                    Due::PingAndHeartbeat
                } else {
                    Due::Ping
                }
            }
            // Its time begins when it was written, not when it began to wait behind a long message.
            Heartbeat::Unanswered { .. } => match self.progress.beat.get() {
                Some(written) if now.duration_since(written) >= HEARTBEAT_PATIENCE => {
                    Due::Dead(Dead::Application)
                }
                _ => Due::Ping,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket, the seconds since it was opened, and the refs of its heartbeats.
    struct Line {
        liveness: Liveness,
        progress: Progress,
        now: Instant,
        reference: u64,
    }

    impl Line {
        fn new(answers: &AnswersHeartbeats) -> Self {
            let (progress, now) = (Progress::default(), Instant::now());
            Self {
                liveness: Liveness::new(progress.clone(), answers.clone(), now),
                progress,
                now,
                reference: 0,
            }
        }

        /// Ten seconds go by; pings are answered, and heartbeats if `hung` is false.
        fn tick(&mut self, hung: bool) -> Due {
            self.now += PING_INTERVAL;
            let due = self.liveness.due(self.now);
            if due == Due::PingAndHeartbeat {
                self.reference += 1;
                self.liveness.sent(MessageRef(self.reference), self.now);
                self.progress.beat_written(self.now);
                if !hung {
                    self.liveness.answered(&self.reference.to_string());
                }
            }
            self.liveness.heard(self.now);
            due
        }

        fn ticks(&mut self, count: usize, hung: bool) -> Vec<Due> {
            (0..count).map(|_| self.tick(hung)).collect()
        }
    }

    const DEAD: Due = Due::Dead(Dead::Application);

    #[test]
    fn heartbeats_are_sent_every_thirty_seconds_with_pings_between() {
        let mut line = Line::new(&AnswersHeartbeats::default());
        for hung in [true, false] {
            let three = [Due::Ping, Due::Ping, Due::PingAndHeartbeat];
            assert_eq!(line.ticks(6, hung), [three, three].concat());
        }
    }

    #[test]
    fn a_server_that_answers_pings_only_is_dead_once_it_has_answered_a_heartbeat_before() {
        let mut line = Line::new(&AnswersHeartbeats::default());
        line.ticks(3, false);
        assert_eq!(
            line.ticks(6, true),
            [
                Due::Ping,
                Due::Ping,
                Due::PingAndHeartbeat,
                Due::Ping,
                Due::Ping,
                DEAD
            ]
        );
    }

    #[test]
    fn what_one_socket_has_learnt_counts_for_the_next() {
        let answers = AnswersHeartbeats::default();
        Line::new(&answers).ticks(3, false);
        assert_eq!(Line::new(&answers).ticks(6, true)[5], DEAD);
    }

    #[test]
    fn a_server_that_never_answers_heartbeats_is_kept_while_it_answers_pings() {
        let mut line = Line::new(&AnswersHeartbeats::default());
        assert!(!line.ticks(1000, true).contains(&DEAD));
    }

    #[test]
    fn a_silent_line_is_dead_after_thirty_seconds() {
        let line = Line::new(&AnswersHeartbeats::default());
        let at = |seconds| line.liveness.due(line.now + Duration::from_secs(seconds));
        assert_eq!((at(20), at(30)), (Due::Ping, Due::Dead(Dead::Line)));
    }

    #[test]
    fn a_heartbeat_behind_a_long_message_has_its_time_from_when_it_is_written() {
        let answers = AnswersHeartbeats::default();
        answers.set();
        let mut line = Line::new(&answers);
        let opened = line.now;
        let at = |seconds| opened + Duration::from_secs(seconds);
        line.liveness.sent(MessageRef(1), at(30));
        for seconds in [40, 60, 90] {
            line.progress.piece_written(at(seconds));
            assert_eq!(line.liveness.due(at(seconds)), Due::Ping);
        }
        line.progress.beat_written(at(95));
        line.liveness.heard(at(110));
        assert_eq!(line.liveness.due(at(120)), Due::Ping);
        assert_eq!(line.liveness.due(at(125)), DEAD);
    }

    #[test]
    fn an_answer_that_comes_late_is_still_an_answer() {
        let answers = AnswersHeartbeats::default();
        answers.set();
        let mut line = Line::new(&answers);
        line.ticks(5, true);
        line.liveness.answered("1");
        assert_eq!(line.tick(false), Due::PingAndHeartbeat);
    }
}
