//! Kernels that lack something.

use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// Does this where the kernel answers a call as one that does not have it; so it does for all that is started meanwhile.
pub(crate) fn without<T: Send>(call: i64, act: impl FnOnce() -> T + Send) -> T {
    let filter = SeccompFilter::new(
        [(call, Vec::new())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
        std::env::consts::ARCH
            .try_into()
            .expect("seccomp knows this architecture"),
    );
    let filter: BpfProgram = filter
        .and_then(TryInto::try_into)
        .expect("the filter is one");
    let confined = move || {
        // Of this thread only, which ends with it.
        seccompiler::apply_filter(&filter).expect("the filter is taken");
        act()
    };
    std::thread::scope(|scope| scope.spawn(confined).join().expect("no panic"))
}
