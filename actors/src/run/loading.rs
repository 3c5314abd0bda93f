//! What a run needs before it may start: its dataclip, its credentials, and what the engine prepares. No actor, no I/O.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use indexmap::IndexMap;
use protocol::ids::{CredentialId, DataclipId};
use protocol::lightning::RunEvent;
use protocol::plan::{ExecutionPlan, RunOptions};
use protocol::reasons::{ExitReason, Outcome};
use serde_json::value::RawValue;

use super::fetch::Fetch;
use crate::engine_pool::{PrepareError, Prepared};
use crate::lightning::Ticket;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Loading {
    pub(super) plan: Arc<ExecutionPlan>,
    pub(super) options: RunOptions,
    pub(super) dataclip_id: Option<DataclipId>,
    pub(super) dataclip: Fetch<Bytes>,
    pub(super) credentials: IndexMap<CredentialId, Fetch<Box<RawValue>>>,
    pub(super) prepared: Option<Result<Box<Prepared>, PrepareError>>,
}

/// Everything a run needs to be executed.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) prepared: Box<Prepared>,
    pub(super) options: RunOptions,
    pub(super) dataclip_id: Option<DataclipId>,
    pub(super) input: Bytes,
    pub(super) credentials: IndexMap<CredentialId, Box<RawValue>>,
}

impl Loading {
    /// Begins to load what this plan needs.
    pub(super) fn new(
        plan: Arc<ExecutionPlan>,
        options: RunOptions,
        dataclip_id: Option<DataclipId>,
    ) -> Self {
        let credentials = plan
            .credential_ids()
            .into_iter()
            .map(|id| (id, Fetch::new()))
            .collect();
        let dataclip = match dataclip_id {
            Some(_) => Fetch::new(),
            None => Fetch::Got(Bytes::new()),
        };
        Self {
            plan,
            options,
            dataclip_id,
            dataclip,
            credentials,
            prepared: None,
        }
    }

    /// Whether everything is there, or a failure that no other can precede: a dataclip's comes first, then installs, then
    /// credentials (engine spec, section 3.2).
    pub(super) fn settled(&self) -> bool {
        matches!(self.dataclip, Fetch::Failed(_))
            || (self.dataclip.settled()
                && self.prepared.is_some()
                && (matches!(self.prepared, Some(Err(_)))
                    || self.credentials.values().all(Fetch::settled)))
    }

    pub(super) fn lacks_credential(&self, id: &CredentialId) -> bool {
        self.credentials
            .get(id)
            .is_some_and(|fetch| !matches!(fetch, Fetch::Got(_)))
    }

    pub(super) fn link_lost(&mut self) {
        self.dataclip.link_lost();
        for credential in self.credentials.values_mut() {
            credential.link_lost();
        }
    }

    /// The channel crashed with this request as the first that was unanswered.
    pub(super) fn crashed(&mut self, suspect: Ticket) {
        self.dataclip
            .crashed(suspect, RunEvent::FetchDataclip.name());
        for credential in self.credentials.values_mut() {
            credential.crashed(suspect, RunEvent::FetchCredential.name());
        }
    }

    /// Asks again for what has been unanswered since before `since`, up to so many attempts; whether anything was.
    pub(super) fn expire(&mut self, since: Instant, attempts: u32) -> bool {
        let event = RunEvent::FetchDataclip.name();
        let mut expired = self.dataclip.expire(since, attempts, event);
        let event = RunEvent::FetchCredential.name();
        for credential in self.credentials.values_mut() {
            expired |= credential.expire(since, attempts, event);
        }
        expired
    }

    /// Under zero persistence the server wipes the input when it is first read: what a second request brings may be
    /// nothing, and must not be executed (protocol spec, section 10.2).
    pub(super) fn got_dataclip(&mut self, bytes: Bytes) {
        let repeated = self.dataclip.tries() > 1;
        self.dataclip = if repeated && !self.options.output_dataclips && is_wiped(&bytes) {
            Fetch::Failed(format!(
                "[{}] the input was read before the connection was lost, and is not kept",
                RunEvent::FetchDataclip.name()
            ))
        } else if bytes.is_empty() || &bytes[..] == b"null" {
            Fetch::Got(Bytes::new())
        } else {
            Fetch::Got(bytes)
        };
    }

    /// Takes out what is to be executed, or tells how the run ends without having started.
    ///
    /// # Errors
    /// The outcome of the first failure.
    pub(super) fn finish(&mut self) -> Result<Loaded, Outcome> {
        let input = match &mut self.dataclip {
            Fetch::Got(bytes) => std::mem::take(bytes),
            Fetch::Failed(why) => {
                let id = self.dataclip_id.as_ref().map_or("", DataclipId::as_str);
                return Err(exception(
                    "DataClipError",
                    format!("Failed to load dataclip {id}: {why}"),
                ));
            }
            Fetch::Unasked(_) | Fetch::Asked { .. } => return Err(unfinished()),
        };
        let prepared = match self.prepared.take() {
            Some(Ok(prepared)) => prepared,
            Some(Err(error)) => return Err(exception(error.error_type(), error.to_string())),
            None => return Err(unfinished()),
        };
        let mut failures = Vec::new();
        let mut credentials = IndexMap::new();
        for (id, fetch) in std::mem::take(&mut self.credentials) {
            match fetch {
                Fetch::Got(body) => {
                    credentials.insert(id, body);
                }
                Fetch::Failed(why) => {
                    failures.push(format!("Failed to load credential {id}: {why}"));
                }
                Fetch::Unasked(_) | Fetch::Asked { .. } => return Err(unfinished()),
            }
        }
        if !failures.is_empty() {
            return Err(exception("CredentialLoadError", failures.join("\n")));
        }
        Ok(Loaded {
            prepared,
            options: std::mem::take(&mut self.options),
            dataclip_id: self.dataclip_id.take(),
            input,
            credentials,
        })
    }
}

/// An outcome whose fault is the platform's.
pub(super) fn exception(error_type: &str, message: String) -> Outcome {
    Outcome {
        reason: ExitReason::Exception,
        error_type: Some(error_type.to_owned()),
        error_message: Some(message),
    }
}

fn unfinished() -> Outcome {
    exception(
        "ExecutionError",
        "the run was started before everything it needs was loaded".to_owned(),
    )
}

fn is_wiped(bytes: &[u8]) -> bool {
    match serde_json::from_slice::<serde_json::Value>(bytes) {
        Ok(serde_json::Value::Null) => true,
        Ok(serde_json::Value::Object(map)) => {
            !map.is_empty() && map.values().all(serde_json::Value::is_null)
        }
        _ => false,
    }
}
