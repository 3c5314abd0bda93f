//! How long compiling takes: `cargo bench -p compiler`. Prints the median of many runs on one
//! thread, and what 10,000 compiles do to the memory of the process.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::{fmt::Write, fs, hint::black_box, time::Instant};

use compiler::{Adaptor, CompileOptions, compile};

/// A job like those that users write: twenty lines, seven statements.
const BLOCK: &str = "const limit = 100;
get('/patients', { query: { since: $.lastRun } });
post('/audit', { count: $.data.length, at: $.now });
fn(state => {
  const patients = state.data
    .filter(p => p.active)
    .map(p => ({ id: p.id, name: `${p.first} ${p.last}` }));
  return { ...state, patients };
});
each(
  '$.patients[*]',
  post('/registry', state => state.data)
);
get('/summary')
  .then(state => {
    state.total = state.data.total;
    return state;
  })
  .catch(error => {
    throw error;
  });
";

fn main() {
    let adaptors = [Adaptor {
        name: "@openfn/language-http".to_owned(),
        exports: [
            "get", "post", "each", "fn", "combine", "util", "http", "log",
        ]
        .map(str::to_owned)
        .to_vec(),
        export_all: true,
    }];
    let mut long = String::new();
    for number in 0..100 {
        let block = BLOCK.replace("limit", &format!("limit{number}"));
        write!(long, "{block}").expect("writing to a string");
    }
    report("20 lines", BLOCK, &adaptors, 2_000);
    report("2,000 lines", &long, &adaptors, 100);
    let before = resident_kib();
    for _ in 0..10_000 {
        black_box(compiled_length(BLOCK, &adaptors));
    }
    println!(
        "resident memory: {before} KiB, after 10,000 more compiles {} KiB",
        resident_kib()
    );
}

fn report(what: &str, source: &str, adaptors: &[Adaptor], runs: usize) {
    let mut times: Vec<u128> = (0..runs)
        .map(|_| {
            let started = Instant::now();
            black_box(compiled_length(source, adaptors));
            started.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    println!(
        "{what} ({} bytes): median {} ns, lowest {} ns",
        source.len(),
        times[runs / 2],
        times[0]
    );
}

fn compiled_length(source: &str, adaptors: &[Adaptor]) -> usize {
    let options = CompileOptions {
        name: Some("bench"),
        adaptors,
        ignore: &[],
    };
    compile(source, &options)
        .expect("the job compiles")
        .code
        .len()
}

/// Resident memory of the process, 0 where the system does not tell.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
