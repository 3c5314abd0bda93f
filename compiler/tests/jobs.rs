//! A corpus of jobs and what they compile to, as snapshots: `jobs/<topic>.txt` holds the jobs,
//! `snapshots/jobs__<topic>.snap` the modules, the operations and the errors.

mod support;

use std::{fmt::Write, fs, path::Path};

use compiler::{Adaptor, CompileOptions, compile};

use support::normal_form;

/// The adaptors that the jobs of a topic are compiled with.
fn adaptors(topic: &str) -> Vec<Adaptor> {
    let listed = Adaptor {
        name: "@openfn/language-demo".to_owned(),
        exports: [
            "fn", "get", "post", "each", "http", "log", "p", "toString", "execute",
        ]
        .map(str::to_owned)
        .to_vec(),
        export_all: true,
    };
    let unlisted = Adaptor {
        name: "@openfn/language-any".to_owned(),
        exports: Vec::new(),
        export_all: true,
    };
    match topic {
        "imports" => vec![listed, unlisted],
        "real_world" => vec![unlisted],
        _ => Vec::new(),
    }
}

/// The jobs of a topic: a line `=== name`, then the job.
fn jobs(text: &str) -> Vec<(&str, String)> {
    let text = text.strip_prefix("=== ").expect("a name stands first");
    text.split("\n=== ")
        .map(|job| {
            let (name, source) = job.split_once('\n').expect("a job follows its name");
            (name, source.to_owned())
        })
        .collect()
}

fn topics() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jobs");
    let mut topics: Vec<_> = fs::read_dir(folder)
        .expect("the folder of jobs")
        .map(|entry| {
            let path = entry.expect("a file of jobs").path();
            let topic = path
                .file_stem()
                .expect("a file has a name")
                .to_string_lossy()
                .into_owned();
            (topic, fs::read_to_string(path).expect("jobs are text"))
        })
        .collect();
    topics.sort();
    topics
}

#[test]
fn each_job_of_the_corpus_compiles_as_its_snapshot_says() {
    let mut count = 0;
    for (topic, text) in topics() {
        let adaptors = adaptors(&topic);
        let mut report = String::new();
        for (name, source) in jobs(&text) {
            count += 1;
            let options = CompileOptions {
                name: Some(name),
                adaptors: &adaptors,
                ignore: &[],
            };
            writeln!(report, "=== {name}").unwrap();
            match compile(&source, &options) {
                Ok(compiled) => {
                    // A module that does not parse must not become a snapshot.
                    normal_form(&compiled.code);
                    report.push_str(&compiled.code);
                    for operation in compiled.operations {
                        let name = operation.name.as_deref().unwrap_or("(no name)");
                        writeln!(
                            report,
                            "--- {} {name} line {}",
                            operation.order, operation.line
                        )
                        .unwrap();
                    }
                }
                Err(error) => writeln!(report, "{}: {error}", error.name()).unwrap(),
            }
        }
        insta::assert_snapshot!(topic.as_str(), report);
    }
    assert!(count >= 150, "the corpus has only {count} jobs");
}
