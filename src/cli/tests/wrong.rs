//! Wrong options and values, and what is said of them.

use super::*;

#[test]
fn an_unknown_flag_is_a_usage_error() {
    let error = Cli::try_parse_from(["ws-worker", "--capactiy", "3"]).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("--capacity"), "{error}");
}

#[test]
fn all_problems_are_reported_at_once_each_with_its_origin_and_the_fix() {
    let problems = settings(
        &[
            "--port",
            "99999",
            "--sandbox",
            "maybe",
            "--peers",
            "ws://worker-2",
        ],
        &[
            ("WORKER_BACKOFF", "10/1"),
            ("WORKER_WORKLOOPS", "a b:1"),
            ("WORKER_LOG_LEVEL", "loud"),
        ],
    )
    .unwrap_err();
    let expected = [
        "--port: \"99999\"",
        "--sandbox: \"maybe\"",
        "\"ws://worker-2\" is no address of a worker",
        "WORKER_BACKOFF: \"10/1\"",
        "missing :<count> suffix",
        "\"loud\"",
        "WORKER_SECRET is not set",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for part in expected {
        assert!(
            problems.iter().any(|problem| problem.contains(part)),
            "{part} is not in {problems:#?}"
        );
    }
    assert!(
        problems
            .iter()
            .any(|problem| problem.contains("`auto`, `strict`, `off`")),
        "{problems:#?}"
    );
}

#[test]
fn capacity_and_workloops_together_are_an_error_wherever_both_are_as_near() {
    for (arguments, variables) in [
        (vec!["--capacity", "3", "--workloops", "*:1"], vec![]),
        (vec!["--capacity", "3"], vec![("WORKER_WORKLOOPS", "*:1")]),
        (
            vec![],
            vec![("WORKER_CAPACITY", "3"), ("WORKER_WORKLOOPS", "*:1")],
        ),
    ] {
        let variables = [vec![("WORKER_SECRET", "x-secret")], variables].concat();
        let problems = settings(&arguments, &variables).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].contains("--workloops and --capacity are mutually exclusive"),
            "{problems:?}"
        );
    }
}

/// What is said of one wrong value of a flag.
fn said_of(flag: &str, value: &str) -> String {
    let problems = settings(&[flag, value], &[("WORKER_SECRET", "a-secret")]).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.concat()
}

#[test]
fn a_wrong_value_is_told_with_its_option_and_what_would_be_right() {
    for (flag, value, right) in [
        ("--lightning", "ftp://lightning", "ws:// or wss://"),
        (
            "--lightning-public-key",
            "%%%",
            "give the base64 of a PEM file",
        ),
        (
            "--workloops",
            "manual",
            "such as \"fast_lane:1 manual>*:4\"",
        ),
        ("--capacity", "0", "a whole number of at least 1"),
        ("--backoff", "5", "give `min/max` in seconds, such as 1/10"),
        (
            "--backoff",
            "0/1",
            "give `min/max` in seconds, such as 1/10",
        ),
        (
            "--message-timeout",
            "1e99",
            "give a number of seconds, more than 0",
        ),
        (
            "--shutdown-grace-seconds",
            "soon",
            "give a number of seconds, 0 or more",
        ),
        (
            "--batch-interval",
            "-1",
            "give a number of milliseconds, more than 0",
        ),
        ("--run-memory", "12abc", "give a number of MiB, more than 0"),
        ("--event-window", "0", "a whole number of at least 1"),
        ("--claim-demand", "0", "a whole number of at least 1"),
        (
            "--port",
            "99999",
            "give a number from 0 (any free port) to 65535",
        ),
        (
            "--log",
            "loud",
            "give one of none, error, always, warn, success, info, debug, trace",
        ),
        ("--log-format", "xml", "give one of `text`, `json`"),
        (
            "--memory-enforcement",
            "much",
            "give one of `heap`, `cgroup`, `auto`",
        ),
        (
            "--collections-url",
            "lightning",
            "begins with http:// or https://",
        ),
        (
            "--collections-version",
            "1 2",
            "such as 1.0.0, `latest` or `local`",
        ),
        (
            "--preload-adaptors",
            "lodash",
            "such as @openfn/language-http@7.2.0",
        ),
        ("--sentry-dsn", "nope", "give https://KEY@HOST/PROJECT"),
    ] {
        let said = said_of(flag, value);
        assert!(said.starts_with(flag), "{said}");
        assert!(said.contains(right), "{said}");
    }
}

#[test]
fn the_grace_of_a_drain_is_a_time_or_one_of_two_words() {
    use actors::config::ShutdownGrace::{After, Auto, Never};
    use std::time::Duration;
    let grace = |text: &str, longest: &str| {
        let variables = [
            ("WORKER_SECRET", "x-secret"),
            ("WORKER_SHUTDOWN_GRACE_SECONDS", text),
            ("WORKER_MAX_RUN_DURATION_SECONDS", longest),
        ];
        settings(&[], &variables).map(|settings| settings.worker.shutdown_grace)
    };
    let away = |seconds| Auto {
        away: Duration::from_secs(seconds),
    };
    assert_eq!(grace("", "300"), Ok(away(330)));
    assert_eq!(grace("auto", "60"), Ok(away(90)));
    assert_eq!(grace("auto", "0"), Ok(away(330)));
    assert_eq!(grace("none", "300"), Ok(Never));
    assert_eq!(grace("0", "300"), Ok(After(Duration::ZERO)));
    let problems = grace("never", "300").unwrap_err();
    assert!(problems[0].contains("`auto` or `none`"), "{problems:?}");
}
