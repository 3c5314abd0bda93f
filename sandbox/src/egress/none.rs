//! A system without the means: nothing is judged, and it says so.

use std::convert::Infallible;
use std::io;

use crate::error::{Error, Missing};
use crate::spec::{SandboxMode, Spec};

/// What a program installs before it is executed: there is no value of it.
#[derive(Debug)]
pub(crate) struct Entrance(Infallible);

/// A program whose calls are to be answered: there is none.
#[derive(Debug)]
pub(crate) struct Awaited(Infallible);

/// Who answers them.
#[derive(Debug)]
pub(crate) struct Broker(Infallible);

impl Entrance {
    pub(crate) fn enter(&self) -> io::Result<()> {
        match self.0 {}
    }
}

impl Awaited {
    pub(crate) fn begin(self, _pid: u32) -> io::Result<Broker> {
        match self.0 {}
    }
}

impl Broker {
    pub(crate) fn forget(&self) {
        match self.0 {}
    }
}

pub(crate) fn prepare(spec: &Spec) -> Result<Option<(Entrance, Awaited)>, Error> {
    match missing(spec) {
        Some(missing) if spec.confinement.mode == SandboxMode::Strict => Err(missing.into()),
        Some(_) | None => Ok(None),
    }
}

/// What the machine lacks for judging the destinations of this program, if anything.
#[must_use]
pub fn missing(spec: &Spec) -> Option<Missing> {
    let wanted = spec
        .egress
        .as_ref()
        .is_some_and(|egress| !egress.rules.is_empty());
    wanted.then(|| Missing {
        layer: "egress control",
        why: "this system is not Linux".to_owned(),
    })
}
