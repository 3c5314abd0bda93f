//! Jobs that do their worst: each run ends with the right reason, the worker stays small, and the next run in the same slot
//! works.

mod support;

use serde_json::{Value, json};
use support::rows::{Ending, Row, SUCCESS, check, error, one, with_options};
use support::{MONOREPO, Worker, lightning};

/// Leaves the sandbox of job code, as anybody can: `host` runs source in the realm of Node itself.
const ESCAPE: &str = "const host = (source) => console.log.constructor(source)();
const process = host('return process');
const fs = process.getBuiltinModule('fs');
";

/// No worker may grow beyond this, whatever its jobs do.
const MOST_RESIDENT_KB: u64 = 100 * 1024;

fn body(operation: &str) -> String {
    format!("{ESCAPE}fn((state) => {{ {operation} }})")
}

fn hostile(what: &'static str, operation: &str, options: Value) -> Row {
    Row::new(what, with_options(one(&body(operation)), options))
}

/// Executes the run in the one slot of a worker, and a good run after it.
fn survives(row: Row) {
    survives_with(&[], row);
}

fn survives_with(arguments: &[&str], row: Row) {
    let lightning = lightning();
    let mut all = vec!["--monorepo-dir", MONOREPO, "--capacity", "1"];
    all.extend(arguments);
    let worker = Worker::with_engine(&lightning, &all);
    let good = || {
        let job = "fn((state) => ({ polluted: ({}).polluted ?? null, known: Object.keys(state) }))";
        Row::new("the next run", one(job))
            .step("a", SUCCESS)
            .output("a", json!({"polluted": null}))
    };
    check(&lightning, vec![row]);
    check(&lightning, vec![good()]);
    let most = worker.peak_resident_kb();
    assert!(most < MOST_RESIDENT_KB, "the worker grew to {most} kB");
}

const OUT_OF_MEMORY: Ending = error("kill", "OOMError", "Run exceeded maximum memory usage");

#[test]
fn a_busy_loop_is_killed_when_its_time_is_over() {
    let over = error(
        "kill",
        "TimeoutError",
        "Workflow failed to return within 1000ms",
    );
    survives(
        hostile(
            "a busy loop",
            "while (true);",
            json!({"run_timeout_ms": 1000}),
        )
        .both("a", over),
    );
}

#[test]
fn a_loop_of_requests_is_killed() {
    let loops = "const fetch = host('return fetch'); while (true) fetch('http://127.0.0.1:9').catch(() => {});";
    let limits = json!({"run_timeout_ms": 2000, "run_memory_limit_mb": 64});
    survives(hostile("a loop of requests", loops, limits).both("a", error("kill", "*", "*")));
}

#[test]
fn a_heap_bomb_is_killed() {
    let bomb = "const all = []; while (true) all.push({ all });";
    survives(
        hostile("a heap bomb", bomb, json!({"run_memory_limit_mb": 64})).both("a", OUT_OF_MEMORY),
    );
}

#[test]
fn a_growing_map_which_takes_its_process_with_it_is_out_of_memory() {
    let bomb = "const all = new Map(); for (let i = 0; ; i++) all.set(i, { i });";
    survives(
        hostile("a growing map", bomb, json!({"run_memory_limit_mb": 64})).both("a", OUT_OF_MEMORY),
    );
}

#[test]
fn buffers_outside_the_heap_are_limited_too() {
    let bomb = "const all = []; while (true) all.push(Buffer.alloc(1 << 20, 1));";
    survives(
        hostile(
            "a bomb of Buffers",
            bomb,
            json!({"run_memory_limit_mb": 64}),
        )
        .both("a", OUT_OF_MEMORY),
    );
}

#[test]
fn one_huge_buffer_is_limited_too() {
    let bomb = "const all = Buffer.alloc(1 << 30, 1); while (true) all.fill(2);";
    survives(
        hostile("a huge Buffer", bomb, json!({"run_memory_limit_mb": 64})).both("a", OUT_OF_MEMORY),
    );
}

#[test]
fn deep_recursion_fails_its_step() {
    // The runtime takes the frame of a named function for an adaptor's.
    let deep = error("fail", "AdaptorError", "Maximum call stack size exceeded");
    survives(hostile("deep recursion", "const f = () => f() + 1; f();", json!({})).both("a", deep));
}

#[test]
fn a_text_of_a_gigabyte_fails_its_step() {
    let long = error("fail", "RuntimeError", "RangeError: Invalid string length");
    survives(
        hostile(
            "a text of 1 GB",
            "return { x: 'x'.repeat(2 ** 30) };",
            json!({}),
        )
        .both("a", long),
    );
}

#[test]
fn a_state_as_long_as_a_text_can_be_is_killed() {
    let big = "return { x: 'x'.repeat(2 ** 29 - 100) };";
    survives(
        hostile(
            "a state of 512 MB",
            big,
            json!({"run_memory_limit_mb": 128}),
        )
        .both("a", error("kill", "*", "*")),
    );
}

#[test]
fn a_huge_log_line_is_withheld() {
    let big = "console.log('x'.repeat(2 ** 27)); console.log('after');";
    survives(
        hostile("a line of 128 MB", big, json!({}))
            .step("a", SUCCESS)
            .line(
                "JOB",
                "info",
                "[REDACTED: Message length exceeds payload limit]",
            )
            .line("JOB", "info", "after"),
    );
}

#[test]
fn a_flood_of_lines_waits_for_lightning_and_not_in_the_worker_s_memory() {
    let flood = "for (let i = 0; i < 1e6; i++) console.log('line', i);";
    let over = error(
        "kill",
        "TimeoutError",
        "Workflow failed to return within 2000ms",
    );
    survives(hostile("a flood of lines", flood, json!({"run_timeout_ms": 2000})).both("a", over));
}

/// Takes minutes: `cargo test --test hostile -- --ignored a_million_lines`.
#[test]
#[ignore = "takes minutes"]
fn a_million_lines_all_arrive() {
    let flood = "for (let i = 0; i < 1e6; i++) console.log('line', i);";
    survives_with(
        &["--batch-logs", "true"],
        hostile("a million lines", flood, json!({"run_timeout_ms": 600_000}))
            .step("a", SUCCESS)
            .line("JOB", "info", "line 0")
            .line("JOB", "info", "line 999999"),
    );
}

#[test]
fn states_that_json_does_not_know_are_written_as_the_reference_does() {
    let lightning = lightning();
    let worker = Worker::with_engine(&lightning, &["--monorepo-dir", MONOREPO, "--capacity", "2"]);
    let state = |what, operation: &str, output: Value| {
        Row::new(what, one(&format!("fn((state) => {{ {operation} }})")))
            .step("a", SUCCESS)
            .output("a", output)
    };
    check(
        &lightning,
        vec![
            state(
                "a cycle",
                "state.me = state; return { data: state };",
                json!({"data": {"data": {}, "me": "[Circular]"}}),
            ),
            state(
                "functions",
                "return { f: () => 1, n: 1 };",
                json!({"n": 1, "f": null}),
            ),
            state(
                "a Date, a Map, a Set and NaN",
                "return { d: new Date(0), m: new Map([[1, 2]]), s: new Set([1]), n: NaN };",
                json!({"d": "1970-01-01T00:00:00.000Z", "m": {}, "s": {}, "n": null}),
            ),
            state(
                "polluted prototypes",
                "Object.prototype.polluted = 1; return { n: 1 };",
                json!({"n": 1}),
            ),
            Row::new("a BigInt", one("fn(() => ({ n: 1n }))")).step("a", SUCCESS),
            // The runtime's measuring of the state meets these outside the step.
            Row::new(
                "a getter that throws",
                one("fn(() => ({ get n() { throw new Error('boo'); } }))"),
            )
            .both("a", error("crash", "ExecutionError", "boo")),
            Row::new(
                "a toJSON that throws",
                one("fn(() => ({ toJSON() { throw new Error('boo'); } }))"),
            )
            .both("a", error("crash", "Error", "boo")),
            Row::new(
                "a proxy that throws",
                one("fn(() => new Proxy({}, { ownKeys() { throw new Error('boo'); } }))"),
            )
            .both("a", error("crash", "Error", "boo")),
        ],
    );
    assert!(worker.peak_resident_kb() < MOST_RESIDENT_KB);
}

#[test]
fn prototypes_of_node_itself_that_a_job_pollutes_are_gone_with_its_run() {
    let pollute = "host('return Object').prototype.polluted = 1; return { n: 1 };";
    survives(
        hostile("pollution", pollute, json!({}))
            .step("a", SUCCESS)
            .output("a", json!({"n": 1})),
    );
}

#[test]
fn a_job_that_breaks_the_json_of_its_thread_only_hurts_itself() {
    let pollute =
        "host('Object.prototype.toJSON = () => { throw new Error(\"boo\"); }'); return { n: 1 };";
    survives(hostile("a polluted toJSON", pollute, json!({})).both("a", error("crash", "*", "*")));
}

#[test]
fn an_exit_of_the_thread_crashes_the_run() {
    let exit = error("crash", "ExitError", "Worker thread exited with code: 0");
    survives(hostile("process.exit(0)", "process.exit(0);", json!({})).both("a", exit));
}

#[test]
fn an_abort_is_refused_by_the_thread() {
    let refused = error("fail", "*", "*process.abort() is not supported in workers");
    survives(hostile("process.abort()", "process.abort();", json!({})).both("a", refused));
}

#[test]
fn the_worker_cannot_be_killed_by_a_job() {
    let refused = error("fail", "*", "kill EPERM");
    survives(
        hostile(
            "process.kill(process.ppid)",
            "process.kill(process.ppid);",
            json!({}),
        )
        .both("a", refused),
    );
}

#[test]
fn a_job_that_kills_its_own_process_crashes_its_run() {
    let died = error("crash", "ExitError", "Process exited with code: null");
    survives(
        hostile(
            "its own death",
            "process.kill(process.pid, 'SIGKILL');",
            json!({}),
        )
        .both("a", died),
    );
}

#[test]
fn a_closed_descriptor_of_commands_ends_the_run_and_the_child() {
    let broken = error("crash", "EngineProtocolError", "*");
    let close = "fs.closeSync(3); return new Promise(() => {});";
    survives(hostile("descriptor 3 closed", close, json!({})).both("a", broken));
}

#[test]
fn a_closed_descriptor_of_events_ends_the_run_and_the_child() {
    let broken = error("crash", "EngineProtocolError", "*");
    let close = "fs.closeSync(4); return new Promise(() => {});";
    survives(hostile("descriptor 4 closed", close, json!({})).both("a", broken));
}

#[test]
fn garbage_on_the_descriptor_of_commands_ends_the_run_and_the_child() {
    let broken = error("crash", "EngineProtocolError", "*");
    let write = "fs.writeSync(3, 'garbage'); return new Promise(() => {});";
    survives(hostile("garbage on descriptor 3", write, json!({})).both("a", broken));
}

#[test]
fn garbage_on_the_descriptor_of_events_ends_the_run_and_the_child() {
    let broken = error("crash", "EngineProtocolError", "*");
    let write = "fs.writeSync(4, 'garbage, and more of it'); return new Promise(() => {});";
    survives(hostile("garbage on descriptor 4", write, json!({})).both("a", broken));
}

/// A frame of the job's own: header, size of the body, what of the body is written.
fn forged(header: &Value, body: usize, times: usize) -> String {
    let header = header.to_string().replace('\'', "");
    format!(
        "const header = Buffer.from('{header}'.replace('RUN', state.data.run ?? ''));
        const prefix = Buffer.alloc(8);
        prefix.writeUInt32BE(header.length, 0);
        prefix.writeUInt32BE({body}, 4);
        fs.writeSync(4, Buffer.concat([prefix, header]));
        for (let i = 0; i < {times}; i++) fs.writeSync(4, Buffer.alloc(1 << 20, 32));
        return new Promise(() => {{}});"
    )
}

#[test]
fn an_event_larger_than_the_run_s_limits_is_not_collected() {
    let broken = error("crash", "EngineProtocolError", "*exceeds the limit*");
    let write = forged(&json!({"type": "log"}), 900 << 20, 300);
    survives(hostile("an event of 900 MB", &write, json!({})).both("a", broken));
}

#[test]
fn an_event_of_another_run_is_not_believed() {
    let broken = error("crash", "EngineProtocolError", "*speaks of run other*");
    let event = json!({"type": "job-complete", "run": "other", "job": "a", "time": "1767225600123456",
        "duration": 1, "next": [], "shape": "none"});
    survives(
        hostile("an event of another run", &forged(&event, 0, 0), json!({})).both("a", broken),
    );
}
