//! Kernels that lack something.

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// What a kernel may lack.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lack {
    /// A call.
    Call(i64),
    /// A request of `ioctl`.
    Request(u64),
}

impl Lack {
    fn rule(self) -> (i64, Vec<SeccompRule>) {
        match self {
            Self::Call(call) => (call, Vec::new()),
            Self::Request(request) => {
                let wide = SeccompCmpArgLen::Dword;
                let is_it = SeccompCondition::new(1, wide, SeccompCmpOp::Eq, request)
                    .and_then(|condition| SeccompRule::new(vec![condition]));
                (
                    libc::SYS_ioctl,
                    vec![is_it.expect("the rule has a condition")],
                )
            }
        }
    }
}

/// Does this where the kernel answers as one that lacks this; so it does for all that is started meanwhile.
pub(crate) fn without<T: Send>(lack: Lack, act: impl FnOnce() -> T + Send) -> T {
    let filter = SeccompFilter::new(
        [lack.rule()].into(),
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
