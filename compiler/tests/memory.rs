//! Compiling again and again takes no more memory than compiling once. Alone in its file, because it
//! looks at the memory of the whole process.

#![cfg(target_os = "linux")]

use std::fs;

use compiler::{Adaptor, CompileOptions, compile};

/// What a process gains between two looks without any leak: a page here and there.
const TOLERANCE_KIB: u64 = 1024;

const JOB: &str = "const limit = 100;
get('/patients', { query: { since: $.lastRun } });
fn(state => ({ ...state, count: state.data.length }));
get('/summary').then(state => state).catch(error => { throw error; });
";

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the status of this process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .expect("a line with the resident memory")
}

fn compile_often(times: usize) {
    let adaptors = [Adaptor {
        name: "@openfn/language-demo".to_owned(),
        exports: ["get", "fn"].map(str::to_owned).to_vec(),
        export_all: true,
    }];
    let options = CompileOptions {
        name: Some("job"),
        adaptors: &adaptors,
        ignore: &[],
    };
    for number in 0..times {
        // Every third job is broken, so that errors are made and dropped as well.
        let source = if number % 3 == 0 { &JOB[..90] } else { JOB };
        assert_eq!(compile(source, &options).is_err(), number % 3 == 0);
    }
}

#[test]
fn ten_thousand_compiles_leave_no_memory_behind() {
    compile_often(500);
    let before = resident_kib();
    compile_often(10_000);
    let after = resident_kib();
    assert!(
        after <= before + TOLERANCE_KIB,
        "resident memory grew from {before} to {after} KiB"
    );
}
