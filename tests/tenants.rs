//! Runs after each other in one slot: what they share, which is nothing but, at most, a process.

mod support;

use lightning_mock::MockHandle;
use serde_json::{Value, json};
use support::rows::{ended, enqueue, one};
use support::{MONOREPO, Worker, lightning};

fn worker(lightning: &MockHandle, reuse: &str) -> Worker {
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
fn run(lightning: &MockHandle, project: &str, input: &Value) -> Value {
    let mut plan = one(JOB);
    plan["project_id"] = json!(project);
    plan["dataclip"] = json!({"data": input});
    let run = ended(lightning, &enqueue(lightning, &plan));
    assert!(!run.log_texts().contains(&"left"), "{:?}", run.log_texts());
    run.final_state
        .unwrap_or_else(|| panic!("{:?}", run.error_message))
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
    let second = run(&lightning, "p", &json!({}));
    assert_eq!(
        (&first["found"], &second["found"]),
        (&untouched(), &untouched())
    );
    assert_eq!(first["pid"], second["pid"]);
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
    let second = run(&lightning, "q", &json!({}));
    assert_eq!(second["found"], untouched());
    assert_eq!(first["pid"], second["pid"]);
}
