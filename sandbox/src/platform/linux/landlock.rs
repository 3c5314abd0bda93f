//! The files that a program may reach.

use std::os::fd::OwnedFd;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, Scope,
};

use crate::error::Missing;
use crate::layers::Layer;
use crate::pre_exec;
use crate::spec::Confinement;

/// The newest Landlock that the rules are written for; older kernels leave out what they do not know.
const LANDLOCK: ABI = ABI::V6;

/// Libraries, time zones, certificates, and what the resolver reads.
const READABLE: &[&str] = &[
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/run/systemd/resolve",
    "/dev/urandom",
    "/dev/random",
];

/// ELF loaders: executing a program means executing its loader too.
const LOADERS: &[&str] = &[
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-musl-x86_64.so.1",
    "/lib/ld-musl-aarch64.so.1",
];

/// The rules of a program with this private folder.
///
/// # Errors
/// What the kernel lacks.
pub(super) fn rules(
    confinement: &Confinement,
    program: &Path,
    private: &Path,
) -> Result<OwnedFd, Missing> {
    build(confinement, program, private)
        .map_err(|error| missing(error.to_string()))
        .and_then(usable)
}

/// Whether the kernel takes rules. Making some restricts nothing as long as nobody is put under them.
///
/// # Errors
/// What it lacks.
pub(super) fn try_out() -> Result<(), Missing> {
    empty()
        .map_err(|error| missing(error.to_string()))
        .and_then(usable)
        .map(drop)
}

/// What there is of it, where there is any: each version covers more.
pub(super) fn layers() -> Vec<Layer> {
    let known = [ABI::V6, ABI::V5, ABI::V4, ABI::V3, ABI::V2, ABI::V1];
    let newest = known.into_iter().find(|version| {
        let rules = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(*version));
        rules.is_ok_and(|rules| {
            let scope = Scope::from_all(*version);
            let rules = if scope.is_empty() {
                Ok(rules)
            } else {
                rules.scope(scope)
            };
            rules.and_then(Ruleset::create).is_ok()
        })
    });
    let number = newest.map(|version| version as i32).unwrap_or_default();
    let signals = "Landlock for signals";
    vec![
        Layer::on(
            "Landlock",
            format!("ABI {number}: the files that a process was given, and no others"),
        ),
        if newest == Some(ABI::V6) {
            Layer::on(signals, "none leave the process")
        } else {
            Layer::off(
                signals,
                "before Linux 6.12; seccomp refuses them all the same",
            )
        },
    ]
}

fn usable(rules: RulesetCreated) -> Result<OwnedFd, Missing> {
    let rules = Option::<OwnedFd>::from(rules);
    let rules = rules.ok_or_else(|| missing("this kernel has none".to_owned()))?;
    pre_exec::lift(&rules).map_err(|error| missing(error.to_string()))
}

fn missing(why: String) -> Missing {
    Missing {
        layer: "Landlock",
        why,
    }
}

/// Rules that allow nothing.
fn empty() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .scope(Scope::Signal | Scope::AbstractUnixSocket)?
        .create()
}

fn build(
    confinement: &Confinement,
    program: &Path,
    private: &Path,
) -> Result<RulesetCreated, RulesetError> {
    let mut rules = empty()?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let execute = read | AccessFs::Execute;
    let write = AccessFs::from_all(LANDLOCK)
        & !(AccessFs::Execute
            | AccessFs::MakeChar
            | AccessFs::MakeBlock
            | AccessFs::MakeSock
            | AccessFs::MakeFifo
            | AccessFs::IoctlDev);
    let mut allow = |path: &Path, access: BitFlags<AccessFs>| -> Result<(), RulesetError> {
        // What a machine does not have needs no rule.
        let Ok(fd) = PathFd::new(path) else {
            return Ok(());
        };
        // Of a file, the library leaves out what only folders can be asked for.
        (&mut rules).add_rule(PathBeneath::new(fd, access))?;
        Ok(())
    };
    for path in READABLE {
        allow(Path::new(path), read)?;
    }
    for path in LOADERS {
        allow(Path::new(path), AccessFs::Execute | AccessFs::ReadFile)?;
    }
    allow(program, AccessFs::Execute | AccessFs::ReadFile)?;
    allow(
        Path::new("/dev/null"),
        AccessFs::ReadFile | AccessFs::WriteFile,
    )?;
    for path in &confinement.readable {
        allow(path, read)?;
    }
    for path in &confinement.executable {
        allow(path, execute)?;
    }
    for path in &confinement.writable {
        allow(path, write)?;
    }
    allow(private, write)?;
    Ok(rules)
}
