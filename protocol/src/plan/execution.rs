//! The plan as the runtime takes it (engine spec, section 1.4).

use std::collections::HashMap;
use std::fmt;

use indexmap::IndexMap;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::ids::{CredentialId, JobId, ProjectId, RunId};

/// An execution plan.
#[derive(Clone)]
pub struct ExecutionPlan {
    /// The run; used by the runtime in log lines only.
    pub id: RunId,
    /// The first step; the first in the list when absent.
    pub start: Option<JobId>,
    /// The workflow's name.
    pub name: Option<String>,
    /// Module source whose exports are globals of each step.
    pub globals: Option<String>,
    /// Merged below every step's configuration.
    pub credentials: Option<IndexMap<String, String>>,
    /// The steps, in plan order, by id.
    pub steps: IndexMap<JobId, Step>,
    /// The project, which the runtime does not need.
    pub project_id: Option<ProjectId>,
}

/// One step of a plan.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// The job's name.
    pub name: Option<String>,
    /// Job source, later the compiled module; `None` for a trigger.
    pub expression: Option<String>,
    /// The source map of the compiled module, JSON text.
    pub source_map: Option<Box<RawValue>>,
    /// The credential.
    pub configuration: Configuration,
    /// Adaptor specifiers; `None` for a trigger.
    pub adaptors: Option<Vec<String>>,
    /// Where each adaptor is, by name.
    pub linker: IndexMap<String, Linked>,
    /// Default state.
    pub state: Option<Box<RawValue>>,
    /// What may follow; `None` is a step without edges, which is not the same as one whose edges are all off.
    pub next: Option<IndexMap<JobId, Edge>>,
}

/// A step's credential.
#[derive(Clone, Default)]
pub enum Configuration {
    /// None.
    #[default]
    None,
    /// To be fetched.
    Credential(CredentialId),
    /// As it is: inline, or fetched.
    Inline(Box<RawValue>),
}

impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Credential(id) => f.debug_tuple("Credential").field(id).finish(),
            Self::Inline(_) => f.write_str("Inline(***)"),
        }
    }
}

impl fmt::Debug for ExecutionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutionPlan")
            .field("id", &self.id)
            .field("start", &self.start)
            .field("name", &self.name)
            .field("globals", &self.globals)
            .field("credentials", &self.credentials.as_ref().map(|_| "***"))
            .field("steps", &self.steps)
            .field("project_id", &self.project_id)
            .finish()
    }
}

/// Where an adaptor of a step is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Linked {
    /// Its folder.
    pub path: String,
    /// Its version.
    pub version: String,
}

/// An entry of `next`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edge {
    /// Always.
    Always,
    /// Never: the null condition of a trigger's edge.
    Null,
    /// A trigger's condition, as a plain string.
    Expression(String),
    /// A job's condition, and whether the edge is off.
    Conditional {
        /// `on_job_success`, …, or an expression.
        condition: Option<String>,
        /// `enabled: false`.
        disabled: bool,
    },
}

impl ExecutionPlan {
    /// The credentials to fetch, each once, in plan order.
    pub fn credential_ids(&self) -> Vec<CredentialId> {
        let mut ids = Vec::new();
        for step in self.steps.values() {
            if let Configuration::Credential(id) = &step.configuration
                && !ids.contains(id)
            {
                ids.push(id.clone());
            }
        }
        ids
    }

    /// Puts fetched credentials in the place of their ids. A `null` body is no configuration.
    pub fn resolve_credentials(&mut self, bodies: &IndexMap<CredentialId, Box<RawValue>>) {
        for step in self.steps.values_mut() {
            if let Configuration::Credential(id) = &step.configuration {
                step.configuration = match bodies.get(id) {
                    Some(body) if body.get() != "null" => Configuration::Inline(body.clone()),
                    _ => Configuration::None,
                };
            }
        }
    }

    /// The step that the run begins with: the one that is named, or else the first. `None` if there is no such step.
    pub fn start_step(&self) -> Option<(&JobId, &Step)> {
        match &self.start {
            Some(start) => self.steps.get_key_value(start),
            None => self.steps.first(),
        }
    }

    /// The steps that get the run's input: the start step, or what a start trigger leads to (protocol spec, section 4.14).
    pub fn start_targets(&self) -> Vec<JobId> {
        match self.start_step() {
            None => Vec::new(),
            Some((id, step)) if step.expression.is_some() => vec![id.clone()],
            Some((_, step)) => step
                .next
                .iter()
                .flatten()
                .map(|(id, _)| id.clone())
                .collect(),
        }
    }
}

impl Serialize for ExecutionPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut options = HashMap::new();
        if let Some(start) = &self.start {
            options.insert("start", start);
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("options", &options)?;
        map.serialize_entry("workflow", &Workflow(self))?;
        map.end()
    }
}

struct Workflow<'a>(&'a ExecutionPlan);

impl Serialize for Workflow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let plan = self.0;
        let mut map = serializer.serialize_map(None)?;
        let steps: Vec<_> = plan
            .steps
            .iter()
            .map(|(id, step)| StepOf { id, step })
            .collect();
        map.serialize_entry("steps", &steps)?;
        if let Some(name) = &plan.name {
            map.serialize_entry("name", name)?;
        }
        if let Some(globals) = &plan.globals {
            map.serialize_entry("globals", globals)?;
        }
        if let Some(credentials) = &plan.credentials {
            map.serialize_entry("credentials", credentials)?;
        }
        map.end()
    }
}

struct StepOf<'a> {
    id: &'a JobId,
    step: &'a Step,
}

impl Serialize for StepOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { id, step } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", id)?;
        match &step.configuration {
            Configuration::None => {}
            Configuration::Credential(id) => map.serialize_entry("configuration", id)?,
            Configuration::Inline(body) => map.serialize_entry("configuration", body)?,
        }
        if let Some(expression) = &step.expression {
            map.serialize_entry("expression", expression)?;
        }
        if let Some(source_map) = &step.source_map {
            map.serialize_entry("sourceMap", source_map)?;
        }
        if let Some(adaptors) = &step.adaptors {
            map.serialize_entry("adaptors", adaptors)?;
        }
        if !step.linker.is_empty() {
            map.serialize_entry("linker", &step.linker)?;
        }
        if let Some(name) = &step.name {
            map.serialize_entry("name", name)?;
        }
        if let Some(state) = &step.state {
            map.serialize_entry("state", state)?;
        }
        if let Some(next) = &step.next {
            map.serialize_entry("next", next)?;
        }
        map.end()
    }
}

impl Serialize for Edge {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Always => serializer.serialize_bool(true),
            Self::Null => serializer.serialize_unit(),
            Self::Expression(condition) => serializer.serialize_str(condition),
            Self::Conditional {
                condition,
                disabled,
            } => {
                let mut map = serializer.serialize_map(None)?;
                if let Some(condition) = condition {
                    map.serialize_entry("condition", condition)?;
                }
                if *disabled {
                    map.serialize_entry("disabled", disabled)?;
                }
                map.end()
            }
        }
    }
}
