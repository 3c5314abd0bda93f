//! What a run needs and does not get, or gets in another shape.

use std::time::Duration;

use lightning_mock::Fault;
use serde_json::{Value, json};

use crate::support::lightning;
use crate::support::rows::{Row, SUCCESS, check, error, one};
use crate::worker;

#[test]
fn adaptors_of_every_shape_are_read_as_the_runtime_reads_them() {
    let lightning = lightning();
    let _worker = worker(&lightning, &[]);
    let with = |what, name: &str, body| {
        let mut plan = one(body);
        plan["jobs"][0]["adaptor"] = json!(format!("@openfn/language-{name}@local"));
        Row::new(what, plan)
    };
    let job = "fn(() => ({ n: 1 }))";
    let missing =
        "Failed to import module @openfn/language-entryless from *not-there.js?cache=* (*)";
    check(
        &lightning,
        vec![
            with("members of a default export", "wrapped", job)
                .step("a", SUCCESS)
                .output("a", json!({"n": 1})),
            with("CommonJS, named by main", "commonjs", job)
                .step("a", SUCCESS)
                .output("a", json!({"n": 1})),
            with("conditions within conditions", "nested", job)
                .both("a", error("fail", "RuntimeError", "TypeError: *path*")),
            with("an entry that is not there", "entryless", job)
                .both("a", error("crash", "ImportError", missing)),
        ],
    );
}

#[test]
fn a_credential_that_lightning_is_slow_to_give_is_waited_for() {
    let lightning = lightning();
    let _worker = worker(&lightning, &["--message-timeout", "1"]);
    lightning.add_credential("slow", json!({"user": "u"}));
    lightning.fault(
        "fetch:credential",
        Fault::Delay(Duration::from_millis(2500)),
    );
    let mut plan = one("fn(s => ({ user: s.configuration.user.length }))");
    plan["jobs"][0]["credential_id"] = json!("slow");
    check(
        &lightning,
        vec![
            Row::new("a slow credential", plan)
                .step("a", SUCCESS)
                .output("a", json!({"user": 1})),
        ],
    );
}

#[test]
fn what_the_platform_cannot_provide_is_an_exception() {
    let lightning = lightning();
    let _worker = worker(&lightning, &[]);
    let with = |key: &str, value: Value| {
        let mut plan = one("fn(s => s)");
        plan["jobs"][0][key] = value;
        plan
    };
    check(
        &lightning,
        vec![
            Row::new("a credential that is not there", with("credential_id", json!("nobody")))
                .run(error(
                    "exception",
                    "CredentialLoadError",
                    "Failed to load credential nobody: [fetch:credential] {\"errors\":{\"id\":[\"Credential not found!\"]}}",
                ))
                .unstarted(),
            Row::new("an adaptor that does not exist", with("adaptor", json!("@openfn/language-common@0.0.0-no")))
                .run(error("exception", "AutoinstallError", "Error installing @openfn/language-common@0.0.0-no: *"))
                .unstarted(),
            Row::new(
                "an adaptor whose latest version is not known",
                with("adaptor", json!("@openfn/language-does-not-exist@latest")),
            )
            .run(error("exception", "ExecutionError", "Command failed: npm view *"))
            .unstarted(),
            Row::new("an unsafe adaptor", with("adaptor", json!("@openfn/language-common@1.0.0;reboot")))
                .run(error(
                    "exception",
                    "AutoinstallError",
                    "Error installing @openfn/language-common@1.0.0;reboot: Unsafe module specifier: *",
                ))
                .unstarted(),
        ],
    );
    // Apart from the others, because the fault is for whichever run asks first.
    lightning.fault(
        "fetch:dataclip",
        Fault::Refuse(json!({"errors": {"id": ["not found"]}})),
    );
    let mut plan = one("fn(s => s)");
    plan["dataclip_id"] = json!("lost");
    check(
        &lightning,
        vec![
            Row::new("a dataclip that is not there", plan)
                .run(error(
                    "exception",
                    "DataClipError",
                    "Failed to load dataclip lost: *",
                ))
                .unstarted(),
        ],
    );
}
