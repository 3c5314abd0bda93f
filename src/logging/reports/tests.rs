//! Which lines are reported, and what a report holds.

use std::sync::Mutex;

use sentry::Envelope;

use super::*;

#[derive(Default)]
struct Sink(Mutex<Vec<Event<'static>>>);

impl Transport for Sink {
    fn send_envelope(&self, envelope: Envelope) {
        self.0.lock().unwrap().extend(envelope.event().cloned());
    }
}

fn reports() -> (Reports, Arc<Sink>) {
    let sink = Arc::new(Sink::default());
    let dsn = "http://key@127.0.0.1/1".parse().unwrap();
    let transport: Arc<dyn Transport> = sink.clone();
    (Reports::sending_by(transport, dsn, "test"), sink)
}

fn note(reports: &Reports, level: Level, line: u32, run: &str, text: &str) {
    let scrubber = Scrubber::new(&[Secret::new("open sesame")]);
    let fields = [("run_id", run)];
    reports.note(
        &Record::builder()
            .level(level)
            .target("actors::run")
            .line(Some(line))
            .args(format_args!("{text}"))
            .key_values(&fields)
            .build(),
        &scrubber,
    );
}

#[test]
fn an_error_is_reported_with_its_run_and_what_led_to_it() {
    let (reports, sink) = reports();
    note(&reports, Level::Info, 1, "r-1", "run r-1 claimed");
    note(&reports, Level::Info, 1, "r-2", "run r-2 claimed");
    note(
        &reports,
        Level::Error,
        2,
        "r-1",
        "it failed with open sesame",
    );
    let events = sink.0.lock().unwrap();
    let [event] = &events[..] else {
        panic!("{} events", events.len())
    };
    assert_eq!(event.message.as_deref(), Some("it failed with ***"));
    assert_eq!(event.tags["run_id"], "r-1");
    let crumbs: Vec<_> = event
        .breadcrumbs
        .iter()
        .filter_map(|crumb| crumb.message.as_deref())
        .collect();
    assert_eq!(crumbs, ["run r-1 claimed"]);
}

#[test]
fn the_same_place_is_not_reported_again_at_once() {
    let (reports, sink) = reports();
    note(&reports, Level::Error, 2, "r-1", "it failed");
    note(&reports, Level::Error, 2, "r-2", "it failed again");
    note(&reports, Level::Error, 3, "r-2", "something else failed");
    assert_eq!(sink.0.lock().unwrap().len(), 2);
}

#[test]
fn a_warning_is_reported_only_about_claims_and_events() {
    let (reports, sink) = reports();
    note(&reports, Level::Warn, 2, "r-1", "a step was slow");
    assert!(sink.0.lock().unwrap().is_empty());
    let fields = [("event", "run:start")];
    let late = Record::builder()
        .level(Level::Warn)
        .args(format_args!("run:start is not answered"))
        .key_values(&fields)
        .build();
    assert!(is_reported(&late));
}
