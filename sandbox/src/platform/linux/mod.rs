//! Linux: Landlock for files, seccomp for calls, cgroups for memory, `/proc` for sizes.
//!
//! Job code reaches Node's own realm in one line, so that whatever the process may do, a job may do. Landlock leaves it the
//! files that it was given; seccomp takes away new processes, local sockets and the calls that look into or change other
//! processes. Measured with Node 20 and 24, as root and as another user.

pub(crate) mod bpf;
mod capabilities;
mod cgroup;
mod landlock;
mod leftovers;
mod processes;
mod seccomp;
mod user;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use seccompiler::BpfProgram;

pub use self::cgroup::Cgroups;
pub(crate) use self::cgroup::Leaf;
pub(crate) use self::leftovers::{Mark, end_all};
pub use self::processes::usage;
pub(crate) use self::processes::{files, survey};
pub(crate) use self::user::{User, own as own_user};
use crate::egress::Entrance;
use crate::error::Missing;
use crate::layers::Layer;
use crate::pre_exec;
use crate::spec::{Confinement, Limits, Network, Processes, SandboxMode};

/// What a program is confined by, built before the fork.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The file by which the program joins its cgroup.
    cgroup: Option<OwnedFd>,
    layers: Option<Layers>,
    /// Where its destinations are judged.
    egress: Option<Entrance>,
}

#[derive(Debug)]
struct Layers {
    limits: Limits,
    /// The capabilities that it keeps, as bits.
    capabilities: u64,
    /// Whom it becomes, if not the worker's user.
    user: Option<User>,
    /// Whether it gets an IPC namespace of its own.
    ipc: bool,
    /// The Landlock rules; `None` where the kernel has none.
    rules: Option<OwnedFd>,
    /// The seccomp program; `None` where the kernel takes none.
    filter: Option<BpfProgram>,
}

impl Prepared {
    /// What `confinement` asks for, as far as this kernel has it.
    ///
    /// # Errors
    /// What is missing, where the mode is strict.
    pub(crate) fn build(
        confinement: &Confinement,
        program: &Path,
        current_dir: &Path,
        private: &Path,
        leaf: Option<&Leaf>,
    ) -> Result<Self, Missing> {
        let mode = confinement.mode;
        let layers = if mode == SandboxMode::Off {
            None
        } else {
            let rules = or_without(mode, landlock::rules(confinement, program, private))?;
            let filter = or_without(
                mode,
                seccomp::filter(confinement.processes, confinement.network),
            )?;
            Some(Layers {
                limits: confinement.limits,
                capabilities: capabilities::kept(confinement, program, current_dir),
                user: None,
                ipc: capabilities::may_make_namespaces(),
                rules,
                filter,
            })
        };
        Ok(Self {
            cgroup: leaf.and_then(Leaf::entrance),
            layers,
            egress: None,
        })
    }

    /// Has it become this user, who can read its files without any capability.
    pub(crate) fn become_user(&mut self, user: User) {
        if let Some(layers) = &mut self.layers {
            layers.user = Some(user);
            layers.capabilities = 0;
        }
    }

    /// Has its destinations judged.
    pub(crate) fn guard(&mut self, egress: Entrance) {
        self.egress = Some(egress);
    }

    /// Confines this process, which is about to become the program. Between fork and exec: allocates nothing.
    ///
    /// # Errors
    /// When the kernel refuses, so that nothing is started.
    pub(crate) fn enter(&mut self) -> io::Result<()> {
        if let Some(cgroup) = &self.cgroup {
            pre_exec::linux::join(cgroup);
        }
        let Some(layers) = &mut self.layers else {
            return pre_exec::linux::die_with_parent();
        };
        pre_exec::limit(
            nix::sys::resource::Resource::RLIMIT_FSIZE,
            layers.limits.file_bytes,
        )?;
        pre_exec::limit(
            nix::sys::resource::Resource::RLIMIT_NOFILE,
            layers.limits.descriptors,
        )?;
        if layers.ipc {
            pre_exec::linux::leave_ipc_namespace();
        }
        pre_exec::linux::keep_capabilities(layers.capabilities, layers.user.map(User::id))?;
        // Afterwards: whoever becomes another user is asked to die with nobody.
        pre_exec::linux::die_with_parent()?;
        if let Some(rules) = &layers.rules {
            pre_exec::linux::restrict(rules)?;
        }
        // Before those that may not let it install any more.
        if let Some(egress) = &self.egress {
            egress.enter()?;
        }
        if let Some(filter) = &mut layers.filter {
            seccomp::set_own_pid(filter, std::process::id());
            // Two system calls on a program that was built before the fork.
            seccompiler::apply_filter(filter).map_err(|_| io::Error::last_os_error())?;
        }
        Ok(())
    }

    /// As a kernel without Landlock would have it.
    #[cfg(test)]
    pub(crate) fn without_landlock(&mut self) {
        if let Some(layers) = &mut self.layers {
            layers.rules = None;
        }
    }
}

fn or_without<T>(mode: SandboxMode, built: Result<T, Missing>) -> Result<Option<T>, Missing> {
    match built {
        Ok(built) => Ok(Some(built)),
        Err(missing) if mode == SandboxMode::Strict => Err(missing),
        // Said once, by whoever asks for `missing`.
        Err(_) => Ok(None),
    }
}

/// What of the sandbox this machine lacks, for the operator; empty when it is whole.
#[must_use]
pub fn missing() -> Vec<Missing> {
    let mut missing = Vec::new();
    missing.extend(landlock::try_out().err());
    missing.extend(seccomp::filter(Processes::Forbidden, Network::Internet).err());
    missing
}

/// All layers, on or off.
#[must_use]
pub fn layers() -> Vec<Layer> {
    let mut layers = match landlock::try_out() {
        Ok(()) => landlock::layers(),
        Err(missing) => vec![Layer::off("Landlock", missing.why)],
    };
    layers.push(
        match seccomp::filter(Processes::Forbidden, Network::Internet) {
            Ok(_) => Layer::on("seccomp", seccomp::summary()),
            Err(missing) => Layer::off("seccomp", missing.why),
        },
    );
    layers.push(capabilities::layer());
    layers.push(user::layer());
    layers.push(if capabilities::may_make_namespaces() {
        Layer::on("IPC namespace", "each process has its own")
    } else {
        Layer::off(
            "IPC namespace",
            "only a superuser with CAP_SYS_ADMIN can make them; seccomp refuses IPC all the same",
        )
    });
    layers.push(match Cgroups::probe() {
        Ok(()) => Layer::on("cgroup", "the kernel limits the memory of each process"),
        Err(error) => Layer::off("cgroup", error.to_string()),
    });
    layers
}
