//! Compiled jobs under the real runtime, which npm installs for the test: what they return, and
//! where in the job a failure is reported.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use compiler::{Adaptor, CompileOptions, adaptor_exports, compile};
use serde_json::{Value, json};

/// The packages that the jobs run on: the versions that the compiler spec was measured with.
const PACKAGES: [&str; 2] = ["@openfn/runtime@1.9.5", "@openfn/language-common@3.3.4"];

/// Runs one compiled step and prints what came of it as JSON on the last line.
const RUNNER: &str = r"
import run from '@openfn/runtime';
import { readFileSync } from 'node:fs';
const { code, sourceMap, state, adaptor } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const errors = [];
const quiet = () => {};
const logger = new Proxy({}, { get: (_, name) => (name === 'timer' ? () => '0s' : quiet) });
const plan = { id: 'run', options: {}, workflow: { steps: [{
  id: 'step', name: 'Step', expression: code, sourceMap,
  linker: { '@openfn/language-common': { path: adaptor, version: '3.3.4' } },
}] } };
let result;
try {
  result = await run(plan, state, {
    logger, jobLogger: logger, statePropsToRemove: [],
    callbacks: { notify: (event, data) => { if (event === 'job-error') errors.push(data.error); } },
  });
} catch (error) {
  errors.push(error);
}
const seen = errors.map(({ name, message, pos, line, operationName, operation }) => ({ name, message, pos, line, operationName, operation }));
console.log('\n' + JSON.stringify({ result, errors: seen }));
";

/// A folder with the runtime and the adaptor installed, made once for all tests of this file.
fn installed() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiler-runtime-1.9.5");
        fs::create_dir_all(&folder).expect("a folder in the target folder");
        let marker = folder.join("installed");
        if !marker.exists() {
            fs::write(
                folder.join("package.json"),
                r#"{"private": true, "type": "module"}"#,
            )
            .expect("a package file");
            let output = Command::new("npm")
                .args([
                    "install",
                    "--no-audit",
                    "--no-fund",
                    "--ignore-scripts",
                    "--save-exact",
                ])
                .args(PACKAGES)
                .current_dir(&folder)
                .output()
                .expect("npm is installed");
            assert!(
                output.status.success(),
                "npm: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            fs::write(marker, "").expect("a marker file");
        }
        fs::write(folder.join("run.mjs"), RUNNER).expect("a script file");
        folder
    })
}

/// Compiles a job against language-common and runs it.
#[expect(clippy::needless_pass_by_value, reason = "callers write it in place")]
fn run(name: &str, source: &str, state: Value) -> Value {
    let folder = installed();
    let adaptor = folder.join("node_modules/@openfn/language-common");
    let adaptors = [Adaptor {
        name: "@openfn/language-common".to_owned(),
        exports: adaptor_exports(&adaptor).expect("the adaptor has type definitions"),
        export_all: true,
    }];
    let options = CompileOptions {
        name: Some("Step"),
        adaptors: &adaptors,
        ignore: &[],
    };
    let compiled = compile(source, &options).expect("the job compiles");
    let source_map: Value =
        serde_json::from_str(&compiled.source_map).expect("a source map is JSON");
    let input = json!({ "code": compiled.code, "sourceMap": source_map, "state": state, "adaptor": adaptor });
    let file = folder.join(format!("{name}.json"));
    fs::write(&file, input.to_string()).expect("an input file");
    let output = Command::new("node")
        .args(["--experimental-vm-modules", "--no-warnings", "run.mjs"])
        .arg(&file)
        .current_dir(folder)
        .output()
        .expect("node is installed");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stdout.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|_| panic!("{}\n{stdout}{stderr}", compiled.code))
}

/// The final state of a job that must not fail.
fn result(name: &str, source: &str, state: Value) -> Value {
    let outcome = run(name, source, state);
    assert_eq!(outcome["errors"], json!([]), "{outcome}");
    outcome["result"].clone()
}

#[test]
fn a_part_of_the_state_applied_to_the_state_is_its_value() {
    let source = "
fn(state => ({ ...state, own: $.a.b(state), deep: [$.a.b(state).c] }));
fn(state => {
  const inside = $.a?.b(state)
  return { ...state, inside };
});
each($.a.list(state), fn(state => ({ ...state, each: state.data })));
";
    let state = json!({ "a": { "b": { "c": 1 }, "list": [2] } });
    let result = result("applied", source, state);
    assert_eq!(result["own"], json!({ "c": 1 }));
    assert_eq!(result["deep"], json!([1]));
    assert_eq!(result["inside"], json!({ "c": 1 }));
    assert_eq!(result["each"], json!(2));
}

#[test]
fn lazy_state_is_read_when_the_operation_runs() {
    let state = result(
        "lazy",
        "const add = (a, b) => state => ({ ...state, sum: (a.call ? a(state) : a) + (b.call ? b(state) : b) });
const set = value => state => ({ ...state, value: value(state) });
fn(state => ({ ...state, x: 2, list: [1, 2], name: s => s + '!' }));
add($.x, 3);
set({ id: $.x, all: [...$.list, $.sum], text: `x is ${$.x}` });
fn(state => ({ ...state, mapped: state.value.all }));
set($.mapped?.[0] ?? $.none);
fn(state => ({ ...state, named: set($.name('Amina'))(state).value }));
set($.list.map(x => x * 2));
",
        json!({ "data": {} }),
    );
    assert_eq!(state["value"], json!([2, 4]));
    assert_eq!(state["sum"], 5);
    assert_eq!(state["mapped"], json!([1, 2, 5]));
    assert_eq!(state["named"], "Amina!");
}

#[test]
fn promise_chains_run_with_their_operation() {
    let state = result(
        "promises",
        "const ok = value => async state => ({ ...state, value });
const bad = message => async () => { throw new Error(message); };
ok(1).then(state => ({ ...state, then: state.value + 1 }));
bad('one').catch((error, state) => ({ ...state, caught: error.message }));
bad('two').catch((error, state) => ({ ...state, caughtToo: error.message })).then(state => ({ ...state, after: true }));
ok($.then).then(state => ({ ...state, lazy: state.value(state) }));
",
        json!({ "data": {} }),
    );
    assert_eq!(state["then"], 2);
    assert_eq!(state["caught"], "one");
    assert_eq!(state["caughtToo"], "two");
    assert_eq!(state["after"], true);
    assert_eq!(state["lazy"], 2);
}

#[test]
fn operations_of_the_adaptor_nest() {
    let state = result(
        "nested",
        "each(
  '$.items[*]',
  combine(
    fn(state => { state.seen.push(state.data.id); return state; }),
    fn(state => { state.twice.push(state.data.id * 2); return state; }).then(state => state)
  )
);
each($.items, fn(state => { state.again.push(state.data.id); return state; }));
fn(state => ({ ...state, joined: util.encode ? 'util' : 'none', key: dataValue('id')({ data: { id: 7 } }) }));
",
        json!({ "data": {}, "items": [{ "id": 1 }, { "id": 2 }], "seen": [], "twice": [], "again": [] }),
    );
    assert_eq!(state["seen"], json!([1, 2]));
    assert_eq!(state["twice"], json!([2, 4]));
    assert_eq!(state["again"], json!([1, 2]));
    assert_eq!(state["joined"], "util");
    assert_eq!(state["key"], 7);
}

#[test]
fn member_calls_are_operations() {
    let state = result(
        "members",
        "const http = { get: path => state => ({ ...state, path }) };
const client = { api: { post: (path, body) => state => ({ ...state, posted: body(state) }) } };
http.get('/a');
client.api.post('/b', { path: $.path });
",
        json!({ "data": {} }),
    );
    assert_eq!(state["path"], "/a");
    assert_eq!(state["posted"], json!({ "path": "/a" }));
}

#[test]
fn a_failure_is_reported_at_the_users_line_and_column() {
    let source = "const a = 1;

fn(state => {
  return state;
});
fn(state => ({
  ...state, b: state.data.nope.deeper,
}));
";
    let outcome = run("position", source, json!({ "data": {} }));
    let error = &outcome["errors"][0];
    assert_eq!(error["pos"]["line"], 7, "{outcome}");
    assert_eq!(error["pos"]["column"], 32, "{outcome}");
    assert_eq!(
        error["pos"]["src"], "  ...state, b: state.data.nope.deeper,",
        "{outcome}"
    );
}

#[test]
fn tabs_and_emoji_do_not_move_the_column() {
    let source = "fn(state => {\n\treturn '😀' + state.data.x.y;\n});\n";
    let outcome = run("tabs", source, json!({ "data": {} }));
    let error = &outcome["errors"][0];
    assert_eq!(error["pos"]["line"], 2, "{outcome}");
    // One for the tab and two for the emoji.
    assert_eq!(error["pos"]["column"], 29, "{outcome}");
}

#[test]
fn a_failure_inside_the_adaptor_is_reported_at_the_operation() {
    let source = "fn(state => state);\n\neach('$.data', null);\n";
    let outcome = run("adaptor", source, json!({ "data": [1] }));
    let error = &outcome["errors"][0];
    assert_eq!(error["line"], 3, "{outcome}");
    assert_eq!(error["operationName"], "each", "{outcome}");
}
