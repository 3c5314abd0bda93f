//! The limits of a run and what else its options change.

mod support;

use lightning_mock::{MockServer, RunView};
use serde_json::{Value, json};

use support::rows::{Row, SUCCESS, chain, check, ended, enqueue, error, one, with_options};
use support::{MONOREPO, Worker, lightning};

fn worker(lightning: &MockServer, further: &[&str]) -> Worker {
    let mut arguments = vec!["--monorepo-dir", MONOREPO, "--capacity", "1"];
    arguments.extend(further);
    Worker::with_engine(lightning, &arguments)
}

fn payloads(lightning: &MockServer, run: &RunView, event: &str) -> Vec<Value> {
    let sent = lightning.events().into_iter();
    sent.filter(|sent| sent.is_from(&run.id, event))
        .map(|sent| sent.payload)
        .collect()
}

#[test]
fn each_run_has_exactly_the_heap_that_it_was_given() {
    let lightning = lightning();
    let _worker = worker(&lightning, &["--run-memory", "300"]);
    // Leaves the sandbox of job code to ask V8.
    let asks = "fn(() => ({ mb: Math.round(console.log.constructor('return process')()
        .getBuiltinModule('v8').getHeapStatistics().heap_size_limit / 1048576) }))";
    let heap = |options: Value| {
        let id = enqueue(&lightning, &with_options(one(asks), options));
        let run = ended(&lightning, &id);
        run.final_state.unwrap()["mb"].as_u64().unwrap()
    };
    // V8 adds its young space to the limit.
    let young = heap(json!({})) - 300;
    assert!(young < 100, "{young}");
    for limit in [100, 900, 100, 300] {
        let found = heap(json!({"run_memory_limit_mb": limit}));
        assert_eq!(found, limit + young);
    }
    assert_eq!(heap(json!({})), 300 + young);
}

#[test]
fn a_run_is_told_once_that_its_memory_is_nearly_used_up() {
    let lightning = lightning();
    let _worker = worker(&lightning, &[]);
    let takes = "fn(() => { const all = Buffer.alloc(95 << 20, 1);
        return new Promise((resolve) => setTimeout(() => resolve({ n: all.length }), 1500)); })";
    let plan = with_options(one(takes), json!({"run_memory_limit_mb": 100}));
    let run = ended(&lightning, &enqueue(&lightning, &plan));
    assert_eq!(run.reason.as_deref(), Some("success"));
    let warnings: Vec<_> = run
        .logs
        .iter()
        .filter(|line| {
            line.text
                .starts_with("This run has used 90% of its memory limit of 100mb")
        })
        .collect();
    assert_eq!(warnings.len(), 1, "{:?}", run.log_texts());
    assert_eq!(
        (warnings[0].source.as_deref(), warnings[0].level.as_str()),
        (Some("RTE"), "warn")
    );
}

#[test]
fn a_dataclip_over_the_limit_is_withheld_and_the_next_step_still_gets_all_of_it() {
    let lightning = lightning();
    let _worker = worker(&lightning, &[]);
    let plan = with_options(
        chain(
            &[
                (
                    "a",
                    "fn(s => ({ ...s, data: { text: 'x'.repeat(3 << 20) } }))",
                ),
                ("b", "fn(s => ({ length: s.data.text.length, data: {} }))"),
                ("c", "fn(s => s)"),
            ],
            &[("a", "b", "always"), ("b", "c", "always")],
        ),
        json!({"payload_limit_mb": 1}),
    );
    let run = ended(&lightning, &enqueue(&lightning, &plan));
    assert_eq!(run.reason.as_deref(), Some("success"));
    assert_eq!(run.final_state.as_ref().unwrap()["length"], 3 << 20);
    let completed = payloads(&lightning, &run, "step:complete");
    assert_eq!(completed[0]["output_dataclip_error"], "DATACLIP_TOO_LARGE");
    assert_eq!(completed[0].get("output_dataclip"), None);
    assert_eq!(completed[0].get("output_dataclip_id"), None);
    assert_eq!(completed[1].get("output_dataclip_error"), None);
    let started = payloads(&lightning, &run, "step:start");
    assert_eq!(started[1].get("input_dataclip_id"), None);
    assert_eq!(
        started[2]["input_dataclip_id"],
        completed[1]["output_dataclip_id"]
    );
    let texts = run.log_texts();
    let told = "Dataclip exceeds payload limit: output will not be sent back to the app.";
    assert_eq!(texts.iter().filter(|text| **text == told).count(), 1);
    assert!(texts.contains(&"Payload limit: 1mb"), "{texts:?}");
}

#[test]
fn a_final_state_over_the_limit_says_so_in_its_data() {
    let lightning = lightning();
    let _worker = worker(&lightning, &[]);
    let plan = with_options(
        one("fn(s => ({ data: 'x'.repeat(3 << 20), n: 1 }))"),
        json!({"payload_limit_mb": 1}),
    );
    let run = ended(&lightning, &enqueue(&lightning, &plan));
    assert_eq!(run.final_state, Some(json!({"data": "[REDACTED]", "n": 1})));
    assert_eq!(run.final_dataclip_id, None);
}

#[test]
fn options_of_a_run_decide_what_is_sent() {
    let lightning = lightning();
    let _worker = worker(&lightning, &["--state-props-to-remove", "secret,response"]);
    let logs = "fn(s => { console.debug('debug'); console.log('info'); console.warn('warn');
        console.error('error'); console.log({ b: 1, a: 2 }, [1, 2]); return s; })";
    check(
        &lightning,
        vec![
            Row::new("every line", one(logs))
                .step("a", SUCCESS)
                .line("JOB", "debug", "debug")
                .line("JOB", "info", "info")
                .line("JOB", "info", "{\"b\":1,\"a\":2} [1,2]"),
            Row::new(
                "the lines of a level and above",
                with_options(one(logs), json!({"job_log_level": "default"})),
            )
            .step("a", SUCCESS)
            .line("JOB", "warn", "warn")
            .line("JOB", "error", "error")
            .line("R/T", "debug", "Expression complete!")
            .no_line("debug")
            .no_line("info"),
            Row::new(
                "errors only",
                with_options(one(logs), json!({"job_log_level": "none"})),
            )
            .step("a", SUCCESS)
            .line("JOB", "error", "error")
            .no_line("warn"),
            Row::new(
                "values summed up",
                with_options(one(logs), json!({"sanitize": "summarize"})),
            )
            .step("a", SUCCESS)
            .line(
                "JOB",
                "info",
                "(object with keys a, b) (array with 2 items)",
            ),
            Row::new(
                "values hidden",
                with_options(one(logs), json!({"sanitize": "obfuscate"})),
            )
            .step("a", SUCCESS)
            .line("JOB", "info", "[object] [array]"),
            Row::new(
                "values removed",
                with_options(one(logs), json!({"sanitize": "remove"})),
            )
            .step("a", SUCCESS)
            .no_line("*\"a\":2*"),
            Row::new(
                "a long line",
                with_options(
                    one("fn(s => { console.log('x'.repeat(2 << 20)); return s; })"),
                    json!({"log_payload_limit_mb": 1}),
                ),
            )
            .step("a", SUCCESS)
            .line(
                "JOB",
                "info",
                "[REDACTED: Message length exceeds payload limit]",
            ),
            Row::new(
                "keys taken off the state",
                one("fn(() => ({ secret: 1, response: 2, configuration: { a: 1 }, n: 3 }))"),
            )
            .step("a", SUCCESS)
            .output("a", json!({"n": 3, "secret": null, "response": null})),
            Row::new(
                "a state limit of the run",
                with_options(
                    one("fn(() => ({ x: 'x'.repeat(2 << 20) }))"),
                    json!({"state_limit_mb": 1}),
                ),
            )
            .both(
                "a",
                error(
                    "kill",
                    "StateTooLargeError",
                    "State exceeds the limit of 1mb",
                ),
            ),
        ],
    );
}

#[test]
fn dataclips_that_are_not_to_be_kept_are_not_sent() {
    let lightning = lightning();
    let _worker = worker(&lightning, &[]);
    let plan = with_options(
        chain(
            &[
                ("a", "fn(s => ({ ...s, n: 1 }))"),
                ("b", "fn(s => ({ ...s, m: s.n }))"),
            ],
            &[("a", "b", "always")],
        ),
        json!({"output_dataclips": false}),
    );
    let run = ended(&lightning, &enqueue(&lightning, &plan));
    assert_eq!(run.final_state.as_ref().unwrap()["m"], 1);
    for payload in payloads(&lightning, &run, "step:complete") {
        assert_eq!(payload.get("output_dataclip"), None, "{payload}");
        assert!(payload["output_dataclip_id"].is_string(), "{payload}");
    }
}

#[test]
fn profiling_adds_the_peak_of_each_step() {
    let lightning = lightning();
    let _worker = worker(&lightning, &["--profile"]);
    check(
        &lightning,
        vec![
            Row::new("a profiled run", one("fn(s => s)"))
                .step("a", SUCCESS)
                .line("R/T", "debug", "Step memory usage: peak *mb")
                .line("R/T", "debug", "Workflow complete: peak memory *mb"),
        ],
    );
}

#[test]
fn a_payload_limit_of_zero_sends_no_dataclip_and_no_line_and_lets_the_run_go_on() {
    let limits = ["--payload-memory", "0", "--log-payload-memory", "0"];
    let with_node = lightning();
    let with_mock = lightning();
    let _workers = (
        worker(&with_node, &limits),
        Worker::with_mock_engine(&with_mock, &limits),
    );
    for lightning in [with_node, with_mock] {
        let plan = chain(
            &[
                (
                    "a",
                    "fn(s => { console.log('a patient'); return { data: { n: 1 } }; })",
                ),
                (
                    "b",
                    "fn(s => ({ data: { n: s.data.n + 1 }, isTwo: s.data.n === 1 }))",
                ),
            ],
            &[("a", "b", "always")],
        );
        let run = ended(&lightning, &enqueue(&lightning, &plan));
        assert_eq!(run.reason.as_deref(), Some("success"));
        assert_eq!(
            run.final_state,
            Some(json!({"data": "[REDACTED]", "isTwo": true}))
        );
        for step in run.steps.values() {
            assert_eq!(step.output_dataclip, None);
            assert_eq!(
                step.output_dataclip_error.as_deref(),
                Some("DATACLIP_TOO_LARGE")
            );
        }
        let jobs = run
            .logs
            .iter()
            .filter(|line| line.source.as_deref() == Some("JOB"));
        let lines: Vec<_> = jobs.map(|line| line.text.as_str()).collect();
        assert_eq!(lines, ["[REDACTED: Message length exceeds payload limit]"]);
        assert!(run.log_texts().contains(&"Payload limit: 0mb"));
    }
}
