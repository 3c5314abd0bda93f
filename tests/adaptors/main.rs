//! Real adaptors through the whole program: which are installed, which are refused, and collections.

mod installs;
#[path = "../support/mod.rs"]
mod support;

use lightning_mock::RunState;
use serde_json::{Value, json};

use support::{DEADLINE, Worker, lightning, plan};

fn plan_with_adaptor(body: &str, adaptor: &str) -> Value {
    let mut plan = plan(body, "manual");
    plan["jobs"][0]["adaptor"] = json!(adaptor);
    plan
}

#[test]
fn a_specifier_that_is_more_than_a_name_and_a_version_is_refused_and_nothing_is_executed() {
    let lightning = lightning();
    let marker = tempfile::tempdir().unwrap();
    let marker = marker.path().join("executed");
    let touch = format!("@openfn/language-common@1.0.0;touch {}", marker.display());
    let refused = [
        (
            touch.as_str(),
            "AutoinstallError",
            "Unsafe module specifier",
        ),
        (
            "@openfn/../x",
            "AutoinstallError",
            "Unsafe module specifier",
        ),
    ];
    let _worker = Worker::with_engine(&lightning, &[]);
    for (specifier, error_type, message) in refused {
        let id = lightning
            .enqueue(plan_with_adaptor("fn(s => s)", specifier))
            .unwrap();
        let run = lightning.wait_for(&id, DEADLINE).unwrap();
        assert_eq!(
            (run.state, run.error_type.as_deref()),
            (RunState::Exception, Some(error_type)),
            "{specifier}"
        );
        let said = run.error_message.unwrap_or_default();
        assert!(said.contains(message), "{specifier}: {said}");
        assert!(run.steps.is_empty(), "{specifier}: {:?}", run.steps);
    }
    assert!(!marker.exists());
}

#[test]
fn a_package_that_is_no_adaptor_is_never_loaded() {
    let lightning = lightning();
    let _worker = Worker::with_engine(&lightning, &[]);
    let id = lightning
        .enqueue(plan_with_adaptor("fn(s => s)", "lodash@4"))
        .unwrap();
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(run.state, RunState::Crashed);
    assert_eq!(
        run.error_message.as_deref(),
        Some("module blacklisted: lodash")
    );
}

#[test]
fn the_first_run_of_a_worker_waits_for_the_newest_version_of_collections() {
    let lightning = lightning();
    let collections = format!("{}/collections", lightning.url());
    let job = "collections.get('people', { key: '*' });";
    let id = lightning
        .enqueue(plan_with_adaptor(job, "@openfn/language-common@3.3.4"))
        .unwrap();
    let _worker = Worker::with_engine(&lightning, &["--collections-url", &collections]);
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(run.state, RunState::Success, "{:#?}", run.log_texts());
}

#[test]
fn a_job_stores_reads_and_removes_items_of_a_collection() {
    let lightning = lightning();
    let collections = format!("{}/collections", lightning.url());
    let _worker = Worker::with_engine(
        &lightning,
        &[
            "--collections-url",
            &collections,
            "--collections-version",
            "0.8.0",
        ],
    );
    let job = "
        collections.set('people', p => p.name, [{ name: 'ada' }, { name: 'alan' }, { name: 'grace' }]);
        collections.get('people', 'ada').then(s => ({ ...s, one: s.data }));
        fn(s => ({ ...s, seen: [] }));
        collections.each('people', 'a*', (s, value, key) => { s.seen.push(key); return s; });
        collections.remove('people', 'alan');
        collections.get('people', { key: '*' }).then(s => ({ one: s.one, seen: s.seen, left: s.data.map(i => i.key) }));
    ";
    let id = lightning
        .enqueue(plan_with_adaptor(job, "@openfn/language-common@3.3.4"))
        .unwrap();
    let run = lightning.wait_for(&id, DEADLINE).unwrap();
    assert_eq!(run.state, RunState::Success, "{:#?}", run.log_texts());
    let state = run.final_state.unwrap();
    assert_eq!(
        (&state["one"], &state["seen"], &state["left"]),
        (
            &json!({"name": "ada"}),
            &json!(["ada", "alan"]),
            &json!(["ada", "grace"])
        )
    );
}
