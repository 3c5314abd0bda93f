//! What a run is executed with: the `versions` of `run:start` and the block in the run's log (protocol spec, sections 4.7
//! and 5.2).

use indexmap::IndexMap;
use serde_json::Value;

/// The parts of the engine, as reported in `run:start`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineVersions {
    /// Node.js, without a leading v.
    pub node: Option<String>,
    /// The version that the engine gives itself.
    pub engine: String,
    /// The version of the compiler that jobs were compiled with.
    pub compiler: String,
    /// The installed version of `@openfn/runtime`.
    pub runtime: Option<String>,
    /// Adaptor name → versions in order of first use.
    pub adaptors: IndexMap<String, Vec<String>>,
}

impl EngineVersions {
    /// The `versions` object of `run:start`.
    pub fn for_run_start(&self, worker: &str) -> IndexMap<String, Value> {
        let mut versions = IndexMap::new();
        let mut put = |key: &str, value: Option<&str>| {
            if let Some(value) = value {
                versions.insert(key.to_owned(), Value::from(value));
            }
        };
        put("worker", Some(worker));
        put("node", self.node.as_deref());
        put("engine", Some(&self.engine));
        put("compiler", Some(&self.compiler));
        put("runtime", self.runtime.as_deref());
        for (name, list) in &self.adaptors {
            versions.insert(name.clone(), Value::from(list.clone()));
        }
        versions
    }

    /// The text of the `VER` line.
    pub fn block(&self, worker: &str) -> String {
        block(&self.for_run_start(worker))
    }
}

/// The keys that are no adaptors.
const PARTS: [&str; 5] = ["worker", "node", "engine", "compiler", "runtime"];

fn block(versions: &IndexMap<String, Value>) -> String {
    // All keys count for the width, also those without a line of their own, and `worker` even if it has no version.
    let keys = versions.keys().map(|key| key.chars().count());
    let width = keys.fold("worker".len(), usize::max) + 4;
    let mut lines = vec!["Versions:".to_owned()];
    let mut line = |label: &str, value: &str| lines.push(format!("    ▸ {label:<width$}{value}"));
    for (label, key) in [("node.js", "node"), ("worker", "worker")] {
        let version = versions.get(key).and_then(Value::as_str);
        line(
            label,
            version
                .filter(|version| !version.is_empty())
                .unwrap_or("unknown"),
        );
    }
    let mut adaptors: Vec<_> = versions
        .iter()
        .filter(|(key, _)| !PARTS.contains(&key.as_str()))
        .collect();
    // JavaScript sorts by UTF-16 code unit.
    adaptors.sort_by_cached_key(|(name, _)| name.encode_utf16().collect::<Vec<_>>());
    for (name, versions) in adaptors {
        let mut versions: Vec<_> = versions
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        versions.sort_unstable();
        line(name, &versions.join(", "));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions() -> EngineVersions {
        EngineVersions {
            node: Some("20.20.2".to_owned()),
            engine: "1".to_owned(),
            compiler: "2".to_owned(),
            runtime: Some("1.9.5".to_owned()),
            adaptors: [(
                "@openfn/language-common".to_owned(),
                vec!["3.3.4".to_owned(), "3.2.3".to_owned()],
            )]
            .into_iter()
            .collect(),
        }
    }

    #[test]
    fn the_block_is_that_of_the_reference() {
        assert_eq!(
            versions().block("1.25.0"),
            "Versions:\n    ▸ node.js                    20.20.2\n    ▸ worker                     1.25.0\n    ▸ @openfn/language-common    3.2.3, 3.3.4"
        );
    }

    #[test]
    fn the_block_of_the_protocol_spec_is_written() {
        let versions = [("node", "1"), ("worker", "2")]
            .map(|(key, version)| (key.to_owned(), Value::from(version)));
        assert_eq!(
            block(&versions.into_iter().collect()),
            "Versions:\n    ▸ node.js   1\n    ▸ worker    2"
        );
    }

    #[test]
    fn what_has_no_version_is_unknown_and_adaptors_are_sorted() {
        let versions = EngineVersions {
            adaptors: ["b", "a", "B"]
                .map(|name| (name.to_owned(), vec!["1.0.0".to_owned()]))
                .into_iter()
                .collect(),
            ..EngineVersions::default()
        };
        assert_eq!(
            versions.block(""),
            [
                "Versions:",
                "    ▸ node.js     unknown",
                "    ▸ worker      unknown",
                "    ▸ B           1.0.0",
                "    ▸ a           1.0.0",
                "    ▸ b           1.0.0",
            ]
            .join("\n")
        );
    }

    #[test]
    fn the_object_is_ordered_and_keeps_the_order_of_first_use() {
        assert_eq!(
            serde_json::to_string(&versions().for_run_start("0.1.0")).unwrap(),
            r#"{"worker":"0.1.0","node":"20.20.2","engine":"1","compiler":"2","runtime":"1.9.5","@openfn/language-common":["3.3.4","3.2.3"]}"#
        );
    }
}
