//! Which modules of a crate use each other: none does in a circle, so that each can be read without the others that use it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use regex_lite::Regex;

use super::{files, read, root};

/// Crates without circles, by the folder of their sources.
const CRATES: [&str; 3] = ["lightning-mock/src", "mock-engine/src", "protocol/src"];

/// Which packages of the workspace each may depend on, as ARCHITECTURE.md draws it; those after the bar only where a cargo
/// feature asks for them.
const ARROWS: [(&str, &str); 11] = [
    (
        ".",
        "actors compiler log-events protocol traces | lightning-mock",
    ),
    (
        "actors",
        "adaptors compiler log-events protocol sandbox | mock-engine",
    ),
    ("adaptors", "log-events sandbox |"),
    ("benches/load", "lightning-mock |"),
    ("compiler", "|"),
    ("lightning-mock", "protocol |"),
    ("log-events", "|"),
    ("mock-engine", "log-events protocol |"),
    ("protocol", "|"),
    ("sandbox", "log-events |"),
    ("traces", "actors log-events protocol |"),
];

type Graph = BTreeMap<String, BTreeSet<String>>;

/// The modules at the top of a crate, and which of the others each names. Unit tests do not count.
fn graph(sources: &Path) -> Graph {
    let mut graph = Graph::new();
    for path in files(sources) {
        let inside = path.strip_prefix(sources).unwrap();
        let first = inside.components().next().unwrap();
        let module = first.as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if !matches!(module, "lib" | "main") && !inside.ends_with("tests.rs") {
            graph
                .entry(module.to_owned())
                .or_default()
                .extend(named(&read(&path)));
        }
    }
    let modules: BTreeSet<String> = graph.keys().cloned().collect();
    for (module, used) in &mut graph {
        used.retain(|other| modules.contains(other) && other != module);
    }
    graph
}

/// The modules that a text names by `crate::`.
fn named(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]").next().unwrap_or("");
    let path = Regex::new(r"\bcrate::(?:(\w+)|\{([^;]*)\})").unwrap();
    let entry = Regex::new(r"(?:^|[,\s])([a-z]\w*)::").unwrap();
    let mut found = Vec::new();
    for path in path.captures_iter(text) {
        if let Some(module) = path.get(1) {
            found.push(module.as_str().to_owned());
        } else if let Some(list) = path.get(2) {
            found.extend(
                entry
                    .captures_iter(list.as_str())
                    .map(|entry| entry[1].to_owned()),
            );
        }
    }
    found
}

/// A way from a module back to itself, if there is one.
fn circle(graph: &Graph) -> Option<Vec<String>> {
    fn way<'g>(graph: &'g Graph, path: &mut Vec<&'g str>, done: &mut BTreeSet<&'g str>) -> bool {
        let module = path[path.len() - 1];
        for next in graph.get(module).into_iter().flatten() {
            if let Some(begin) = path.iter().position(|passed| *passed == next) {
                path.drain(..begin);
                return true;
            }
            if !done.contains(next.as_str()) {
                path.push(next);
                if way(graph, path, done) {
                    return true;
                }
                path.pop();
            }
        }
        done.insert(module);
        false
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|module| {
        let mut path = vec![module.as_str()];
        way(graph, &mut path, &mut done).then(|| path.into_iter().map(str::to_owned).collect())
    })
}

#[test]
fn no_modules_use_each_other_in_a_circle() {
    for sources in CRATES {
        let circle = circle(&graph(&root(sources)));
        assert_eq!(circle, None, "{sources}");
    }
}

#[test]
fn packages_depend_on_each_other_as_the_architecture_says() {
    let workspace: toml::Table = read(&root("Cargo.toml")).parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let members: BTreeSet<&str> = members.iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(members.len() + 1, ARROWS.len());
    for (package, arrows) in ARROWS {
        let manifest: toml::Table = read(&root(package).join("Cargo.toml")).parse().unwrap();
        let dependencies = manifest["dependencies"].as_table().unwrap();
        let of_workspace = |optional: bool| -> Vec<&str> {
            let is_optional = |value: &toml::Value| {
                let optional = value.get("optional");
                optional.is_some_and(|optional| optional.as_bool() == Some(true))
            };
            let mut names: Vec<&str> = dependencies
                .iter()
                .filter(|(name, value)| {
                    members.contains(name.as_str()) && is_optional(value) == optional
                })
                .map(|(name, _)| name.as_str())
                .collect();
            names.sort_unstable();
            names
        };
        let found = format!(
            "{} | {}",
            of_workspace(false).join(" "),
            of_workspace(true).join(" ")
        );
        assert_eq!(found.trim(), arrows, "{package}");
    }
}

#[test]
fn a_circle_is_found_and_a_diamond_is_none() {
    let graph = |uses: &[(&str, &[&str])]| -> Graph {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        uses.iter()
            .map(|(module, used)| ((*module).to_owned(), owned(used)))
            .collect()
    };
    let diamond = graph(&[("a", &["b", "c"]), ("b", &["d"]), ("c", &["d"]), ("d", &[])]);
    assert_eq!(circle(&diamond), None);
    let round = graph(&[("a", &["b"]), ("b", &["c"]), ("c", &["d"]), ("d", &["b"])]);
    assert_eq!(circle(&round).unwrap(), ["b", "c", "d"]);
}

#[test]
fn modules_are_found_in_each_form_of_import() {
    let text = "use crate::store::Run;\nuse crate::{keys::Key, world::{Shared, World}};\nfn a() { crate::http::b() }\n#[cfg(test)]\nuse crate::tests::C;";
    assert_eq!(named(text), ["store", "keys", "world", "http"]);
}
