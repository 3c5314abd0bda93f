//! The jobs that do their worst, each with how its run must end.

use serde_json::{Value, json};

use crate::support::rows::{Ending, Row, SUCCESS, error, one, with_options};

/// Leaves the sandbox of job code, as anybody can: `host` runs source in the realm of Node itself.
const ESCAPE: &str = "const host = (source) => console.log.constructor(source)();
const process = host('return process');
const fs = process.getBuiltinModule('fs');
";

const OUT_OF_MEMORY: Ending = error("kill", "OOMError", "Run exceeded maximum memory usage");
const BROKEN: Ending = error("crash", "EngineProtocolError", "*");

/// A run whose only operation has left the sandbox.
pub(crate) fn hostile(what: &'static str, operation: &str, options: Value) -> Row {
    let body = format!("{ESCAPE}fn((state) => {{ {operation} }})");
    Row::new(what, with_options(one(&body), options))
}

fn bomb(what: &'static str, operation: &str) -> Row {
    hostile(what, operation, json!({"run_memory_limit_mb": 64})).both("a", OUT_OF_MEMORY)
}

fn plain(what: &'static str, operation: &str, ending: Ending) -> Row {
    hostile(what, operation, json!({})).both("a", ending)
}

fn harmless(what: &'static str, operation: &str) -> Row {
    hostile(what, operation, json!({})).step("a", SUCCESS)
}

/// A run that does nothing wrong.
pub(crate) fn good() -> Row {
    let job = "fn((state) => ({ polluted: ({}).polluted ?? null, known: Object.keys(state) }))";
    Row::new("a good run", one(job))
        .step("a", SUCCESS)
        .output("a", json!({"polluted": null}))
}

pub(crate) fn busy_loop() -> Row {
    let over = "Workflow failed to return within 1000ms";
    hostile(
        "a busy loop",
        "while (true);",
        json!({"run_timeout_ms": 1000}),
    )
    .both("a", error("kill", "TimeoutError", over))
}

pub(crate) fn loop_of_requests() -> Row {
    let loops = "const fetch = host('return fetch'); while (true) fetch('http://127.0.0.1:9').catch(() => {});";
    let limits = json!({"run_timeout_ms": 2000, "run_memory_limit_mb": 64});
    hostile("a loop of requests", loops, limits).both("a", error("kill", "*", "*"))
}

pub(crate) fn heap_bomb() -> Row {
    bomb(
        "a heap bomb",
        "const all = []; while (true) all.push({ all });",
    )
}

pub(crate) fn growing_map() -> Row {
    let grows = "const all = new Map(); for (let i = 0; ; i++) all.set(i, { i });";
    bomb("a growing map", grows)
}

pub(crate) fn bomb_of_buffers() -> Row {
    let grows = "const all = []; while (true) all.push(Buffer.alloc(1 << 20, 1));";
    bomb("a bomb of Buffers", grows)
}

pub(crate) fn huge_buffer() -> Row {
    let fills = "const all = Buffer.alloc(1 << 30, 1); while (true) all.fill(2);";
    bomb("a huge Buffer", fills)
}

pub(crate) fn deep_recursion() -> Row {
    // The runtime takes the frame of a named function for an adaptor's.
    let deep = error("fail", "AdaptorError", "Maximum call stack size exceeded");
    plain("deep recursion", "const f = () => f() + 1; f();", deep)
}

pub(crate) fn text_of_a_gigabyte() -> Row {
    let long = error("fail", "RuntimeError", "RangeError: Invalid string length");
    plain("a text of 1 GB", "return { x: 'x'.repeat(2 ** 30) };", long)
}

pub(crate) fn state_of_half_a_gigabyte() -> Row {
    let big = "return { x: 'x'.repeat(2 ** 29 - 100) };";
    hostile(
        "a state of 512 MB",
        big,
        json!({"run_memory_limit_mb": 128}),
    )
    .both("a", error("kill", "*", "*"))
}

pub(crate) fn huge_line() -> Row {
    let big = "console.log('x'.repeat(2 ** 27)); console.log('after');";
    harmless("a line of 128 MB", big)
        .line(
            "JOB",
            "info",
            "[REDACTED: Message length exceeds payload limit]",
        )
        .line("JOB", "info", "after")
}

pub(crate) fn flood_of_lines() -> Row {
    let flood = "for (let i = 0; i < 1e6; i++) console.log('line', i);";
    let over = "Workflow failed to return within 2000ms";
    hostile("a flood of lines", flood, json!({"run_timeout_ms": 2000}))
        .both("a", error("kill", "TimeoutError", over))
}

pub(crate) fn million_lines() -> Row {
    let flood = "for (let i = 0; i < 1e6; i++) console.log('line', i);";
    hostile("a million lines", flood, json!({"run_timeout_ms": 600_000}))
        .step("a", SUCCESS)
        .line("JOB", "info", "line 0")
        .line("JOB", "info", "line 999999")
}

pub(crate) fn polluted_host() -> Row {
    let pollutes = "host('return Object').prototype.polluted = 1; return { n: 1 };";
    harmless("polluted prototypes of Node", pollutes).output("a", json!({"n": 1}))
}

pub(crate) fn broken_json() -> Row {
    let breaks =
        "host('Object.prototype.toJSON = () => { throw new Error(\"boo\"); }'); return { n: 1 };";
    plain("a polluted toJSON", breaks, error("crash", "*", "*"))
}

pub(crate) fn exit() -> Row {
    let exit = error("crash", "ExitError", "Worker thread exited with code: 0");
    plain("process.exit(0)", "process.exit(0);", exit)
}

pub(crate) fn abort() -> Row {
    let refused = error("fail", "*", "*process.abort() is not supported in workers");
    plain("process.abort()", "process.abort();", refused)
}

pub(crate) fn signal_to_the_worker() -> Row {
    let refused = error("fail", "*", "kill EPERM");
    plain(
        "process.kill(process.ppid)",
        "process.kill(process.ppid);",
        refused,
    )
}

pub(crate) fn own_death() -> Row {
    let died = error("crash", "ExitError", "Process exited with code: null");
    plain(
        "its own death",
        "process.kill(process.pid, 'SIGKILL');",
        died,
    )
}

pub(crate) fn closed_commands() -> Row {
    let closes = "fs.closeSync(3); return new Promise(() => {});";
    plain("descriptor 3 closed", closes, BROKEN)
}

pub(crate) fn closed_events() -> Row {
    let closes = "fs.closeSync(4); return new Promise(() => {});";
    plain("descriptor 4 closed", closes, BROKEN)
}

pub(crate) fn garbage_in_commands() -> Row {
    let writes = "fs.writeSync(3, 'garbage'); return new Promise(() => {});";
    plain("garbage on descriptor 3", writes, BROKEN)
}

pub(crate) fn garbage_in_events() -> Row {
    let writes = "fs.writeSync(4, 'garbage, and more of it'); return new Promise(() => {});";
    plain("garbage on descriptor 4", writes, BROKEN)
}

/// A frame of the job's own: header, size of the body, what of the body is written.
fn forged(header: &Value, body: usize, times: usize) -> String {
    let header = header.to_string().replace('\'', "");
    format!(
        "const header = Buffer.from('{header}');
        const prefix = Buffer.alloc(8);
        prefix.writeUInt32BE(header.length, 0);
        prefix.writeUInt32BE({body}, 4);
        fs.writeSync(4, Buffer.concat([prefix, header]));
        for (let i = 0; i < {times}; i++) fs.writeSync(4, Buffer.alloc(1 << 20, 32));
        return new Promise(() => {{}});"
    )
}

pub(crate) fn event_of_900_mb() -> Row {
    let broken = error("crash", "EngineProtocolError", "*exceeds the limit*");
    let writes = forged(&json!({"type": "log"}), 900 << 20, 300);
    plain("an event of 900 MB", &writes, broken)
}

pub(crate) fn event_of_another_run() -> Row {
    let broken = error("crash", "EngineProtocolError", "*speaks of run other*");
    let event = json!({"type": "job-complete", "run": "other", "job": "a", "time": "1767225600123456",
        "duration": 1, "next": [], "shape": "none"});
    plain("an event of another run", &forged(&event, 0, 0), broken)
}
