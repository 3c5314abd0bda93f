//! What else a job can do to its thread, its process, its folder and its errors; many of them in one worker.

use serde_json::{Value, json};

use crate::jobs::{good, hostile};
use crate::support::rows::{Ending, Row, SUCCESS, check, ended, enqueue, error};
use crate::support::{MONOREPO, Worker, eventually, is_alive, lightning};
use crate::{MOST_RESIDENT_KB, survives};

const OVER: Ending = error(
    "kill",
    "TimeoutError",
    "Workflow failed to return within 2000ms",
);
const MEMORY: Ending = error("kill", "OOMError", "Run exceeded maximum memory usage");
const DIED: Ending = error("crash", "ExitError", "Process exited with code: null");

/// A run with this time, and little memory.
fn row(what: &'static str, operation: &str, timeout_ms: u32) -> Row {
    let limits = json!({"run_timeout_ms": timeout_ms, "run_memory_limit_mb": 100});
    hostile(what, operation, limits)
}

/// Only those that their time ends get little of it: a busy machine is slow.
fn ends(what: &'static str, operation: &str, ending: Ending) -> Row {
    let timeout_ms = if ending == OVER { 2000 } else { 60_000 };
    row(what, operation, timeout_ms).both("a", ending)
}

fn gives(what: &'static str, operation: &str, output: Value) -> Row {
    let given = row(what, operation, 60_000);
    given.step("a", SUCCESS).output("a", output)
}

/// Executes all of them in one worker, and a good run after them.
fn all_end(rows: Vec<Row>) {
    let lightning = lightning();
    let worker = Worker::with_engine(&lightning, &["--monorepo-dir", MONOREPO, "--capacity", "3"]);
    check(&lightning, rows);
    check(&lightning, vec![good()]);
    let most = worker.peak_resident_kb();
    println!("the worker's resident size was {most} kB at most");
    assert!(most < MOST_RESIDENT_KB, "the worker grew to {most} kB");
}

#[test]
fn jobs_that_stop_their_thread_or_their_process_are_ended() {
    let use_module = "const use = (name) => process.getBuiltinModule(name);";
    let waits = "host('return Atomics').wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);";
    let threads = format!(
        "{use_module} for (let i = 0; i < 200; i++) new (use('worker_threads').Worker)('while (true);', {{ eval: true }});
        return new Promise(() => {{}});"
    );
    let broken = error("crash", "EngineProtocolError", "*");
    let everywhere = "for (let fd = 0; fd < 30; fd++) { try { fs.writeSync(fd, 'garbage'); } catch {} } return {};";
    all_end(vec![
        // A stopped process ends when its other threads are told, which may be after the job.
        ends(
            "SIGSTOP",
            "process.kill(process.pid, 'SIGSTOP'); while (true);",
            OVER,
        ),
        ends(
            "SIGTERM",
            "process.kill(process.pid, 'SIGTERM'); while (true);",
            DIED,
        ),
        ends(
            "SIGSEGV",
            "process.kill(process.pid, 'SIGSEGV'); while (true);",
            DIED,
        ),
        ends("Atomics.wait", waits, OVER),
        ends(
            "a regular expression",
            "/^(a+)+$/.test('a'.repeat(60) + 'b');",
            OVER,
        ),
        ends(
            "a generator without an end",
            "for (const _ of (function* () { while (true) yield; })());",
            OVER,
        ),
        ends("a bomb of threads", &threads, error("kill", "*", "*")),
        ends("garbage in all descriptors", everywhere, broken),
    ]);
}

#[test]
fn memory_that_is_not_the_heap_s_is_limited_too() {
    let shared = "const all = []; while (true) all.push(new Uint8Array(new SharedArrayBuffer(1 << 24)).fill(1));";
    let wasm = "const { Memory } = host('return WebAssembly'); const all = [];
        while (true) all.push(new Uint8Array(new Memory({ initial: 256 }).buffer).fill(1));";
    all_end(vec![
        ends("a SharedArrayBuffer", shared, MEMORY),
        ends("memories of WebAssembly", wasm, MEMORY),
        ends(
            "a message of 50 MB",
            "throw new Error('x'.repeat(50 << 20));",
            MEMORY,
        ),
    ]);
}

#[test]
fn files_descriptors_and_sockets_without_number_are_the_job_s_own_trouble() {
    let folder = "const folder = process.getBuiltinModule('os').tmpdir();";
    let many =
        "for (let i = 0; i < 5000; i++) fs.writeFileSync(`${folder}/${i}`, ''); return { n: 1 };";
    let deep = "const chain = 'd/'.repeat(1000); let nested = `${folder}/0`; fs.mkdirSync(nested);
        for (let i = 1; i < 5; i++) {
            fs.mkdirSync(`${folder}/${i}/${chain}`, { recursive: true });
            fs.renameSync(nested, `${folder}/${i}/${chain}x`);
            nested = `${folder}/${i}`;
        }
        return { n: 1 };";
    let closed = "fs.mkdirSync(`${folder}/closed`, { mode: 0 }); return { n: 1 };";
    let open = "try { while (true) fs.openSync(`${folder}/f`, 'w'); } catch (error) { return { code: error.code }; }";
    let sockets = "const net = process.getBuiltinModule('net');
        for (let i = 0; i < 3000; i++) net.connect(9, '127.0.0.1').on('error', () => {});
        return { n: 1 };";
    let with =
        |what, operation: &str, output| gives(what, &format!("{folder} {operation}"), output);
    all_end(vec![
        with("many files", many, json!({"n": 1})),
        with("deep folders", deep, json!({"n": 1})),
        with("a closed folder", closed, json!({"n": 1})),
        with("all descriptors", open, json!({"code": "EMFILE"})),
        with("many sockets", sockets, json!({"n": 1})),
    ]);
}

#[test]
fn what_a_job_replaces_in_its_thread_does_not_leave_it() {
    let crash = error("crash", "*", "*");
    all_end(vec![
        ends(
            "JSON",
            "host(`JSON.stringify = () => 'no'`); console.log('x');",
            crash,
        ),
        ends(
            "Buffer",
            "host(`Buffer.from = Buffer.alloc = () => { throw new Error('boo'); }`); return { n: 1 };",
            crash,
        ),
        gives(
            "the writes of fs",
            "fs.writeSync = fs.writevSync = () => 0; console.log('x'); return { n: 1 };",
            json!({"n": 1}),
        )
        .line("JOB", "info", "x"),
        gives(
            "the exit",
            "process.exit = process.reallyExit = () => {}; return { n: 1 };",
            json!({"n": 1}),
        ),
        gives(
            "timers",
            "host(`setInterval(() => console.log('left'), 1)`); return { n: 1 };",
            json!({"n": 1}),
        ),
        gives(
            "output without an end",
            "for (let i = 0; i < 100; i++) process.stdout.write('x'.repeat(1 << 20)); return { n: 1 };",
            json!({"n": 1}),
        ),
    ]);
}

/// The run is over and reported; its thread stays.
#[test]
fn a_thread_that_does_not_end_after_its_run_is_killed() {
    let lightning = lightning();
    let _worker = Worker::with_engine(&lightning, &["--monorepo-dir", MONOREPO, "--capacity", "1"]);
    let stays = "process.on('exit', () => { while (true); }); return { pid: process.pid };";
    let id = enqueue(
        &lightning,
        &row("an exit listener that loops", stays, 60_000).into_plan(),
    );
    let state = ended(&lightning, &id)
        .final_state
        .expect("the run succeeds");
    let pid = u32::try_from(state["pid"].as_u64().expect("a number")).expect("a process id");
    eventually("its process is killed", || !is_alive(pid));
    check(&lightning, vec![good()]);
}

/// Seen by the parent when the run was over, and laid to the next one.
#[test]
fn garbage_that_is_found_after_the_end_of_a_run_does_not_end_the_next_one() {
    let writes = "try { fs.closeSync(3); } catch {} return { n: 1 };";
    survives(gives(
        "descriptor 3 closed at the end",
        writes,
        json!({"n": 1}),
    ));
}
