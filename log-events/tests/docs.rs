//! `docs/log-events.md` is made from the tables of events and fields; this test keeps it so.
//!
//! `UPDATE_DOCS=1 cargo test -p log-events --test docs` writes it anew.

use std::fmt::Write as _;
use std::fs;

use log_events::{LogEvent, fields, table};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/log-events.md");

const HEAD: &str = "\
# The log's events

<!-- made from log-events/src/table.rs: UPDATE_DOCS=1 cargo test -p log-events --test docs -->

A line of the log that something can be built upon has an `event`. The names, levels and fields below are an interface: what is
here stays as it is until the next major version, and new ones may be added. The text of a line is for people and may change.
Lines without an event come from libraries (`warn` and above), or say at `debug` and `trace` how the worker goes about its work.

| level | when |
| --- | --- |
| error | a run or what it said is lost, or the worker cannot do its work until somebody acts |
| warn | something went wrong that the worker mends by itself, or that makes it weaker than it should be |
| info | the worker's own life, and one line for each run |
| debug | all on the way |

`--log success` shows info lines that are marked so, besides warnings and errors; `--log always` only those marked `always`,
and errors.

## A line

With `--log-format json` a line is one object whose names are those of OpenTelemetry's log data model, since its traces come from
the same worker, and every collector reads them without a mapping of its own. The fields of an event stand beside them.

```json
{\"timestamp\":\"2026-01-31T12:00:00.000000Z\",\"severity_text\":\"INFO\",\"severity_number\":9,\"scope\":\"actors::run\",\"event\":\"run.ended\",\"body\":\"run … ended: success …\",\"run_id\":\"…\",\"reason\":\"success\",\"duration_ms\":1200,\"steps\":3}
```

`event` is what OpenTelemetry calls EventName, `scope` the part of the program. `--log-format gcp` has `time`, `severity` and
`message` in place of `timestamp`, `severity_text` and `body`, as Google Cloud's agents take them. In text, `event` is left out.

A field that has no value is left out. `run_id` stands on every line that was written on behalf of a run, whatever its event;
where [traces](traces.md) are made, `trace_id` and `span_id` with it.
";

#[test]
fn the_events_of_the_docs_are_those_of_the_code() {
    let wanted = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(FILE, wanted).unwrap();
        return;
    }
    let found = fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/log-events.md is out of date: UPDATE_DOCS=1 cargo test -p log-events --test docs"
    );
}

fn page() -> String {
    let mut text = HEAD.to_owned();
    let mut part = "";
    for event in table::ALL {
        let (about, _) = event.name.split_once('.').unwrap_or((event.name, ""));
        if about != part {
            part = about;
            write!(
                text,
                "\n## {part}\n\n| event | level | what has happened | what to do | fields |\n| --- | --- | --- | --- | --- |\n"
            )
            .expect("writing to a String does not fail");
        }
        text.push_str(&row(event));
    }
    text.push_str("\n## Fields\n\n| field | type | what it says |\n| --- | --- | --- |\n");
    for field in fields::ALL {
        writeln!(
            text,
            "| `{}` | {} | {} |",
            field.name,
            field.kind.name(),
            field.meaning
        )
        .expect("writing to a String does not fail");
    }
    text
}

fn row(event: &LogEvent) -> String {
    let mark = event
        .mark
        .map(|mark| format!(", `{mark}`"))
        .unwrap_or_default();
    let fields: Vec<String> = event
        .fields
        .iter()
        .map(|field| format!("`{field}`"))
        .collect();
    format!(
        "| `{}` | {}{mark} | {} | {} | {} |\n",
        event.name,
        event.level.as_str().to_ascii_lowercase(),
        event.meaning,
        event.action,
        fields.join(", ")
    )
}
