//! Lines in each of their forms.

use actors::config::Secret;

use super::*;

fn scrubber() -> Scrubber {
    Scrubber::new(&[Secret::new("open sesame")])
}

fn text_of(level: Level, target: &str, message: &str, fields: &[(&str, &str)]) -> String {
    let args = format_args!("{message}");
    let line = text(
        &Record::builder()
            .level(level)
            .target(target)
            .args(args)
            .key_values(&fields)
            .build(),
        &scrubber(),
    );
    format!("[{}] {} {}", line.component, line.glyph, line.message)
}

#[test]
fn a_text_line_has_component_glyph_run_and_message() {
    let fields = [("run_id", "r-1"), ("job_id", "a")];
    assert_eq!(
        text_of(Level::Info, "actors::run::outbox", "step started", &fields),
        "[RUN] ℹ r-1 step started job_id=a"
    );
    assert_eq!(
        text_of(Level::Error, "ws_worker", "broken", &[]),
        "[SRV] ✘ broken"
    );
    assert_eq!(
        text_of(Level::Warn, "actix_http::h1", "odd", &[]),
        "[LIB] ⚠ odd"
    );
    assert_eq!(
        text_of(Level::Debug, "engine", "hello", &[]),
        "[ENG] ◦ hello"
    );
}

#[test]
fn what_the_message_says_is_not_repeated() {
    let fields = [("run_id", "r-1"), ("workloop", "manual>*:5")];
    assert_eq!(
        text_of(
            Level::Warn,
            "actors::run",
            "run r-1 of manual>*:5 is late",
            &fields
        ),
        "[RUN] ⚠ run r-1 of manual>*:5 is late"
    );
}

#[test]
fn a_field_without_a_value_is_left_out() {
    let fields = [("run_id", None::<&str>), ("job_id", Some("a"))];
    let record = Record::builder()
        .args(format_args!("killed"))
        .key_values(&fields)
        .build();
    assert_eq!(text(&record, &scrubber()).message, "killed job_id=a");
    assert_eq!(run_id(&record), None);
}

#[test]
fn a_success_has_its_own_glyph_and_no_mark_is_printed() {
    assert_eq!(
        text_of(Level::Info, "ws_worker", "connected", &[(MARK, "success")]),
        "[SRV] ✔ connected"
    );
}

#[test]
fn a_message_can_neither_forge_a_line_nor_move_the_cursor() {
    assert_eq!(
        text_of(Level::Info, "engine", "a\n[SRV] ✘ forged\u{1b}[2J", &[]),
        "[ENG] ℹ a\n      [SRV] ✘ forged\\u{1b}[2J"
    );
}

#[test]
fn secrets_are_left_out_of_both_forms() {
    let shown = text_of(
        Level::Info,
        "ws_worker",
        "key open sesame",
        &[("token", "open sesame")],
    );
    assert!(!shown.contains("sesame"), "{shown}");
    let fields = [("token", "open sesame")];
    let record = Record::builder()
        .args(format_args!("key open sesame"))
        .key_values(&fields)
        .build();
    let shown = json(&record, &"now", &scrubber(), &TracedRuns::default());
    assert!(!shown.contains("sesame"), "{shown}");
}

#[test]
fn a_json_line_is_one_object_with_fields_of_their_own_type() {
    let fields = [
        ("duration_ms", Value::from(12)),
        ("run_id", Value::from("r-1")),
        ("body", Value::from("not mine")),
        ("event", Value::from("run.ended")),
    ];
    let args = format_args!("two\nlines");
    let record = Record::builder()
        .level(Level::Info)
        .target("actors::run")
        .args(args)
        .key_values(&fields)
        .build();
    assert_eq!(
        json(
            &record,
            &"2026-01-01T00:00:00.000000Z",
            &scrubber(),
            &TracedRuns::default()
        ),
        r#"{"timestamp":"2026-01-01T00:00:00.000000Z","severity_text":"INFO","severity_number":9,"scope":"actors::run","event":"run.ended","body":"two\nlines","duration_ms":12,"run_id":"r-1"}"#
    );
}
