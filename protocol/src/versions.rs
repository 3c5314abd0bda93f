//! What a run is executed with: the `versions` of `run:start` and the block in the run's log (protocol spec, sections 4.7
//! and 5.2).

use indexmap::IndexMap;
use serde_json::Value;

/// The parts of the engine, as reported in `run:start`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineVersions {
    /// Node.js, without a leading v.
    pub node: Option<String>,
    /// The engine.
    pub engine: String,
    /// The compiler.
    pub compiler: String,
    /// `@openfn/runtime`.
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
        // Labels are padded to the longest key of the whole object, `worker` included.
        let fixed = ["worker", "node", "engine", "compiler", "runtime"];
        let present = [
            true,
            self.node.is_some(),
            true,
            true,
            self.runtime.is_some(),
        ];
        let width = fixed
            .iter()
            .zip(present)
            .filter(|(_, present)| *present)
            .map(|(key, _)| key.len())
            .chain(self.adaptors.keys().map(|name| name.chars().count()))
            .max()
            .unwrap_or(0)
            + 4;
        let mut lines = vec!["Versions:".to_owned()];
        let mut line =
            |label: &str, value: &str| lines.push(format!("    ▸ {label:<width$}{value}"));
        line("node.js", self.node.as_deref().unwrap_or("unknown"));
        line("worker", if worker.is_empty() { "unknown" } else { worker });
        let mut adaptors: Vec<_> = self.adaptors.iter().collect();
        adaptors.sort_by_key(|(name, _)| name.encode_utf16().collect::<Vec<_>>());
        for (name, versions) in adaptors {
            let mut versions = versions.clone();
            versions.sort();
            line(name, &versions.join(", "));
        }
        lines.join("\n")
    }
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
    fn the_object_is_ordered_and_keeps_the_order_of_first_use() {
        assert_eq!(
            serde_json::to_string(&versions().for_run_start("0.1.0")).unwrap(),
            r#"{"worker":"0.1.0","node":"20.20.2","engine":"1","compiler":"2","runtime":"1.9.5","@openfn/language-common":["3.3.4","3.2.3"]}"#
        );
    }
}
