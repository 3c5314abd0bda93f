//! Code and documents cite the specifications in `docs/spec` by section: each citation has one form, and resolves.
//!
//! The form is "<name> spec, section 4.2" or "<name> spec, sections 4.2, 4.3 and 5 to 6", and "protocol spec, W16" for the
//! numbered rows of a table. Only an RFC has sections beside them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use regex_lite::Regex;

use super::{files, read, root};

/// What a specification is called in a citation, and its file in `docs/spec`.
const SPECS: [(&str, &str); 4] = [
    ("protocol", "lightning-protocol.md"),
    ("engine", "engine.md"),
    ("compiler", "compiler.md"),
    ("command line", "cli.md"),
];

/// Build output, installed packages and version control: none of them is ours.
const FOREIGN: [&str; 3] = ["target", "node_modules", ".git"];

/// A specification, and what can be cited of it.
struct Spec {
    name: &'static str,
    file: &'static str,
    /// Section numbers of its headings, and the numbers of its tables' rows.
    anchors: BTreeSet<String>,
}

impl Spec {
    fn new(name: &'static str, file: &'static str, text: &str) -> Self {
        let anchor = Regex::new(r"(?m)^(?:#+ (\d+(?:\.\d+)*)\.? |\| ([WBK]\d+) \|)").unwrap();
        let anchors = anchor
            .captures_iter(text)
            .map(|found| {
                let number = found.get(1).or(found.get(2)).unwrap();
                number.as_str().to_owned()
            })
            .collect();
        Self {
            name,
            file,
            anchors,
        }
    }
}

fn specs() -> Vec<Spec> {
    SPECS
        .iter()
        .map(|(name, file)| Spec::new(name, file, &read(&root("docs/spec").join(file))))
        .collect()
}

/// The text of a file on one line, without what begins the lines of a comment, so that a citation may be broken over two.
fn on_one_line(text: &str) -> String {
    let bare = |line: &str| -> String {
        let line = line.trim();
        let leader = ["///", "//!", "//", "*"]
            .iter()
            .find(|leader| line.starts_with(*leader));
        line[leader.map_or(0, |leader| leader.len())..]
            .trim()
            .to_owned()
    };
    text.lines().map(bare).collect::<Vec<_>>().join(" ")
}

/// Whether a text is worth the expressions below, which are slow over the whole tree.
fn may_cite(text: &str) -> bool {
    let row = |pair: &[u8]| matches!(pair, [b'W' | b'B' | b'K', b'0'..=b'9']);
    ["ection ", "ections ", " spec,"]
        .iter()
        .any(|word| text.contains(word))
        || text.as_bytes().windows(2).any(row)
}

/// What is wrong with the citations of a text. `own` is the specification that the text is part of: it cites its own sections
/// without a name.
fn problems(text: &str, specs: &[Spec], own: Option<&Spec>) -> Vec<String> {
    let text = on_one_line(text);
    if !may_cite(&text) {
        return Vec::new();
    }
    let cited = Regex::new(
        r"(?i)(?:\b(protocol|engine|compiler|command line) spec, |\b(RFC \d+), )?\b(?:sections? (\d[\d.]*(?:(?:, | and | to |, and )\d[\d.]*)*)(?:, ([WBK]\d+)\b)?|([WBK]\d+)\b)",
    )
    .unwrap();
    let number = Regex::new(r"\d+(?:\.\d+)*").unwrap();
    let mut found = Vec::new();
    for citation in cited.captures_iter(&text) {
        if citation.get(2).is_some() {
            continue;
        }
        let words = citation.get(0).unwrap().as_str();
        let named = citation.get(1).map(|name| name.as_str().to_lowercase());
        let spec = match &named {
            Some(name) => specs.iter().find(|spec| spec.name == name),
            None => own,
        };
        let Some(spec) = spec else {
            found.push(format!("\"{words}\" does not say of which document"));
            continue;
        };
        let numbers = citation.get(3).map_or("", |list| list.as_str());
        let rows = [citation.get(4), citation.get(5)];
        let anchors = number
            .find_iter(numbers)
            .chain(rows.into_iter().flatten())
            .map(|anchor| anchor.as_str());
        for anchor in anchors {
            if !spec.anchors.contains(anchor) {
                found.push(format!(
                    "\"{words}\": docs/spec/{} has no {anchor}",
                    spec.file
                ));
            }
        }
    }
    let vague = Regex::new(r"(?i)\b(?:protocol|engine|compiler|command line) spec, (\S+(?: \S+)?)")
        .unwrap();
    let proper = Regex::new(r"^(?:sections? \d|[WBK]\d+\b)").unwrap();
    for mention in vague.captures_iter(&text) {
        let words = mention.get(0).unwrap().as_str();
        if !mention
            .get(1)
            .is_some_and(|next| proper.is_match(next.as_str()))
        {
            found.push(format!("\"{words}\" is not in the form of a citation"));
        }
    }
    found
}

/// Our sources and documents, without this file, whose tests cite what is not there.
fn ours() -> Vec<PathBuf> {
    fn below(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                if !FOREIGN.contains(&name.as_str()) {
                    below(&path, found);
                }
            } else if [".rs", ".mjs", ".cjs", ".md"]
                .iter()
                .any(|end| name.ends_with(end))
                && !path.ends_with("tests/docs/citations.rs")
            {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    below(&root(""), &mut found);
    found.sort();
    found
}

#[test]
fn every_citation_of_a_specification_resolves() {
    let specs = specs();
    let mut wrong = Vec::new();
    for path in ours() {
        let own = specs
            .iter()
            .find(|spec| path == root("docs/spec").join(spec.file));
        for problem in problems(&read(&path), &specs, own) {
            wrong.push(format!("{}: {problem}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_specification_has_a_name_to_be_cited_by() {
    let known: BTreeSet<PathBuf> = SPECS
        .iter()
        .map(|(_, file)| root("docs/spec").join(file))
        .collect();
    let there: BTreeSet<PathBuf> = files(&root("docs/spec")).into_iter().collect();
    assert_eq!(there, known);
}

fn problems_of_code(text: &str) -> Vec<String> {
    problems(text, &specs(), None)
}

#[test]
fn a_section_that_is_not_there_is_found() {
    let wrong = problems_of_code("/// Waits (engine spec, section 8.99).");
    assert_eq!(
        wrong,
        ["\"engine spec, section 8.99\": docs/spec/engine.md has no 8.99"]
    );
}

#[test]
fn the_last_section_of_a_list_is_looked_up_too() {
    for list in ["4.2, 4.3 and 99", "4.2 to 99", "4.2, 99"] {
        let wrong = problems_of_code(&format!("// See protocol spec, sections {list}."));
        assert_eq!(wrong.len(), 1, "{list}: {wrong:?}");
    }
}

#[test]
fn a_citation_may_be_broken_over_two_lines() {
    let text = "//! Plans (protocol spec, sections 6.5\n    //! and 99).";
    assert_eq!(problems_of_code(text).len(), 1);
    let text = "/**\n * Plans (protocol spec,\n * section 6.5).\n */";
    assert_eq!(problems_of_code(text), [] as [&str; 0]);
}

#[test]
fn a_row_that_is_not_there_is_found() {
    assert_eq!(problems_of_code("// (protocol spec, W16)"), [] as [&str; 0]);
    for text in [
        "// (protocol spec, W99)",
        "// (protocol spec, section 10.1, W99)",
        "// (compiler spec, B99)",
    ] {
        assert_eq!(problems_of_code(text).len(), 1, "{text}");
    }
}

#[test]
fn a_section_or_row_without_its_document_is_found() {
    for text in ["// See section 4.2.", "// The scrubber is empty (W16)."] {
        let wrong = problems_of_code(text);
        assert!(wrong[0].ends_with("of which document"), "{wrong:?}");
    }
    assert_eq!(
        problems_of_code("// RFC 7692, section 7.1"),
        [] as [&str; 0]
    );
}

#[test]
fn a_citation_in_another_form_is_found() {
    for text in [
        "// (protocol spec, 4.11)",
        "// (command line spec, exit codes)",
    ] {
        assert_eq!(problems_of_code(text).len(), 1, "{text}");
    }
}
