//! What jobs return and throw that no JSON has.

use serde_json::{Value, json};

use crate::MOST_RESIDENT_KB;
use crate::support::rows::{Row, SUCCESS, check, ended, enqueue, error, one};
use crate::support::{MONOREPO, Worker, lightning};

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

/// The mock's JSON has a limit of depth, so that it closes the socket over the frame with this state.
#[test]
fn a_state_over_which_lightning_closes_the_socket_is_withheld_and_other_runs_end_as_ever() {
    let lightning = lightning();
    let worker = Worker::with_engine(&lightning, &["--monorepo-dir", MONOREPO, "--capacity", "3"]);
    let deep = "fn(() => { let deep = 1; for (let n = 0; n < 300; n += 1) deep = { deep }; return { data: deep }; })";
    let nested = enqueue(&lightning, &one(deep));
    let others: Vec<_> = (0..4)
        .map(|_| enqueue(&lightning, &one("fn(() => ({ data: { n: 1 } }))")))
        .collect();
    for id in &others {
        let run = ended(&lightning, id);
        assert_eq!(run.final_state, Some(json!({"data": {"n": 1}})), "{run:?}");
    }
    let run = ended(&lightning, &nested);
    assert_eq!(
        (run.reason.as_deref(), run.final_state),
        (Some("success"), None)
    );
    let closed = |line: &String| line.contains("closed the connection with code 1011");
    assert!(worker.log().iter().any(closed));
}
