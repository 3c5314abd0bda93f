//! The wire is pinned by frames that the reference worker and a server exchanged: `fixtures/frames`, one run a file, its
//! lines shortened to what differs.

#![expect(
    clippy::unwrap_used,
    reason = "a recording that cannot be read is a failed test"
)]

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use protocol::ids::{MessageRef, RunId, Topic};
use protocol::lightning::{
    BatchLogs, ClaimReply, ClaimRequest, FetchCredential, FetchDataclip, LogLine, QueueEvent,
    QueueJoin, RunComplete, RunEvent, RunJoin, RunLog, RunStart, StepComplete, StepStart,
    dataclip_bytes,
};
use protocol::logs;
use protocol::phoenix::{Frame, Payload, ReplyStatus, ServerMessage, encode_push, error_detail};
use protocol::plan::{ConvertOptions, Converted, LightningPlan, convert};
use protocol::versions::EngineVersions;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    Worker,
    Server,
}

#[derive(Deserialize)]
struct Line {
    dir: Direction,
    text: Option<String>,
    binary_base64: Option<String>,
}

struct Recorded {
    dir: Direction,
    /// A text frame as it went over the wire; `None` for a binary one.
    text: Option<String>,
    frame: Frame,
}

impl Recorded {
    fn json(&self) -> &str {
        match &self.frame.payload {
            Payload::Json(json) => json.get(),
            Payload::Binary(_) => panic!("{} is binary", self.frame.event),
        }
    }

    fn read<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(self.json())
            .unwrap_or_else(|error| panic!("{}: {error}: {}", self.frame.event, self.json()))
    }

    fn is(&self, event: RunEvent) -> bool {
        self.dir == Direction::Worker && self.frame.event == event.name()
    }
}

fn recording(name: &str) -> Vec<Recorded> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/frames")
        .join(name)
        .with_extension("jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    // The first line says what the recording is about.
    text.lines().skip(1).map(recorded).collect()
}

fn recorded(line: &str) -> Recorded {
    let Line {
        dir,
        text,
        binary_base64,
    } = serde_json::from_str(line).unwrap();
    let frame = match (&text, binary_base64) {
        (Some(text), _) => Frame::decode_text(text).unwrap(),
        (None, Some(base64)) => {
            let bytes = Bytes::from(STANDARD.decode(base64).unwrap());
            Frame::decode_binary_from_server(&bytes).unwrap()
        }
        (None, None) => panic!("a line without a frame: {line}"),
    };
    Recorded { dir, text, frame }
}

const RECORDINGS: [&str; 9] = [
    "batch-logs",
    "credential",
    "credential-error",
    "dataclip-too-large",
    "multi-leaf",
    "one-step",
    "timeout",
    "webhook-response",
    "zero-persistence",
];

fn all() -> impl Iterator<Item = Recorded> {
    RECORDINGS.into_iter().flat_map(recording)
}

/// What the reply of the server to the first push of this event says.
fn reply_to(recording: &[Recorded], event: RunEvent) -> (ReplyStatus, Payload) {
    let asked = recording
        .iter()
        .find(|recorded| recorded.is(event))
        .unwrap();
    recording
        .iter()
        .filter(|recorded| recorded.dir == Direction::Server)
        .find_map(
            |recorded| match ServerMessage::from(recorded.frame.clone()) {
                ServerMessage::Reply {
                    reference,
                    status,
                    response,
                    ..
                } if Some(reference.as_str()) == asked.frame.reference.as_deref() => {
                    Some((status, response))
                }
                _ => None,
            },
        )
        .unwrap()
}

fn plan_of(recording: &[Recorded]) -> Converted {
    let (status, Payload::Json(plan)) = reply_to(recording, RunEvent::FetchPlan) else {
        panic!("a plan is JSON")
    };
    assert_eq!(status, ReplyStatus::Ok);
    let plan = LightningPlan::from_json(plan.get()).unwrap();
    convert(plan, &ConvertOptions::default(), &mut || {
        panic!("all jobs have ids")
    })
    .unwrap()
}

fn written<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap()
}

#[test]
fn every_text_frame_is_written_as_it_was_read() {
    for recorded in all() {
        if let Some(text) = &recorded.text {
            assert_eq!(&recorded.frame.encode_text(), text);
        }
    }
}

#[test]
fn every_push_of_the_worker_is_built_from_its_parts() {
    for recorded in all().filter(|recorded| recorded.dir == Direction::Worker) {
        let frame = &recorded.frame;
        let parsed = |text: &Option<String>| -> Option<MessageRef> {
            text.as_ref().map(|text| text.parse().unwrap())
        };
        let reference = parsed(&frame.reference).unwrap();
        let json = recorded.json().as_bytes();
        let text = encode_push(
            parsed(&frame.join_ref),
            reference,
            &frame.topic,
            &frame.event,
            json,
        );
        assert_eq!(Some(text), recorded.text);
    }
}

#[test]
fn what_the_reference_sends_is_what_our_types_send() {
    let mut seen = std::collections::HashSet::new();
    for recorded in all().filter(|recorded| recorded.dir == Direction::Worker) {
        let event = recorded.frame.event.as_str();
        let is_queue = recorded.frame.topic == Topic::queue();
        let ours = match (event, RunEvent::from_name(event)) {
            ("phx_join", _) if is_queue => written(&recorded.read::<QueueJoin>()),
            ("phx_join", _) => written(&recorded.read::<RunJoin>()),
            ("phx_leave", _) | (_, Some(RunEvent::FetchPlan)) => "{}".to_owned(),
            (event, _) if event == QueueEvent::Claim.name() => {
                written(&recorded.read::<ClaimRequest>())
            }
            (_, Some(RunEvent::FetchDataclip)) => written(&recorded.read::<FetchDataclip>()),
            (_, Some(RunEvent::FetchCredential)) => written(&recorded.read::<FetchCredential>()),
            (_, Some(RunEvent::RunStart)) => written(&recorded.read::<RunStart>()),
            (_, Some(RunEvent::StepStart)) => written(&recorded.read::<StepStart>()),
            (_, Some(RunEvent::StepComplete)) => written(&recorded.read::<StepComplete>()),
            (_, Some(RunEvent::RunComplete)) => written(&recorded.read::<RunComplete>()),
            (_, Some(RunEvent::RunLog)) => {
                let line: LogLine = recorded.read();
                written(&RunLog {
                    run_id: &run_of(&recorded),
                    line: &line,
                })
            }
            (_, Some(RunEvent::BatchLogs)) => {
                #[derive(Deserialize)]
                struct Batch {
                    logs: Vec<LogLine>,
                }
                let Batch { logs } = recorded.read();
                written(&BatchLogs {
                    run_id: &run_of(&recorded),
                    logs: &logs,
                })
            }
            (event, None) => panic!("unknown event {event}"),
        };
        assert_eq!(ours, recorded.json());
        seen.insert(event.to_owned());
    }
    for event in RunEvent::ALL {
        assert!(
            seen.contains(event.name()),
            "no recording has {}",
            event.name()
        );
    }
}

fn run_of(recorded: &Recorded) -> RunId {
    recorded.frame.topic.run_id().unwrap()
}

#[test]
fn every_frame_of_the_server_is_understood() {
    for name in RECORDINGS {
        let recording = recording(name);
        let (mut replies, mut closed) = (0, 0);
        for recorded in recording
            .iter()
            .filter(|recorded| recorded.dir == Direction::Server)
        {
            match ServerMessage::from(recorded.frame.clone()) {
                ServerMessage::Reply {
                    join_ref,
                    reference,
                    status,
                    ..
                } => {
                    assert!(join_ref.is_some());
                    assert!(reference.parse::<MessageRef>().is_ok());
                    assert!(matches!(status, ReplyStatus::Ok | ReplyStatus::Error));
                    replies += 1;
                }
                ServerMessage::ChannelClosed { topic, .. } => {
                    assert!(topic.run_id().is_some());
                    closed += 1;
                }
                ServerMessage::Push { topic, event, .. } => {
                    assert_eq!(
                        (topic, event.as_str()),
                        (Topic::queue(), QueueEvent::WorkAvailable.name())
                    );
                }
                ServerMessage::ChannelCrashed { topic, .. } => panic!("{topic} crashed"),
            }
        }
        assert!(replies > 0, "{name}");
        assert_eq!(closed, 1, "{name}");
    }
}

#[test]
fn claims_dataclips_and_credentials_are_taken_from_their_replies() {
    let recording = recording("credential-error");
    let claimed = recording
        .iter()
        .filter(|recorded| recorded.frame.topic == Topic::queue())
        .filter_map(
            |recorded| match ServerMessage::from(recorded.frame.clone()) {
                ServerMessage::Reply { response, .. } => ClaimReply::from_payload(&response).ok(),
                _ => None,
            },
        )
        .find(|reply| !reply.runs.is_empty())
        .unwrap();
    let run = recording
        .iter()
        .find(|recorded| recorded.is(RunEvent::FetchPlan))
        .map(run_of);
    assert_eq!(Some(&claimed.runs[0].id), run.as_ref());

    let (status, dataclip) = reply_to(&recording, RunEvent::FetchDataclip);
    assert_eq!(status, ReplyStatus::Ok);
    assert!(dataclip_bytes(&dataclip).unwrap().starts_with(b"{"));

    let event = RunEvent::FetchCredential;
    let asked: FetchCredential = recording
        .iter()
        .find(|recorded| recorded.is(event))
        .unwrap()
        .read();
    let (status, why) = reply_to(&recording, event);
    assert_eq!(status, ReplyStatus::Error);
    let end: RunComplete = recording
        .iter()
        .find(|recorded| recorded.is(RunEvent::RunComplete))
        .unwrap()
        .read();
    assert_eq!(
        end.error_message,
        Some(format!(
            "Failed to load credential {}: {}",
            asked.id,
            error_detail(event.name(), &why)
        ))
    );
}

#[test]
fn the_input_of_the_first_step_is_the_dataclip_of_the_plan() {
    for name in RECORDINGS {
        let recording = recording(name);
        let Some(start) = recording
            .iter()
            .find(|recorded| recorded.is(RunEvent::StepStart))
        else {
            continue;
        };
        let start: StepStart = start.read();
        let Converted { plan, input, .. } = plan_of(&recording);
        let protocol::plan::Input::Dataclip(input) = input else {
            panic!("{name} has an input")
        };
        let mut inputs = protocol::reasons::InputDataclips::new(&plan, Some(input));
        assert_eq!(
            inputs.take(&start.job_id),
            start.input_dataclip_id,
            "{name}"
        );
    }
}

#[test]
fn the_lines_that_the_worker_adds_are_those_of_the_reference() {
    let recording = recording("one-step");
    let text = |message: String| serde_json::to_string(&[message]).unwrap();
    let ours = |message: String| {
        let message = text(message);
        recording
            .iter()
            .filter(|recorded| recorded.is(RunEvent::RunLog))
            .any(|recorded| recorded.read::<LogLine>().message.get() == message)
    };
    let timeout = Some(std::time::Duration::from_secs(300));
    for line in logs::limit_lines(500.0, timeout) {
        assert!(ours(line.clone()), "{line}");
    }
    assert!(ours(logs::payload_line(10.0)));
    let start: RunStart = recording
        .iter()
        .find(|recorded| recorded.is(RunEvent::RunStart))
        .unwrap()
        .read();
    let text_of = |key: &str| start.versions[key].as_str().unwrap().to_owned();
    let versions = EngineVersions {
        node: Some(text_of("node")),
        engine: text_of("engine"),
        compiler: text_of("compiler"),
        runtime: Some(text_of("runtime")),
        adaptors: start
            .versions
            .iter()
            .filter(|(key, _)| key.starts_with('@'))
            .map(|(key, list)| (key.clone(), serde_json::from_value(list.clone()).unwrap()))
            .collect(),
    };
    assert_eq!(versions.for_run_start(&text_of("worker")), start.versions);
    let block = versions.block(&text_of("worker"));
    assert!(ours(block.clone()), "{block}");
}

#[test]
fn the_last_lines_name_how_the_run_ended() {
    for name in ["one-step", "timeout", "credential-error", "multi-leaf"] {
        let recording = recording(name);
        let end: RunComplete = recording
            .iter()
            .find(|recorded| recorded.is(RunEvent::RunComplete))
            .unwrap()
            .read();
        let outcome = protocol::reasons::Outcome {
            reason: end.reason,
            error_type: end.error_type,
            error_message: end.error_message,
        };
        let logged: Vec<String> = recording
            .iter()
            .filter(|recorded| recorded.is(RunEvent::RunLog))
            .map(|recorded| recorded.read::<LogLine>())
            .filter_map(|line| serde_json::from_str::<[String; 1]>(line.message.get()).ok())
            .map(|[text]| text)
            .collect();
        let status = logs::status_lines(&outcome);
        assert!(logged.ends_with(&status), "{name}: {status:?} {logged:?}");
    }
}
