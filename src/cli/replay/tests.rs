//! Timeline, script and player against recordings of a few lines.

use indexmap::IndexMap;
use protocol::engine::RunProgress;
use protocol::ids::RunId;
use protocol::lightning::Timestamp;
use protocol::recording::{Header, Loss, Message, Record, Recording, VERSION, What};
use serde_json::{Value, json};

use super::player::{Effect, How, Player};
use super::script::script;
use super::timeline::{Item, Timeline};

/// A recording that is written down: frames of one run `r` on socket 1, refs counted up.
struct Tape {
    records: Vec<Record>,
    reference: u64,
}

impl Tape {
    /// The run was claimed and joined.
    fn joined() -> Self {
        let mut tape = Self {
            records: Vec::new(),
            reference: 1,
        };
        tape.out(
            &json!(["1", "1", "worker:queue", "phx_join", {"capacity": 1, "queues": {"*": 1}}]),
        );
        tape.text(
            &json!(["1", "1", "worker:queue", "phx_reply", {"status": "ok", "response": {}}]),
        );
        let claim = json!({"demand": 1, "worker_name": null, "queues": ["*"]});
        tape.out(&json!(["1", "2", "worker:queue", "claim", claim]));
        let runs = json!({"runs": [{"id": "r", "token": "t"}]});
        tape.text(
            &json!(["1", "2", "worker:queue", "phx_reply", {"status": "ok", "response": runs}]),
        );
        tape.reference = 9;
        tape.said("phx_join", &json!({"token": "t"})).ok()
    }

    fn record(&mut self, what: What) {
        self.records.push(Record {
            time: Timestamp::from_micros(self.records.len() as u64),
            socket: 1,
            what,
        });
    }

    fn out(&mut self, frame: &Value) {
        self.record(What::Out(frame.to_string()));
    }

    fn text(&mut self, frame: &Value) {
        self.record(What::In(Message::Text(frame.to_string())));
    }

    fn said(mut self, event: &str, payload: &Value) -> Self {
        self.reference += 1;
        self.out(&json!([
            "10",
            self.reference.to_string(),
            "run:r",
            event,
            payload
        ]));
        self
    }

    fn answered(mut self, status: &str) -> Self {
        let payload = json!({"status": status, "response": {}});
        self.text(&json!([
            "10",
            self.reference.to_string(),
            "run:r",
            "phx_reply",
            payload
        ]));
        self
    }

    fn ok(self) -> Self {
        self.answered("ok")
    }

    fn crashed(mut self) -> Self {
        self.text(&json!(["10", "10", "run:r", "phx_error", {}]));
        self
    }

    fn line(self, source: &str, text: &str, time: u64) -> Self {
        let time = Timestamp::from_micros(time);
        self.said(
            "run:log",
            &json!({"run_id": "r", "message": [text], "source": source, "level": "info", "timestamp": time}),
        )
    }

    fn started(self) -> Self {
        self.line("RTE", "Memory limit: 1mb", 1)
            .ok()
            .said("run:start", &json!({"versions": {}}))
            .ok()
            .line("RTE", "Payload limit: 1mb", 2)
            .ok()
            .line("VER", "xxx", 3)
            .ok()
    }

    fn step(self, id: &str, job: &str, input: Option<&str>) -> Self {
        let start = json!({"step_id": id, "job_id": job, "input_dataclip_id": input});
        self.said("step:start", &start).ok()
    }

    fn completed(self, id: &str, job: &str, output: Option<&str>) -> Self {
        let mut complete = json!({"step_id": id, "job_id": job, "duration": 1, "reason": "success",
            "error_type": null, "error_message": null});
        if let Some(output) = output {
            complete["output_dataclip_id"] = output.into();
            complete["output_dataclip"] = "{}".into();
        }
        self.said("step:complete", &complete).ok()
    }

    fn recording(self) -> Recording {
        Recording {
            header: Header {
                recording: VERSION,
                worker: "1".to_owned(),
                time: Timestamp::from_micros(0),
                part: 1,
                data: false,
                settings: IndexMap::new(),
            },
            records: self.records,
        }
    }

    fn timeline(self) -> Timeline {
        Timeline::new(&self.recording())
    }

    fn items(self) -> Vec<Item> {
        let run = RunId::new("r");
        self.timeline().runs.shift_remove(&run).unwrap()
    }

    /// What the engine says, shortened.
    fn script(self) -> Vec<String> {
        let told = script(&self.items()).into_values().flatten();
        told.map(|event| match event {
            RunProgress::WorkflowStart { .. } => "start".to_owned(),
            RunProgress::Log { name, .. } => format!("line of {name}"),
            RunProgress::JobStart { job, .. } => format!("step of {job}"),
            RunProgress::JobComplete { step, .. } | RunProgress::JobError { step, .. } => {
                format!("end of {} before {:?}", step.job, step.next)
            }
            RunProgress::WorkflowComplete { .. } => "end".to_owned(),
            RunProgress::WorkflowError { error } => format!("error {:?}", error.error_type),
            RunProgress::Ended => "ended".to_owned(),
        })
        .collect()
    }
}

const END: &str = "Run complete with status: success";

fn end() -> Value {
    json!({"timestamp": "1767225600000000", "reason": "success", "error_type": null, "error_message": null})
}

#[test]
fn the_engine_says_what_is_not_the_workers_own() {
    let tape = Tape::joined()
        .started()
        .step("s1", "a", Some("in"))
        .line("JOB", "x", 4)
        .ok()
        .completed("s1", "a", Some("c1"))
        .step("s2", "b", Some("c1"))
        .completed("s2", "b", Some("c2"))
        .line("R/T", END, 5)
        .ok()
        .said("run:complete", &end())
        .ok();
    let expected = [
        "start",
        "step of a",
        "line of JOB",
        "end of a before [JobId(b)]",
        "step of b",
        "end of b before []",
        "end",
    ];
    assert_eq!(tape.script(), expected);
}

#[test]
fn what_is_said_again_comes_from_the_outbox_and_not_from_the_engine() {
    let again = Tape::joined()
        .started()
        .step("s1", "a", None)
        .line("JOB", "x", 4)
        .crashed()
        .said("phx_join", &json!({"token": "t"}))
        .ok()
        .line("JOB", "x", 4)
        .ok()
        .line("JOB", "x", 5)
        .ok()
        .step("s1", "a", None);
    let lines = ["start", "step of a", "line of JOB", "line of JOB"];
    assert_eq!(again.script(), lines);
    // Without a loss, the same line twice is two lines.
    let twice = Tape::joined()
        .started()
        .line("JOB", "x", 4)
        .ok()
        .line("JOB", "x", 4);
    assert_eq!(twice.script(), ["start", "line of JOB", "line of JOB"]);
}

#[test]
fn an_end_that_the_worker_made_is_left_to_the_worker() {
    let refused =
        json!({"reason": "exception", "error_type": "LightningError", "error_message": "x"});
    let tape = || Tape::joined().started().step("s1", "a", None);
    let by_worker = tape()
        .line("R/T", "Run complete with status: exception", 5)
        .ok();
    let by_worker = by_worker.line("R/T", "LightningError: x", 6).ok();
    assert_eq!(
        by_worker.said("run:complete", &refused).script(),
        ["start", "step of a"]
    );
    let killed = json!({"reason": "kill", "error_type": "TimeoutError", "error_message": "x"});
    let expected = ["start", "step of a", "error Some(\"TimeoutError\")"];
    assert_eq!(tape().said("run:complete", &killed).script(), expected);
}

#[test]
fn a_run_without_its_claim_is_left_out_and_an_ok_that_came_too_late_keeps_its_place() {
    let mut foreign = Tape::joined();
    foreign.out(&json!(["5", "5", "run:other", "phx_join", {"token": "t"}]));
    let timeline = foreign.timeline();
    assert_eq!((timeline.runs.len(), timeline.notes.len()), (1, 1));
    let late = Tape::joined()
        .said("fetch:plan", &json!({}))
        .said("fetch:plan", &json!({}));
    let mut late = late;
    late.text(&json!(["10", "11", "run:r", "phx_reply", {"status": "ok", "response": {}}]));
    assert!(matches!(&late.items()[..], [_, _, _, Item::Heard(heard)] if heard.about == Some(1)));
}

/// Plays a recording; the worker says these frames on the run's channel, with refs of its own.
fn played(tape: Tape, said: &[(&str, Value)]) -> (Player, Vec<Effect>) {
    let mut player = Player::new(tape.timeline(), false);
    let mut effects = Vec::new();
    let mut say = |reference: &str, topic: &str, event: &str, payload: &Value| {
        let frame = json!(["7", reference, topic, event, payload]).to_string();
        effects.append(&mut player.said(1, &frame));
    };
    say("7", "worker:queue", "phx_join", &json!({}));
    let claim = json!({"demand": 1, "worker_name": null, "queues": ["*"]});
    say("8", "worker:queue", "claim", &claim);
    for (number, (event, payload)) in said.iter().enumerate() {
        say(&format!("{}", number + 100), "run:r", event, payload);
    }
    (player, effects)
}

fn texts(effects: &[Effect]) -> Vec<Value> {
    let texts = effects.iter().filter_map(|effect| match effect {
        Effect::Text(_, text) => serde_json::from_str(text).ok(),
        _ => None,
    });
    texts.collect()
}

fn join() -> (&'static str, Value) {
    ("phx_join", json!({"token": "t"}))
}

#[test]
fn answers_carry_the_refs_and_ids_of_now() {
    let mut tape = Tape::joined().said("step:start", &json!({"step_id": "then", "job_id": "a"}));
    let response = json!({"status": "error", "response": "then is taken"});
    tape.text(&json!(["10", "11", "run:r", "phx_reply", response]));
    let now = ("step:start", json!({"step_id": "now", "job_id": "a"}));
    let (player, effects) = played(tape, &[join(), now]);
    let last = texts(&effects).pop().unwrap();
    let payload = json!({"status": "error", "response": "now is taken"});
    assert_eq!(last, json!(["7", "101", "run:r", "phx_reply", payload]));
    assert!(player.differences.is_empty() && player.is_over());
}

#[test]
fn differences_are_told_by_kind_and_the_replay_goes_on() {
    let tape = || {
        Tape::joined()
            .said("run:start", &json!({"versions": {}}))
            .ok()
            .said("step:start", &json!({"step_id": "s", "job_id": "a"}))
            .ok()
            .said("phx_leave", &json!({}))
            .ok()
    };
    let start = ("run:start", json!({"versions": {"worker": "2"}}));
    let step = |job: &str| ("step:start", json!({"step_id": "s", "job_id": job}));
    let leave = ("phx_leave", json!({}));
    let (player, _) = played(tape(), &[join(), start.clone(), step("a"), leave.clone()]);
    assert!(player.differences.is_empty() && player.is_over());
    let found = |said: &[(&str, Value)]| {
        let (player, _) = played(tape(), said);
        assert!(player.is_over());
        player
            .differences
            .into_iter()
            .map(|found| found.what)
            .collect::<Vec<_>>()
    };
    let other = found(&[join(), start.clone(), step("b"), leave.clone()]);
    assert!(matches!(&other[..], [How::Fields(fields)] if fields[0].path == "job_id"));
    let less = found(&[join(), start.clone(), leave.clone()]);
    assert!(matches!(&less[..], [How::LeftOut(_)]), "{less:?}");
    let more = found(&[join(), start, ("run:news", json!({})), step("a"), leave]);
    assert!(matches!(&more[..], [How::Unrecorded(_)]), "{more:?}");
}

#[test]
fn a_socket_ends_when_all_was_said_on_it() {
    let mut tape = Tape::joined().said("run:start", &json!({"versions": {}}));
    let why = "closed".to_owned();
    tape.record(What::Lost(Loss {
        why,
        code: Some(1012),
    }));
    let again = tape.records.clone();
    let (_, effects) = played(tape, &[join()]);
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::End(..)))
    );
    let tape = Tape {
        records: again,
        reference: 0,
    };
    let (player, effects) = played(tape, &[join(), ("run:start", json!({"versions": {}}))]);
    assert!(
        matches!(effects.last(), Some(Effect::End(1, Some(1012)))),
        "{effects:?}"
    );
    assert!(player.is_over());
}

#[test]
fn a_batch_that_was_cut_short_by_its_interval_is_no_difference() {
    let line = |text: &str| json!({"message": [text], "source": "JOB", "level": "info"});
    let batch =
        |lines: &[&str]| json!({"logs": lines.iter().map(|text| line(text)).collect::<Vec<_>>()});
    let tape = Tape::joined()
        .said("run:batch_logs", &batch(&["xx", "xxx", "x"]))
        .ok();
    let parts = [
        ("run:batch_logs", batch(&["xx"])),
        ("run:batch_logs", batch(&["xxx", "x"])),
    ];
    let (player, effects) = played(tape, &[&[join()], &parts[..]].concat());
    assert!(player.differences.is_empty() && player.is_over());
    // Both are answered.
    assert_eq!(texts(&effects).len(), 2 + 1 + 2);
}
