//! Examples of what the compiler spec says, and one for each bug of the reference that is not
//! copied: `pairs/<section>-<topic>-<number>.txt`.

mod support;

use std::{fs, path::Path};

use compiler::{Adaptor, CompileOptions, Operation, compile};
use serde::Deserialize;

use support::{Fixture, normal_form};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AdaptorSection {
    name: String,
    exports: Vec<String>,
    export_all: bool,
}

fn check(fixture: &Fixture) -> Result<(), String> {
    let adaptors: Vec<AdaptorSection> = fixture.get("adaptors").map_or_else(Vec::new, |json| {
        serde_json::from_str(json).expect("adaptors")
    });
    let adaptors: Vec<Adaptor> = adaptors
        .into_iter()
        .map(|section| Adaptor {
            name: section.name,
            exports: section.exports,
            export_all: section.export_all,
        })
        .collect();
    let ignore: Vec<String> = fixture
        .get("ignore")
        .map_or_else(Vec::new, |json| serde_json::from_str(json).expect("names"));
    let options = CompileOptions {
        name: fixture.get("name"),
        adaptors: &adaptors,
        ignore: &ignore,
    };
    let compiled = compile(&fixture.source(), &options);
    if let Some(expected) = fixture.get("error") {
        let error = match compiled {
            Ok(compiled) => return Err(format!("compiles to\n{}", compiled.code)),
            Err(error) => format!("{}: {error}", error.name()),
        };
        return same("error", &error, expected);
    }
    let compiled = compiled.map_err(|error| error.to_string())?;
    let expected = fixture.get("out").expect("an out or error section");
    same("code", &normal_form(&compiled.code), &normal_form(expected))?;
    if let Some(json) = fixture.get("operations") {
        let expected: Vec<Operation> = serde_json::from_str(json).expect("operations");
        same(
            "operations",
            &format!("{:?}", compiled.operations),
            &format!("{expected:?}"),
        )?;
    }
    Ok(())
}

fn same(what: &str, actual: &str, expected: &str) -> Result<(), String> {
    if actual == expected {
        Ok(())
    } else {
        Err(format!("{what} is\n{actual}\nand should be\n{expected}"))
    }
}

#[test]
fn each_pair_compiles_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pairs");
    let mut count = 0;
    let mut failures = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        count += 1;
        if let Err(failure) = check(&Fixture::parse(&fs::read_to_string(&path).unwrap())) {
            failures.push(format!("{}: {failure}", path.display()));
        }
    }
    failures.sort();
    assert!(count >= 58, "only {count} pairs were found");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// A file of pairs: a job, and the message of its syntax error.
fn check_syntax_errors(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(file);
    let table: Vec<(String, String)> =
        serde_json::from_str(&fs::read_to_string(path).expect("the file of pairs"))
            .expect("pairs of strings");
    for (source, expected) in table {
        let Err(error) = compile(&source, &CompileOptions::default()) else {
            panic!("{source} compiles");
        };
        assert_eq!(
            (error.name(), error.to_string()),
            ("SyntaxError", expected),
            "{source}"
        );
        assert_eq!(error.for_step("Step"), format!("Step: {error}"));
    }
}

#[test]
fn each_syntax_error_has_the_text_and_the_place_of_the_table() {
    check_syntax_errors("syntax-errors.json");
}

/// Jobs with something missing, doubled or added, and what acorn 8.19.0 says of them.
#[test]
fn each_damaged_job_is_refused_in_the_words_of_the_reference() {
    check_syntax_errors("damaged-jobs.json");
}
