//! What the worker adds to the steps of a plan: collections, and adaptors from a monorepo (protocol spec, sections 6.5
//! and 6.6).

use indexmap::IndexMap;

use super::convert::ConvertOptions;
use super::execution::{Linked, Step};
use crate::ids::{JobId, ProjectId};

const COLLECTIONS: &str = "@openfn/language-collections";

/// Jobs that mention collections get the adaptor, the run gets what the adaptor needs.
pub(super) fn add_collections(
    steps: &mut IndexMap<JobId, Step>,
    options: &ConvertOptions<'_>,
    project_id: Option<&ProjectId>,
) -> Option<IndexMap<String, String>> {
    let (version, url) = options.collections_version.zip(options.collections_url)?;
    let mut any = false;
    for step in steps.values_mut() {
        if !step
            .expression
            .as_deref()
            .is_some_and(|source| source.contains("collections."))
        {
            continue;
        }
        any = true;
        let adaptors = step.adaptors.get_or_insert_default();
        if !adaptors
            .iter()
            .any(|adaptor| adaptor.starts_with(COLLECTIONS))
        {
            adaptors.push(format!("{COLLECTIONS}@{version}"));
        }
    }
    if !any {
        return None;
    }
    let mut credentials = IndexMap::new();
    credentials.insert("collections_token".to_owned(), options.run_token.to_owned());
    credentials.insert("collections_endpoint".to_owned(), url.to_owned());
    if let Some(project_id) = project_id {
        credentials.insert("project_id".to_owned(), project_id.to_string());
    }
    Some(credentials)
}

/// `@local` adaptors come from the monorepo, where there is one.
pub(super) fn link_local(steps: &mut IndexMap<JobId, Step>, monorepo_dir: Option<&str>) {
    let Some(monorepo) = monorepo_dir else { return };
    for step in steps.values_mut() {
        for adaptor in step.adaptors.iter().flatten() {
            let Some((name, "local")) = split_specifier(adaptor) else {
                continue;
            };
            let short = name.strip_prefix("@openfn/language-").unwrap_or(name);
            // A plan comes from outside: it must not lead out of the monorepo.
            if short.split('/').any(|part| matches!(part, "" | "." | "..")) {
                continue;
            }
            let linked = Linked {
                path: format!("{monorepo}/packages/{short}"),
                version: "local".to_owned(),
            };
            step.linker.insert(name.to_owned(), linked);
        }
    }
}

/// Name and version of a specifier, split at the last `@` that is not the first character.
fn split_specifier(specifier: &str) -> Option<(&str, &str)> {
    match specifier.rsplit_once('@') {
        Some((name, version)) if !name.is_empty() => Some((name, version)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::converted;
    use super::*;

    #[test]
    fn jobs_that_mention_collections_get_the_adaptor_and_the_run_its_token() {
        let options = ConvertOptions {
            collections_version: Some("0.8.0"),
            collections_url: Some("http://c"),
            run_token: "tok",
            monorepo_dir: None,
        };
        let plan = json!({"id": "w", "project_id": "p", "jobs": [
            {"id": "a", "body": "collections.get('x')", "adaptor": "@openfn/language-common@1.0.0"},
            {"id": "b", "body": "// collections.", "adaptor": "@openfn/language-collections@0.1.0"},
            {"id": "c", "body": "fn(s => s)"},
        ]});
        let value = serde_json::to_value(converted(&plan, &options).plan).unwrap();
        let steps = &value["workflow"]["steps"];
        assert_eq!(
            steps[0]["adaptors"],
            json!([
                "@openfn/language-common@1.0.0",
                "@openfn/language-collections@0.8.0"
            ])
        );
        assert_eq!(
            steps[1]["adaptors"],
            json!(["@openfn/language-collections@0.1.0"])
        );
        assert_eq!(steps[2]["adaptors"], json!([]));
        assert_eq!(
            value["workflow"]["credentials"],
            json!({"collections_token": "tok", "collections_endpoint": "http://c", "project_id": "p"})
        );
        let off = ConvertOptions {
            collections_url: None,
            ..options
        };
        let value = serde_json::to_value(converted(&plan, &off).plan).unwrap();
        assert!(value["workflow"].get("credentials").is_none());
    }

    #[test]
    fn local_adaptors_are_linked_to_the_monorepo() {
        let plan = json!({"id": "w", "jobs": [
            {"id": "a", "adaptor": "@openfn/language-common@local"}, {"id": "b", "adaptor": "common@local"},
            {"id": "c", "adaptor": "@openfn/language-http@7.0.0"},
            {"id": "d", "adaptor": "@openfn/language-../../etc@local"},
        ]});
        let options = ConvertOptions {
            monorepo_dir: Some("/m"),
            ..ConvertOptions::default()
        };
        let steps =
            serde_json::to_value(converted(&plan, &options).plan).unwrap()["workflow"]["steps"]
                .clone();
        assert_eq!(
            steps[0]["linker"],
            json!({"@openfn/language-common": {"path": "/m/packages/common", "version": "local"}})
        );
        assert_eq!(
            steps[1]["linker"],
            json!({"common": {"path": "/m/packages/common", "version": "local"}})
        );
        assert!(steps[2].get("linker").is_none());
        assert!(steps[3].get("linker").is_none());
    }
}
