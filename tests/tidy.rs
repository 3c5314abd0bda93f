//! Rules on the sources that no lint knows, so that a reader finds the same everywhere. CONTRIBUTING.md says why.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The longest that a file may be: a longer one wants to be two.
const LONGEST: usize = 400;

/// Tables, which are read by looking something up.
const TABLES: [&str; 1] = ["src/settings/table.rs"];

/// A folder's files import what they use, from where it is; a list of this many names from the folder's own `mod.rs` is a
/// prelude that hides where things come from.
const MOST_FROM_SUPER: usize = 12;

/// A source file, by its path below the project's root.
struct Source {
    path: String,
    text: String,
}

/// All Rust sources of the workspace.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder can be read") {
            let path = entry.expect("an entry can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let skipped = ["target", "node_modules", "fixtures"].contains(&name.as_ref());
            if skipped || name.starts_with('.') {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(read(root, &path));
            }
        }
    }
    assert!(found.len() > 300, "only {} sources were found", found.len());
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn read(root: &Path, path: &PathBuf) -> Source {
    let below = path.strip_prefix(root).unwrap_or(path);
    Source {
        path: below.to_string_lossy().into_owned(),
        text: fs::read_to_string(path).expect("a source is text"),
    }
}

impl Source {
    /// Whether it is there for tests only.
    fn is_test(&self) -> bool {
        let folder = |name| self.path.split('/').any(|part| part == name);
        folder("tests") || folder("benches") || self.path.ends_with("tests.rs")
    }

    fn may_be_long(&self) -> bool {
        self.is_test() || TABLES.contains(&self.path.as_str())
    }

    /// Its lines before the tests beside them.
    fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
    }
}

/// Fails with all places that break a rule.
fn nobody_breaks(rule: &str, check: impl Fn(&Source) -> Vec<String>) {
    let broken: Vec<String> = sources().iter().flat_map(check).collect();
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn every_file_says_what_it_is_for() {
    nobody_breaks("a source begins with `//!` and a sentence", |source| {
        let first = source.text.lines().next().unwrap_or_default();
        let fine = first.starts_with("//! ");
        (!fine).then(|| source.path.clone()).into_iter().collect()
    });
}

#[test]
fn no_file_is_too_long() {
    nobody_breaks("a long file wants to be two", |source| {
        let lines = source.text.lines().count();
        let fine = lines <= LONGEST || source.may_be_long();
        let place = format!("{}: {lines} lines", source.path);
        (!fine).then_some(place).into_iter().collect()
    });
}

#[test]
fn no_room_holds_more_than_a_third() {
    let mut rooms: BTreeMap<&str, usize> = BTreeMap::new();
    let sources = sources();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let room = source.path.split('/').next().unwrap_or_default();
        *rooms.entry(room).or_default() += source.production().count();
    }
    let whole: usize = rooms.values().sum();
    let large: Vec<_> = rooms
        .iter()
        .filter(|(_, lines)| **lines * 3 > whole)
        .collect();
    assert!(
        large.is_empty(),
        "{large:?} of {whole} lines: a room that large wants to be two"
    );
}

#[test]
fn no_error_is_a_text() {
    nobody_breaks("an error is a type that names the thing", |source| {
        let is_text = |line: &str| line.contains("Result<") && line.contains(", String>");
        if source.is_test() {
            return Vec::new();
        }
        source
            .production()
            .filter(|(_, line)| is_text(line) && !line.contains("Map<"))
            .map(|(number, _)| format!("{}:{}", source.path, number + 1))
            .collect()
    });
}

#[test]
fn no_result_is_thrown_away_in_silence() {
    nobody_breaks(
        "`let _ =` hides what is lost: handle it, or log it",
        |source| {
            if source.is_test() {
                return Vec::new();
            }
            source
                .production()
                .filter(|(_, line)| line.trim_start().starts_with("let _ ="))
                .map(|(number, _)| format!("{}:{}", source.path, number + 1))
                .collect()
        },
    );
}

/// A `use` at the top of a file, on one line.
struct Import {
    line: usize,
    text: String,
    /// Whether an empty line stands before it.
    apart: bool,
}

/// The imports before the first other item. Modules, attributes and comments between them are passed over.
fn imports(source: &Source) -> Vec<Import> {
    let mut found: Vec<Import> = Vec::new();
    let mut open = false;
    let mut apart = true;
    for (number, line) in source.production() {
        if open {
            let import = found.last_mut().expect("one is open");
            import.text.push_str(line.trim());
            open = !line.contains(';');
            continue;
        }
        let visible = line
            .trim_start_matches("pub(crate) ")
            .trim_start_matches("pub(super) ")
            .trim_start_matches("pub ");
        if visible.starts_with("use ") {
            found.push(Import {
                line: number + 1,
                text: visible.to_owned(),
                apart,
            });
            open = !line.contains(';');
            apart = false;
        } else if line.is_empty() {
            apart = true;
        } else if !(visible.starts_with("mod ")
            || visible.starts_with("extern ")
            || line.starts_with("//")
            || line.starts_with('#')
            || line.starts_with([' ', ')']))
        {
            break;
        }
    }
    found
}

/// Which group an import belongs to: the standard library's, that of other crates, or the crate's own.
fn group(import: &str, modules: &[&str]) -> u8 {
    let path = import.trim_start_matches("use ").trim_start_matches("::");
    let first = path
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
        .unwrap_or_default();
    match first {
        "std" | "core" | "alloc" => 0,
        "crate" | "self" | "super" => 2,
        name if modules.contains(&name) => 2,
        _ => 1,
    }
}

#[test]
fn imports_stand_in_three_groups() {
    nobody_breaks(
        "std, then other crates, then our own, apart by a line",
        |source| {
            let modules: Vec<&str> = source
                .text
                .lines()
                .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
                .filter_map(|rest| rest.strip_suffix(';'))
                .collect();
            let mut broken = Vec::new();
            let mut before = None;
            for import in imports(source) {
                let group = group(&import.text, &modules);
                let fine = match before {
                    None => true,
                    Some(last) if last == group => true,
                    Some(last) => last < group && import.apart,
                };
                if !fine {
                    broken.push(format!("{}:{}: {}", source.path, import.line, import.text));
                }
                before = Some(group);
            }
            broken
        },
    );
}

#[test]
fn no_folder_has_a_prelude() {
    nobody_breaks("import from where it is", |source| {
        imports(source)
            .into_iter()
            .filter_map(|import| {
                let names = import.text.strip_prefix("use super::{")?;
                let count = names.split(',').filter(|name| name.trim() != "};").count();
                (count > MOST_FROM_SUPER)
                    .then(|| format!("{}:{}: {count} names", source.path, import.line))
            })
            .collect()
    });
}

#[test]
fn a_broken_rule_is_seen() {
    let source = |text: &str| Source {
        path: "src/a.rs".to_owned(),
        text: text.to_owned(),
    };
    let groups = |text: &str| -> Vec<(u8, bool)> {
        imports(&source(text))
            .iter()
            .map(|import| (group(&import.text, &["inner"]), import.apart))
            .collect()
    };
    let text = "//! A.\n\nmod inner;\n\nuse std::fs;\n\nuse log::{\n    Level,\n    Record,\n};\nuse crate::b;\nuse inner::C;\n\nfn f() {}\nuse x;\n";
    assert_eq!(groups(text), [(0, true), (1, true), (2, false), (2, false)]);
}

#[test]
fn what_is_logged_at_info_or_above_has_an_event() {
    // Programs for a terminal, and what a job's engine is told by the mock.
    let apart = ["src/cli/", "lightning-mock/", "benches/", "log-events/"];
    nobody_breaks(
        "a line that an operator may act on has an event: log with `log_events::event!`",
        |source| {
            if source.is_test() || apart.iter().any(|folder| source.path.starts_with(folder)) {
                return Vec::new();
            }
            let bare = ["log::error!", "log::warn!", "log::info!", "log::log!"];
            source
                .production()
                .filter(|(_, line)| !line.trim_start().starts_with("//"))
                .filter(|(_, line)| bare.iter().any(|call| line.contains(call)))
                .map(|(number, _)| format!("{}:{}", source.path, number + 1))
                .collect()
        },
    );
}

#[test]
fn every_event_of_the_log_is_logged_by_something() {
    let all = sources();
    let table = all
        .iter()
        .find(|source| source.path == "log-events/src/table.rs");
    let table = table.expect("the table of events is there");
    let names = table.text.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("    ")?.split_once(':')?;
        let shaped = |c: char| c.is_ascii_uppercase() || c == '_';
        (!name.is_empty() && name.chars().all(shaped)).then_some(name)
    });
    let names: Vec<&str> = names.collect();
    assert!(names.len() > 50, "only {} events were found", names.len());
    let follows = |rest: &str| {
        let next = rest.chars().next();
        !next.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let logged = |name: &&str| {
        let call = format!("table::{name}");
        all.iter().filter(|source| !source.is_test()).any(|source| {
            source
                .text
                .match_indices(&call)
                .any(|(at, found)| follows(&source.text[at + found.len()..]))
        })
    };
    let forgotten: Vec<&str> = names.into_iter().filter(|name| !logged(name)).collect();
    assert!(
        forgotten.is_empty(),
        "documented and never logged: {forgotten:?}"
    );
}
