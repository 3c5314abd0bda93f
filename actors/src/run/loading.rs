//! What a run needs before it may start: its dataclip, its credentials, and what the engine prepares. No actor, no I/O.

use std::time::Instant;

use bytes::Bytes;
use indexmap::IndexMap;
use protocol::ids::{CredentialId, DataclipId};
use protocol::lightning::RunEvent;
use protocol::plan::{ExecutionPlan, RunOptions};
use protocol::reasons::{ExitReason, Outcome};
use serde_json::value::RawValue;

use crate::engine_pool::{PrepareError, Prepared};
use crate::lightning::Ticket;

/// Tries for a request that Lightning does not answer, or asks to repeat.
pub(super) const TRIES: u32 = 3;

/// One thing that is fetched from Lightning.
#[derive(Debug)]
pub(super) enum Fetch<T> {
    /// Not on the way: never asked, or the link was lost.
    Unasked {
        tries: u32,
    },
    Asked {
        ticket: Ticket,
        sent: Instant,
        tries: u32,
    },
    Got(T),
    /// It cannot be had; in the words of section 4.5 of the protocol spec.
    Failed(String),
}

impl<T> Fetch<T> {
    pub(super) const NEW: Self = Self::Unasked { tries: 0 };

    pub(super) fn settled(&self) -> bool {
        matches!(self, Self::Got(_) | Self::Failed(_))
    }

    /// How often it was asked for.
    pub(super) fn tries(&self) -> u32 {
        match self {
            Self::Unasked { tries } | Self::Asked { tries, .. } => *tries,
            Self::Got(_) | Self::Failed(_) => 0,
        }
    }

    /// Notes a further request, unless it is on the way or settled.
    pub(super) fn ask(&mut self, ticket: Ticket, now: Instant) -> bool {
        match self {
            Self::Unasked { tries } => {
                *self = Self::Asked {
                    ticket,
                    sent: now,
                    tries: *tries + 1,
                };
                true
            }
            Self::Asked { .. } | Self::Got(_) | Self::Failed(_) => false,
        }
    }

    pub(super) fn is_asked_by(&self, wanted: Ticket) -> bool {
        matches!(self, Self::Asked { ticket, .. } if *ticket == wanted)
    }

    /// What was on the way has to be asked again.
    pub(super) fn link_lost(&mut self) {
        if let Self::Asked { tries, .. } = self {
            *self = Self::Unasked { tries: *tries };
        }
    }

    /// A request that has been unanswered since before `since` is asked again, or failed after all its tries.
    pub(super) fn expire(&mut self, since: Instant, event: &str) -> bool {
        match self {
            Self::Asked { sent, tries, .. } if *sent <= since => {
                *self = if *tries < TRIES {
                    Self::Unasked { tries: *tries }
                } else {
                    Self::Failed(format!("[{event}] timeout"))
                };
                true
            }
            _ => false,
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Loading {
    pub(super) plan: ExecutionPlan,
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
        plan: ExecutionPlan,
        options: RunOptions,
        dataclip_id: Option<DataclipId>,
    ) -> Self {
        let credentials = plan
            .credential_ids()
            .into_iter()
            .map(|id| (id, Fetch::NEW))
            .collect();
        let dataclip = match dataclip_id {
            Some(_) => Fetch::NEW,
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

    pub(super) fn link_lost(&mut self) {
        self.dataclip.link_lost();
        for credential in self.credentials.values_mut() {
            credential.link_lost();
        }
    }

    /// Asks again for what has been unanswered since before `since`; whether anything was.
    pub(super) fn expire(&mut self, since: Instant) -> bool {
        let mut expired = self.dataclip.expire(since, RunEvent::FetchDataclip.name());
        for credential in self.credentials.values_mut() {
            expired |= credential.expire(since, RunEvent::FetchCredential.name());
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

    /// What to execute, or how the run ends without having started.
    ///
    /// # Errors
    /// The outcome of the first failure.
    pub(super) fn finish(self) -> Result<Loaded, Outcome> {
        let input = match self.dataclip {
            Fetch::Got(bytes) => bytes,
            Fetch::Failed(why) => {
                let id = self.dataclip_id.as_ref().map_or("", DataclipId::as_str);
                return Err(exception(
                    "DataClipError",
                    format!("Failed to load dataclip {id}: {why}"),
                ));
            }
            Fetch::Unasked { .. } | Fetch::Asked { .. } => return Err(unfinished()),
        };
        let prepared = match self.prepared {
            Some(Ok(prepared)) => prepared,
            Some(Err(error)) => return Err(exception(error.error_type(), error.to_string())),
            None => return Err(unfinished()),
        };
        let mut failures = Vec::new();
        let mut credentials = IndexMap::new();
        for (id, fetch) in self.credentials {
            match fetch {
                Fetch::Got(body) => {
                    credentials.insert(id, body);
                }
                Fetch::Failed(why) => {
                    failures.push(format!("Failed to load credential {id}: {why}"));
                }
                Fetch::Unasked { .. } | Fetch::Asked { .. } => return Err(unfinished()),
            }
        }
        if !failures.is_empty() {
            return Err(exception("CredentialLoadError", failures.join("\n")));
        }
        Ok(Loaded {
            prepared,
            options: self.options,
            dataclip_id: self.dataclip_id,
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
