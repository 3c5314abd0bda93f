//! The plan as Lightning sends it, read leniently: what is missing or null is absent, what is unknown is ignored.

use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Why a plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Not the shape of a plan.
    #[error("it is not a Lightning plan: {0}")]
    Shape(serde_json::Error),
    /// An edge of a node without a target.
    #[error("the edge {edge} has no target_job_id")]
    NoTarget {
        /// The edge's id, or its position.
        edge: String,
    },
}

/// A plan as Lightning sends it.
#[derive(Debug, Clone, Deserialize)]
pub struct LightningPlan {
    /// The run.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub id: Option<String>,
    /// The workflow's name.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub name: Option<String>,
    /// The project.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub project_id: Option<String>,
    /// The input to fetch.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub dataclip_id: Option<String>,
    /// The first node.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub starting_node_id: Option<String>,
    /// Triggers, in order.
    #[serde(default, deserialize_with = "null_is_default")]
    pub triggers: Vec<LightningTrigger>,
    /// Jobs, in order.
    #[serde(default, deserialize_with = "null_is_default")]
    pub jobs: Vec<LightningJob>,
    /// Edges, in order.
    #[serde(default, deserialize_with = "null_is_default")]
    pub edges: Vec<LightningEdge>,
    /// Options of the run, as they are.
    #[serde(default, deserialize_with = "null_is_default")]
    pub options: Map<String, Value>,
    /// JavaScript module source; only a non-empty string counts.
    #[serde(default)]
    pub globals: Option<Value>,
}

/// A trigger: a node that hands its input on.
#[derive(Debug, Clone, Deserialize)]
pub struct LightningTrigger {
    /// Its id.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub id: Option<String>,
}

/// A job.
#[derive(Clone, Deserialize)]
pub struct LightningJob {
    /// Its id.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub id: Option<String>,
    /// Its name.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub name: Option<String>,
    /// Its source.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub body: Option<String>,
    /// Its adaptor's specifier.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub adaptor: Option<String>,
    /// A credential to fetch.
    #[serde(default)]
    pub credential_id: Option<Value>,
    /// An inline credential, or the id of one.
    #[serde(default)]
    pub credential: Option<Box<RawValue>>,
    /// Its default state.
    #[serde(default)]
    pub state: Option<Box<RawValue>>,
}

// By hand: an inline credential is a secret.
impl fmt::Debug for LightningJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LightningJob")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("adaptor", &self.adaptor)
            .finish_non_exhaustive()
    }
}

/// An edge.
#[derive(Debug, Clone, Deserialize)]
pub struct LightningEdge {
    /// Its id.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub id: Option<String>,
    /// The trigger it starts from.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub source_trigger_id: Option<String>,
    /// The job it starts from.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub source_job_id: Option<String>,
    /// The job it leads to.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub target_job_id: Option<String>,
    /// When it is followed.
    #[serde(default)]
    pub condition: Condition,
    /// Only `false` switches it off.
    #[serde(default)]
    pub enabled: Option<Value>,
}

/// The condition of an edge. For a trigger's edge, null is not the same as nothing (protocol spec, section 6.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Condition {
    /// No such key.
    #[default]
    Absent,
    /// `null`, or `false`.
    Null,
    /// A name or an expression, possibly empty.
    Text(String),
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Null | Value::Bool(false) => Ok(Self::Null),
            Value::String(text) => Ok(Self::Text(text)),
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err(serde::de::Error::custom(format!(
                    "the condition {other} of an edge is no text"
                )))
            }
        }
    }
}

impl LightningPlan {
    /// Reads a plan.
    ///
    /// # Errors
    /// [`PlanError::Shape`], naming what is wrong.
    pub fn from_json(text: &str) -> Result<Self, PlanError> {
        serde_json::from_str(text).map_err(PlanError::Shape)
    }
}

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A text that is not empty; numbers are taken as their text, since ids of tests are sometimes numbers.
fn text_or_nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Option::<Value>::deserialize(deserializer)? {
        None | Some(Value::Null | Value::Bool(false)) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(other) => Err(serde::de::Error::custom(format!("{other} is no text"))),
    }
}
