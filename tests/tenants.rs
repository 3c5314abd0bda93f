//! Runs after each other in one slot: what they share, which is nothing but, at most, a process.

mod support;

use lightning_mock::MockServer;
use serde_json::{Value, json};

use support::rows::{ended, enqueue, one};
use support::{MONOREPO, Worker, lightning};

fn worker(lightning: &MockServer, reuse: &str) -> Worker {
    let arguments = [
        "--monorepo-dir",
        MONOREPO,
        "--capacity",
        "1",
        "--engine-reuse",
        reuse,
    ];
    Worker::with_engine(lightning, &arguments)
}

/// Leaves something everywhere, if it is told to, after it has looked for what others have left.
const JOB: &str = "counts()
fn(async (state) => {
    const host = (source) => console.log.constructor(source)();
    const [process, global] = [host('return process'), host('return globalThis')];
    const use = (name) => process.getBuiltinModule(name);
    const [fs, folder] = [use('fs'), use('os').tmpdir()];
    const found = {
        variable: typeof globalThis.left,
        global: typeof global.left,
        prototype: typeof ({}).left,
        hostPrototype: typeof global.Object.prototype.left,
        builtin: typeof fs.left,
        environment: typeof process.env.LEFT,
        listeners: process.listenerCount('left'),
        files: fs.readdirSync(folder).length,
        calls: state.calls,
    };
    if (state.data.leave) {
        globalThis.left = 1;
        global.left = 1;
        Object.prototype.left = 1;
        global.Object.prototype.left = 1;
        fs.left = 1;
        process.env.LEFT = '1';
        process.on('left', () => {});
        global.setInterval(() => console.log('left'), 5);
        if (state.data.files) fs.writeFileSync(`${folder}/left`, 'x');
    } else {
        // Long enough to hear a timer of another run.
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return { found, pid: process.pid, folder };
})";

/// Executes the job for this project with this input, and gives its final state.
fn run(lightning: &MockServer, project: &str, input: &Value) -> Value {
    let mut plan = one(JOB);
    plan["project_id"] = json!(project);
    plan["dataclip"] = json!({"data": input});
    let run = ended(lightning, &enqueue(lightning, &plan));
    assert!(!run.log_texts().contains(&"left"), "{:?}", run.log_texts());
    run.final_state
        .unwrap_or_else(|| panic!("{:?}", run.error_message))
}

/// Executes runs until one is in the process of `first`: one that is claimed before the thread of another is gone gets another.
fn in_the_process_of(first: &Value, next: impl Fn() -> Value) -> Value {
    let mut tries = (0..10).map(|_| next());
    tries
        .find(|next| next["pid"] == first["pid"])
        .expect("the process of a run is used again")
}

fn untouched() -> Value {
    json!({
        "variable": "undefined", "global": "undefined", "prototype": "undefined", "hostPrototype": "undefined",
        "builtin": "undefined", "environment": "undefined", "listeners": 0, "files": 0, "calls": 1,
    })
}

#[test]
fn two_runs_of_a_project_share_nothing_but_the_process() {
    let lightning = lightning();
    let _worker = worker(&lightning, "project");
    let first = run(&lightning, "p", &json!({"leave": true}));
    let second = in_the_process_of(&first, || run(&lightning, "p", &json!({})));
    assert_eq!(
        (&first["found"], &second["found"]),
        (&untouched(), &untouched())
    );
}

#[test]
fn a_run_that_leaves_files_takes_its_process_with_it() {
    let lightning = lightning();
    let _worker = worker(&lightning, "project");
    let first = run(&lightning, "p", &json!({"leave": true, "files": true}));
    let second = run(&lightning, "p", &json!({}));
    assert_eq!(second["found"], untouched());
    assert_ne!(first["pid"], second["pid"]);
    let folder = first["folder"].as_str().unwrap();
    support::eventually("its folder is removed", || {
        !std::path::Path::new(folder).exists()
    });
}

#[test]
fn projects_share_no_process() {
    let lightning = lightning();
    let _worker = worker(&lightning, "project");
    let pids: Vec<_> = ["p", "q", "p", "r", "q"]
        .iter()
        .map(|project| {
            let state = run(&lightning, project, &json!({"leave": true}));
            assert_eq!(state["found"], untouched());
            (*project, state["pid"].as_u64().unwrap())
        })
        .collect();
    for (project, pid) in &pids {
        assert!(
            pids.iter()
                .all(|(other, used)| other == project || used != pid),
            "{pids:?}"
        );
    }
}

#[test]
fn no_process_serves_two_runs_where_that_is_asked_for() {
    let lightning = lightning();
    let _worker = worker(&lightning, "never");
    let first = run(&lightning, "p", &json!({"leave": true}));
    let second = run(&lightning, "p", &json!({}));
    assert_eq!(second["found"], untouched());
    assert_ne!(first["pid"], second["pid"]);
}

#[test]
fn one_process_serves_all_projects_where_that_is_asked_for_and_threads_still_share_nothing() {
    let lightning = lightning();
    let _worker = worker(&lightning, "always");
    let first = run(&lightning, "p", &json!({"leave": true}));
    let second = in_the_process_of(&first, || run(&lightning, "q", &json!({})));
    assert_eq!(second["found"], untouched());
}

/// What is the process's and not a thread's, as far as Node lets a thread reach it.
const CHANGES: &str = "fn(async (state) => {
    const process = console.log.constructor('return process')();
    const use = (name) => process.getBuiltinModule(name);
    const outcome = async (act) => { try { await act(); return 'done'; } catch (error) { return error.code ?? error.message; } };
    const isSocket = (file) => { try { return use('fs').fstatSync(file).isSocket(); } catch { return false; } };
    const sockets = () => Array.from({ length: 256 }, (_, file) => isSocket(file)).filter(Boolean).length;
    const found = {
        collector: use('vm').runInNewContext('typeof gc'),
        debugger: use('inspector').url() !== undefined,
        zone: new Date(0).getHours(),
    };
    const changes = {
        flags: () => use('v8').setFlagsFromString('--expose-gc'),
        debugger: () => use('inspector').open(0, '127.0.0.1'),
        signal: async () => {
            const before = sockets();
            process.kill(process.pid, 'SIGUSR1');
            // Another thread than this one begins to listen.
            while (sockets() === before) await new Promise((resolve) => setTimeout(resolve, 5));
        },
        nested: () => new Promise((resolve) => new (use('worker_threads').Worker)(
            `require('v8').setFlagsFromString('--expose-gc')`, { eval: true }).once('exit', resolve)),
        zone: () => { process.env.TZ = 'Asia/Tokyo'; },
        mask: () => process.umask(0),
        folder: () => process.chdir('/'),
        user: () => process.setuid(1),
        priority: () => use('os').setPriority(5),
    };
    const change = state.data.change;
    const done = change && await outcome(changes[change]);
    return { found, done, pid: process.pid };
})";

/// Has a run change this, if anything, and gives what came of it and what it found before.
fn changing(lightning: &MockServer, change: Option<&str>) -> Value {
    let mut plan = one(CHANGES);
    plan["project_id"] = json!("p");
    plan["dataclip"] = json!({"data": {"change": change}});
    let run = ended(lightning, &enqueue(lightning, &plan));
    run.final_state
        .unwrap_or_else(|| panic!("{:?}", run.error_message))
}

#[test]
fn a_run_that_changes_its_process_takes_it_with_it() {
    let lightning = lightning();
    let _worker = worker(&lightning, "project");
    for change in ["flags", "nested", "signal"] {
        let first = changing(&lightning, Some(change));
        assert_eq!(first["done"], "done", "{change}");
        let untouched = json!({"collector": "undefined", "debugger": false, "zone": 0});
        // As many as there are processes for it, and one more.
        for _ in 0..3 {
            let next = changing(&lightning, None);
            assert_eq!(next["found"], untouched, "{change}");
            assert_ne!(first["pid"], next["pid"], "{change}");
        }
    }
}

#[test]
fn what_a_thread_cannot_change_of_its_process_leaves_the_process_in_use() {
    let lightning = lightning();
    let _worker = worker(&lightning, "project");
    let refused = "ERR_WORKER_UNSUPPORTED_OPERATION";
    for (change, outcome) in [
        ("zone", "done"),
        ("mask", refused),
        ("folder", refused),
        ("user", refused),
        ("priority", "ERR_SYSTEM_ERROR"),
        // The thread's own, which ends with it.
        ("debugger", "done"),
    ] {
        let first = changing(&lightning, Some(change));
        let next = in_the_process_of(&first, || changing(&lightning, None));
        assert_eq!(first["done"], outcome, "{change}");
        let untouched = json!({"collector": "undefined", "debugger": false, "zone": 0});
        assert_eq!(next["found"], untouched, "{change}");
    }
}
