//! What follows a step.

use serde_json::{Value, json};

use crate::support::rows::chain;
use crate::{Case, compare};

const CONDITIONS: &[&str] = &[
    "",
    " ",
    "always",
    "never",
    "on_job_success",
    "on_job_failure",
    "on_upstream_success",
    "on_upstream_fail",
    "on_job_fail",
    "true",
    "false",
    "1",
    "0",
    "null",
    "undefined",
    "''",
    "'x'",
    "NaN",
    "state.data.n > 1",
    "state.data.n > 1;",
    "state.data.n > 1 // so",
    "state.data.n > 1 /* so */",
    " state.data.n > 1",
    "\nstate.data.n > 1",
    "state.data.n\n> 1",
    "state.data.n > 1; nope",
    "!state.errors",
    "!!state.nope",
    "state.nope.x",
    "nope",
    "nope.x",
    "upstreamStepId === 'a'",
    "arguments.length === 2",
    "typeof this",
    "this === undefined",
    "(() => true)()",
    "function () {}",
    "{}",
    "{ a: 1 }",
    "[]",
    "state.data.list.includes(2)",
    "state.data.x = 9",
    "(state.extra = { y: 1 }, true)",
    "(delete state.data, true)",
    "(state = {}, true)",
    "console.log('edge') || true",
    "typeof console.log",
    "typeof setTimeout === 'undefined'",
    "typeof fn === 'undefined'",
    "typeof state.data.d",
    "eval('1')",
    "new Function('return 1')()",
    "throw new Error('x')",
    "(() => { throw new Error('boo'); })()",
    "(() => { throw 'text'; })()",
    "(() => { throw null; })()",
    "(() => { throw {}; })()",
    "await 1",
    "Promise.resolve(false)",
    "import('x')",
    "return true",
    "state.",
    "state >",
    ")",
    "}",
    "(",
    "`${state.data.n}` === '2'",
    "/x/.test('x')",
    "state?.data?.n ?? 0",
    "x => x",
    "async () => {}",
    "`",
    "1 === 1 && 2",
    "globalThis.leaked",
    "(globalThis.leaked = 1, true)",
    "Math.max(1, 2) > 1",
    "JSON.stringify(state.data) === '{}'",
    "Object.keys(state).length",
    "new Date(0).getTime() === 0",
    "debugger",
    "if (true) true",
    "var x = 1",
    "let y",
    "'use strict'",
];

/// Those of them after which nothing runs: they do not compile, throw, or change the state for the others.
const ENDS: &[&str] = &[
    "never",
    "on_job_fail",
    "state.nope.x",
    "nope",
    "nope.x",
    "state.data.x = 9",
    "(state.extra = { y: 1 }, true)",
    "(delete state.data, true)",
    "eval('1')",
    "new Function('return 1')()",
    "throw new Error('x')",
    "(() => { throw new Error('boo'); })()",
    "(() => { throw 'text'; })()",
    "(() => { throw null; })()",
    "(() => { throw {}; })()",
    "await 1",
    "import('x')",
    "return true",
    "state.",
    "state >",
    ")",
    "}",
    "(",
    "`",
    "debugger",
    "if (true) true",
    "var x = 1",
    "let y",
    "'use strict'",
];

const FIRST: &str = "fn(() => ({ data: { n: 2, list: [1, 2], d: new Date(0) } }))";

fn edge(what: &str, first: &str, condition: Value) -> Case {
    let mut plan = chain(&[("a", first), ("b", "fn(s => s)")], &[("a", "b", "x")]);
    plan["edges"][1]["condition"] = condition;
    Case::new(what, plan)
}

/// Most in one run, each with a job of its own behind it, which runs or not.
#[test]
fn a_condition_means_the_same() {
    let ends_the_run = |condition: &&str| ENDS.contains(condition);
    let (ending, others): (Vec<&str>, Vec<&str>) =
        CONDITIONS.iter().copied().partition(ends_the_run);
    let ids: Vec<String> = (0..others.len()).map(|at| format!("after-{at}")).collect();
    let mut jobs = vec![("a", FIRST)];
    jobs.extend(ids.iter().map(|id| (id.as_str(), "fn(() => {})")));
    let edges: Vec<_> = ids
        .iter()
        .zip(&others)
        .map(|(id, condition)| ("a", id.as_str(), *condition))
        .collect();
    let mut cases = vec![Case::new("conditions", chain(&jobs, &edges))];
    cases.extend(ending.into_iter().map(|condition| {
        let case = edge(&format!("{condition:?}"), FIRST, json!(condition)).in_own_words();
        if condition.contains("import") {
            case.differs(
                "/",
                "QuickJS lets the promise of such an import be forgotten",
            )
        } else {
            case
        }
    }));
    compare(cases);
}

#[test]
fn a_condition_means_the_same_after_a_failure() {
    let conditions = [
        "always",
        "on_job_success",
        "on_job_failure",
        "!state.errors",
        "state.errors.a.message === 'boo'",
        "state.errors.a.name",
        "state.nope.x",
        "Object.keys(state)[0] === 'data'",
    ];
    let cases = conditions.into_iter().flat_map(|condition| {
        [
            ("fails", "fn(() => { throw new Error('boo'); })"),
            ("crashes", "fn(() => nope)"),
            ("returns nothing", "fn(() => {})"),
            ("returns a list", "fn(() => [1])"),
            ("returns a text", "fn(() => 'x')"),
            (
                "says that it failed",
                "fn(() => ({ errors: { a: { message: 'boo' } } }))",
            ),
        ]
        .map(|(what, first)| {
            edge(
                &format!("{condition} where the job {what}"),
                first,
                json!(condition),
            )
        })
    });
    compare(cases);
}

#[test]
fn edges_mean_the_same() {
    let with = |what: &str, change: &dyn Fn(&mut Value)| {
        let edges = [("a", "b", "always"), ("a", "c", "always")];
        let jobs = [
            ("a", FIRST),
            ("b", "fn(s => ({ b: 1 }))"),
            ("c", "fn(s => ({ c: 1 }))"),
        ];
        let mut plan = chain(&jobs, &edges);
        change(&mut plan);
        Case::new(what, plan)
    };
    compare([
        with("two edges", &|_| {}),
        with("an edge that is switched off", &|plan| {
            plan["edges"][1]["enabled"] = json!(false);
        }),
        with("an edge that is switched on", &|plan| {
            plan["edges"][1]["enabled"] = json!(true);
        }),
        with("an edge whose condition is null", &|plan| {
            plan["edges"][1]["condition"] = json!(null);
        }),
        with("an edge without a condition", &|plan| {
            plan["edges"][1]
                .as_object_mut()
                .unwrap()
                .shift_remove("condition");
        }),
        with("a condition with a label", &|plan| {
            plan["edges"][1]["error_path"] = json!(true);
        }),
        with("a condition of the trigger that holds", &|plan| {
            plan["edges"][0]["condition"] = json!("!state.nope");
        }),
        with("a condition of the trigger that does not hold", &|plan| {
            plan["edges"][0]["condition"] = json!("state.nope");
        }),
        with("a condition of the trigger that throws", &|plan| {
            plan["edges"][0]["condition"] = json!("nope");
        }),
        with("a trigger's edge for success", &|plan| {
            plan["edges"][0]["condition"] = json!("on_job_success");
        }),
        with("a trigger's edge for failure", &|plan| {
            plan["edges"][0]["condition"] = json!("on_job_failure");
        }),
        with("a trigger's edge that is switched off", &|plan| {
            plan["edges"][0]["enabled"] = json!(false);
        }),
        with("a start in the middle", &|plan| {
            plan["starting_node_id"] = json!("b");
        }),
        with("two conditions that do not compile", &|plan| {
            plan["edges"][1]["condition"] = json!("state.");
            plan["edges"][2]["condition"] = json!(")");
        })
        .in_own_words(),
        with("a change to the state that another edge sees", &|plan| {
            plan["edges"][1]["condition"] = json!("(state.x = 1, false)");
            plan["edges"][2]["condition"] = json!("state.x");
        }),
        with("a circle", &|plan| {
            let back = json!({"source_job_id": "b", "target_job_id": "a", "condition": "always"});
            plan["edges"].as_array_mut().unwrap().push(back);
        }),
        with("a job without a body", &|plan| {
            plan["jobs"][0]["body"] = json!("");
        }),
        with("a job whose body is white space", &|plan| {
            plan["jobs"][0]["body"] = json!("  ");
        }),
        with("jobs that are numbered", &|plan| {
            for (at, id) in ["30", "20", "10"].iter().enumerate() {
                plan["jobs"][at]["id"] = json!(id);
            }
            plan["edges"][0]["target_job_id"] = json!("30");
            for (at, id) in [(1, "20"), (2, "10")] {
                plan["edges"][at]["source_job_id"] = json!("30");
                plan["edges"][at]["target_job_id"] = json!(id);
            }
        }),
    ]);
}
