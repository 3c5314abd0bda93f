//! `ws-worker --version --verbose`: what this program was built from, and what it finds here.

use std::ffi::OsString;
use std::path::Path;

use actors::engine_pool::runtime_version;

use super::check::version_of;

/// Whether the arguments, after the program's name, ask for it. clap ends at the first `--version`, so it is not asked.
pub fn is_asked(arguments: impl IntoIterator<Item = OsString>) -> bool {
    let mut given: Vec<_> = arguments.into_iter().collect();
    given.sort();
    given == ["--verbose", "--version"]
        || given == ["--verbose", "-V"]
        || given == ["-V", "--verbose"]
}

/// A line each; of the Node.js and npm that are on `PATH`.
pub fn text() -> String {
    let or = |text: &str, otherwise: &str| {
        let text = if text.is_empty() { otherwise } else { text };
        text.to_owned()
    };
    let found = |program: &str| match version_of(Path::new(program)) {
        Ok(version) => version,
        Err(why) => format!("not found: {why}"),
    };
    let features: Vec<_> = [
        ("demo", cfg!(feature = "demo")),
        ("mock-engine", cfg!(feature = "mock-engine")),
    ]
    .into_iter()
    .filter_map(|(name, is_on)| is_on.then_some(name))
    .collect();
    let lines = [
        ("commit", or(env!("WS_WORKER_COMMIT"), "unknown")),
        ("rustc", or(env!("WS_WORKER_RUSTC"), "unknown")),
        ("target", or(env!("WS_WORKER_TARGET"), "unknown")),
        ("features", or(&features.join(", "), "none")),
        (
            "@openfn/runtime",
            or(&runtime_version().unwrap_or_default(), "unknown"),
        ),
        ("node", found("node")),
        ("npm", found("npm")),
    ];
    let lines = lines.map(|(name, value)| format!("{name}: {value}\n"));
    format!("ws-worker {}\n{}", crate::VERSION, lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_flags_ask_for_it_and_one_does_not() {
        let asked = |arguments: &[&str]| is_asked(arguments.iter().map(OsString::from));
        assert!(asked(&["--version", "--verbose"]));
        assert!(asked(&["--verbose", "-V"]));
        assert!(!asked(&["--version"]));
        assert!(!asked(&["start", "--version", "--verbose"]));
    }

    #[test]
    fn it_begins_with_the_version_and_names_the_runtime_of_the_lock_file() {
        let text = text();
        assert!(text.starts_with(&format!("ws-worker {}\ncommit: ", crate::VERSION)));
        let lock = include_str!("../../engine/package-lock.json");
        let lock: serde_json::Value = serde_json::from_str(lock).unwrap();
        let runtime = &lock["packages"]["node_modules/@openfn/runtime"]["version"];
        let line = format!("\n@openfn/runtime: {}\n", runtime.as_str().unwrap());
        assert!(text.contains(&line), "{text}");
        assert!(text.contains("\nrustc: rustc 1."), "{text}");
    }
}
