//! Lines of a filter's program, in the language that the kernel runs them in.

use nix::libc;
use seccompiler::sock_filter;

/// Where the kernel has a call's number, in what it gives a filter to look at (`struct seccomp_data`).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The number of the architecture that this is compiled for, as the kernel has it; `None` where it is not known here.
const OURS: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else {
    None
};

/// How every program begins: a call of another architecture, whose numbers mean something else, ends the process; of others the
/// number is loaded. `None` on an architecture that is not known here.
pub(crate) fn opening() -> Option<[sock_filter; 4]> {
    Some([
        load(ARCHITECTURE),
        jump_if(OURS?, 1),
        ret(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
    ])
}

/// The lower half of an argument, which has 64 bits. It comes first on the architectures that are known here.
pub(crate) fn load_low(argument: u8) -> sock_filter {
    load(ARGUMENTS + 8 * u32::from(argument))
}

/// The upper half of an argument.
pub(crate) fn load_high(argument: u8) -> sock_filter {
    load(ARGUMENTS + 8 * u32::from(argument) + 4)
}

/// Keeps these bits of what was loaded.
pub(crate) fn mask(bits: u32) -> sock_filter {
    line(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, bits)
}

/// Skips `over` lines if what was loaded is this.
pub(crate) fn jump_if(value: u32, over: u8) -> sock_filter {
    compare(libc::BPF_JEQ, value, over, 0)
}

/// Skips `over` lines unless what was loaded is this.
pub(crate) fn jump_unless(value: u32, over: u8) -> sock_filter {
    compare(libc::BPF_JEQ, value, 0, over)
}

/// Skips so many lines by whether what was loaded is at least this.
pub(crate) fn jump_from(value: u32, from: u8, below: u8) -> sock_filter {
    compare(libc::BPF_JGE, value, from, below)
}

/// Skips `over` lines.
pub(crate) fn jump(over: u32) -> sock_filter {
    line(libc::BPF_JMP | libc::BPF_JA, 0, 0, over)
}

/// Ends the program: the call fails with this. With zero it looks as if it had been made.
pub(crate) fn refuse(errno: i32) -> sock_filter {
    ret(libc::SECCOMP_RET_ERRNO | errno.unsigned_abs())
}

/// Ends the program with this answer.
pub(crate) fn ret(action: u32) -> sock_filter {
    line(libc::BPF_RET | libc::BPF_K, 0, 0, action)
}

fn load(offset: u32) -> sock_filter {
    line(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

fn compare(how: u32, value: u32, holds: u8, fails: u8) -> sock_filter {
    line(libc::BPF_JMP | how | libc::BPF_K, holds, fails, value)
}

fn line(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter {
        // The codes have eight bits.
        code: u16::try_from(code).unwrap_or_default(),
        jt,
        jf,
        k,
    }
}
