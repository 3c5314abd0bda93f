//! Ids as types: one word, one thing.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! text_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps a text; cheap to clone afterwards.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The id as it is on the wire.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(TextVisitor).map(Self)
            }
        }
    )*};
}

/// Reads a string straight into its shared form.
struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Arc<str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Arc<str>, E> {
        Ok(text.into())
    }
}

text_id! {
    /// The id of a run, which is also the plan's.
    RunId;
    /// One execution of a job within a run; made by the worker.
    StepId;
    /// A job of a workflow: the id of a node of the plan, triggers included.
    JobId;
    /// A stored state.
    DataclipId;
    /// The id that a job's `configuration` has until its credential is fetched.
    CredentialId;
    /// The project that a run belongs to. Unless told otherwise, no engine child serves two.
    ProjectId;
    /// A queue group: its token as configured, e.g. `manual>*:4`.
    WorkloopId;
    /// A channel's topic.
    Topic;
}

impl Topic {
    /// The topic of heartbeats.
    pub fn phoenix() -> Self {
        Self::new("phoenix")
    }

    /// The topic of claims.
    pub fn queue() -> Self {
        Self::new("worker:queue")
    }

    /// The topic of a run.
    pub fn run(id: &RunId) -> Self {
        Self::new(format!("run:{id}"))
    }

    /// The run whose topic it is.
    pub fn run_id(&self) -> Option<RunId> {
        self.as_str().strip_prefix("run:").map(RunId::new)
    }
}

/// A frame's ref: decimal, unique per connection (protocol spec, section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageRef(pub u64);

impl fmt::Display for MessageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for MessageRef {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_strings_on_the_wire() {
        let id: RunId = serde_json::from_str(r#""a\nb""#).unwrap();
        assert_eq!(id.as_str(), "a\nb");
        assert_eq!(serde_json::to_string(&id).unwrap(), r#""a\nb""#);
        assert!(serde_json::from_str::<RunId>("7").is_err());
        assert_eq!(MessageRef(12).to_string(), "12");
        assert_eq!("12".parse(), Ok(MessageRef(12)));
    }

    #[test]
    fn the_topic_of_a_run_names_the_run() {
        let id = RunId::new("r1");
        assert_eq!(Topic::run(&id).as_str(), "run:r1");
        assert_eq!(Topic::run(&id).run_id(), Some(id));
        assert_eq!(Topic::queue().run_id(), None);
    }
}
