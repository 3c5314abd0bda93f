//! What only one system can do. Each side has the same items; a port adds a file and a line here.

#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod linux;
#[cfg(all(target_os = "linux", not(feature = "portable")))]
use self::linux as system;
#[cfg(all(target_os = "linux", not(feature = "portable")))]
pub(crate) use self::linux::bpf;

#[cfg(any(not(target_os = "linux"), feature = "portable"))]
mod none;
#[cfg(any(not(target_os = "linux"), feature = "portable"))]
use self::none as system;

pub use self::system::{Cgroups, layers, missing, usage};
pub(crate) use self::system::{Leaf, Mark, Prepared, User, end_all, files, own_user, survey};
