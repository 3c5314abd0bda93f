//! `worker:queue` (protocol spec, section 3).

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::ids::RunId;
use crate::phoenix::Payload;

/// The events of the queue's channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueueEvent {
    /// The worker asks for runs.
    Claim,
    /// The server hints that there are some.
    WorkAvailable,
}

impl QueueEvent {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::WorkAvailable => "work-available",
        }
    }
}

/// The payload of the join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueJoin {
    /// Slots of all groups together.
    pub capacity: u32,
    /// Queue list, joined with `>`, → slots.
    pub queues: IndexMap<String, u32>,
}

/// The payload of `claim`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRequest {
    /// How many runs at most.
    pub demand: u32,
    /// Also on the wire when null: the server's handler needs the key.
    pub worker_name: Option<String>,
    /// Queue names in order of preference.
    pub queues: Vec<String>,
}

/// A run that is this worker's now.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedRun {
    /// The run that is this worker's from now on.
    pub id: RunId,
    /// The run token, which opens the run's channel.
    pub token: String,
}

impl fmt::Debug for ClaimedRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimedRun")
            .field("id", &self.id)
            .field("token", &"***")
            .finish()
    }
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimReply {
    /// The runs, possibly none.
    pub runs: Vec<ClaimedRun>,
    /// What is wrong with each entry of the list that is no run. Lightning counts these runs as claimed too.
    pub unreadable: Vec<String>,
}

#[derive(Deserialize)]
struct Runs {
    runs: Vec<Box<RawValue>>,
}

/// An answer to a claim that is no list of runs.
#[derive(Debug, thiserror::Error)]
pub enum ClaimReplyError {
    /// The reply is binary, which a claim's never is.
    #[error("it is binary")]
    Binary,
    /// Something else than `{"runs":[{"id","token"}]}`.
    #[error("{0}")]
    Shape(serde_json::Error),
}

impl ClaimReply {
    /// Reads the response of a claim. An answer without a list, which is `null` in some failures, is an error (protocol
    /// spec, W26); one entry that cannot be read costs no other run.
    ///
    /// # Errors
    /// [`ClaimReplyError`].
    pub fn from_payload(payload: &Payload) -> Result<Self, ClaimReplyError> {
        let Payload::Json(json) = payload else {
            return Err(ClaimReplyError::Binary);
        };
        let list: Runs = serde_json::from_str(json.get()).map_err(ClaimReplyError::Shape)?;
        let mut reply = Self {
            runs: Vec::with_capacity(list.runs.len()),
            unreadable: Vec::new(),
        };
        for entry in list.runs {
            match serde_json::from_str(entry.get()) {
                Ok(run) => reply.runs.push(run),
                Err(error) => reply.unreadable.push(error.to_string()),
            }
        }
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn read(json: &str) -> Result<ClaimReply, ClaimReplyError> {
        ClaimReply::from_payload(&Payload::Json(
            RawValue::from_string(json.to_owned()).unwrap(),
        ))
    }

    #[test]
    fn a_claim_names_the_worker_even_when_it_has_no_name() {
        let claim = ClaimRequest {
            demand: 1,
            worker_name: None,
            queues: vec!["manual".into(), "*".into()],
        };
        assert_eq!(
            serde_json::to_string(&claim).unwrap(),
            r#"{"demand":1,"worker_name":null,"queues":["manual","*"]}"#
        );
    }

    #[test]
    fn runs_are_read_and_an_answer_without_runs_is_an_error() {
        let reply = read(r#"{"runs":[{"id":"r","token":"secret","more":1}]}"#).unwrap();
        assert_eq!(reply.runs[0].id, RunId::new("r"));
        assert!(!format!("{reply:?}").contains("secret"));
        assert!(read(r#"{"runs":[]}"#).unwrap().runs.is_empty());
        for bad in ["null", "{}", r#"{"runs":null}"#, r#"{"runs":{}}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_entry_that_is_no_run_costs_no_other_run() {
        let reply = read(r#"{"runs":[null,{"id":"x"},{"id":"r","token":"t"},7]}"#).unwrap();
        assert_eq!(reply.runs.len(), 1);
        assert_eq!(reply.runs[0].id, RunId::new("r"));
        assert_eq!(reply.unreadable.len(), 3);
    }
}
