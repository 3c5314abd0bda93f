//! Runs after each other in one slot: what they share, which is nothing.

mod support;

use std::collections::HashSet;

use lightning_mock::MockServer;
use serde_json::{Value, json};

use support::rows::{ended, enqueue, one};
use support::{MONOREPO, Worker, lightning};

fn worker(lightning: &MockServer) -> Worker {
    Worker::with_engine(lightning, &["--monorepo-dir", MONOREPO, "--capacity", "1"])
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

fn untouched() -> Value {
    json!({
        "variable": "undefined", "global": "undefined", "prototype": "undefined", "hostPrototype": "undefined",
        "builtin": "undefined", "environment": "undefined", "listeners": 0, "files": 0, "calls": 1,
    })
}

#[test]
fn runs_share_nothing_whatever_they_leave_and_whose_they_are() {
    let lightning = lightning();
    let _worker = worker(&lightning);
    let leaves = json!({"leave": true, "files": true});
    let states: Vec<_> = ["p", "p", "q", "p"]
        .iter()
        .map(|project| run(&lightning, project, &leaves))
        .collect();
    let distinct = |name: &str| {
        let values: HashSet<_> = states.iter().map(|state| state[name].to_string()).collect();
        values.len()
    };
    assert!(states.iter().all(|state| state["found"] == untouched()));
    assert_eq!((distinct("pid"), distinct("folder")), (4, 4));
    // One that would hear a timer of another.
    assert_eq!(run(&lightning, "p", &json!({}))["found"], untouched());
    for state in states {
        let folder = state["folder"].as_str().unwrap().to_owned();
        support::eventually("its folder is removed", || {
            !std::path::Path::new(&folder).exists()
        });
    }
}

/// What belongs to the process, as far as Node lets code in it reach that.
const CHANGES: &str = "fn(async (state) => {
    const process = console.log.constructor('return process')();
    const use = (name) => process.getBuiltinModule(name);
    const refused = [];
    const found = {
        collector: use('vm').runInNewContext('typeof gc'),
        debugger: use('inspector').url() !== undefined,
        zone: new Date(0).getHours(),
        title: process.title,
        mask: process.umask(),
        folder: process.cwd(),
    };
    if (state.data.change) {
        use('v8').setFlagsFromString('--expose-gc');
        use('inspector').open(0, '127.0.0.1');
        process.env.TZ = 'Asia/Tokyo';
        process.title = 'changed';
        // As in a worker thread of the reference.
        for (const change of [() => process.umask(0o111), () => process.chdir('/'), () => process.setuid(1), () => process.abort()]) {
            try { change(); } catch (error) { refused.push(error.code); }
        }
    }
    return { found, refused, pid: process.pid };
})";

#[test]
fn what_a_run_changes_of_its_process_ends_with_it() {
    let lightning = lightning();
    let _worker = worker(&lightning);
    let changing = |change: bool| {
        let mut plan = one(CHANGES);
        plan["project_id"] = json!("p");
        plan["dataclip"] = json!({"data": {"change": change}});
        let run = ended(&lightning, &enqueue(&lightning, &plan));
        run.final_state
            .unwrap_or_else(|| panic!("{:?}", run.error_message))
    };
    let first = changing(true);
    let second = changing(false);
    assert_eq!(first["found"], second["found"]);
    assert_eq!(second["found"]["collector"], "undefined");
    assert_eq!(
        first["refused"],
        json!(vec!["ERR_WORKER_UNSUPPORTED_OPERATION"; 4])
    );
    assert_ne!(first["pid"], second["pid"]);
}
