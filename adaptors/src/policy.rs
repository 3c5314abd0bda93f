//! Where an adaptor's dependencies may come from. No I/O.
//!
//! An adaptor is taken from the registry that the operator chose. A dependency may name another place: a git repository,
//! whose configuration can have npm execute programs; a folder or an archive on this machine; an address. Each is an
//! exception that the operator makes.

use std::fmt;

use serde_json::Value;

/// A place other than the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DependencySource {
    /// A git repository; npm starts git for it.
    Git,
    /// A folder or an archive on this machine.
    File,
    /// An archive at any address.
    Url,
}

impl DependencySource {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Git, Self::File, Self::Url];

    /// As the option has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Git => "git",
            Self::File => "file",
            Self::Url => "url",
        }
    }
}

impl fmt::Display for DependencySource {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Git => "a git repository",
            Self::File => "a file of this machine",
            Self::Url => "an archive outside the registry",
        })
    }
}

/// The places that the operator allows besides the registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AllowedSources([bool; DependencySource::ALL.len()]);

impl AllowedSources {
    /// These and no others.
    #[must_use]
    pub fn of(sources: &[DependencySource]) -> Self {
        Self(DependencySource::ALL.map(|source| sources.contains(&source)))
    }

    /// Whether dependencies may come from there.
    #[must_use]
    pub fn has(self, source: DependencySource) -> bool {
        self.0[source as usize]
    }
}

/// A dependency from a place that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{package} depends on {dependency}, which is {source_kind} ({spec}); the worker's operator can allow it with --allow-adaptor-sources {}", source_kind.name())]
pub struct Refused {
    /// The package whose dependency it is.
    pub package: String,
    /// Its name.
    pub dependency: String,
    /// As the package writes it.
    pub spec: String,
    /// Where it is from.
    pub source_kind: DependencySource,
}

/// The place that a dependency is to be taken from, `None` for the registry. In doubt it is another place: a version, a
/// range, a tag and an alias of npm's have neither a colon nor a slash, and do not look like a file.
fn source_of(spec: &str) -> Option<DependencySource> {
    let spec = spec.trim();
    let spec = spec.strip_prefix("npm:").map_or(spec, |alias| {
        // Of an alias what follows the name, whose scope has a slash.
        alias
            .rfind('@')
            .filter(|at| *at > 0)
            .map_or("", |at| &alias[at + 1..])
    });
    let is_archive = [".tgz", ".tar.gz", ".tar"]
        .iter()
        .any(|ending| spec.ends_with(ending));
    let scheme = spec.split_once(':').map(|(scheme, _)| scheme);
    match scheme {
        Some("http" | "https") if spec.ends_with(".git") || spec.contains(".git#") => {
            Some(DependencySource::Git)
        }
        Some("http" | "https") => Some(DependencySource::Url),
        Some("file" | "link" | "portal" | "workspace") => Some(DependencySource::File),
        Some(_) => Some(DependencySource::Git),
        None if spec.starts_with(['.', '/']) || spec.starts_with("~/") || is_archive => {
            Some(DependencySource::File)
        }
        None if spec.contains('/') => Some(DependencySource::Git),
        None => None,
    }
}

/// Checks packages of a lock file of npm's, those that `is_new` tells by their place and version.
///
/// # Errors
/// The first dependency from a place that is not allowed.
pub(crate) fn check(
    lockfile: &Value,
    allowed: AllowedSources,
    is_new: impl Fn(&str, &str) -> bool,
) -> Result<(), Refused> {
    let packages = lockfile["packages"].as_object().into_iter().flatten();
    for (place, package) in packages {
        let version = package["version"].as_str().unwrap_or_default();
        if !is_new(place, version) {
            continue;
        }
        let lists = ["dependencies", "optionalDependencies", "peerDependencies"];
        let dependencies = lists
            .iter()
            .filter_map(|list| package[*list].as_object())
            .flatten();
        for (dependency, spec) in dependencies {
            let spec = spec.as_str().unwrap_or_default();
            if let Some(source_kind) = source_of(spec)
                && !allowed.has(source_kind)
            {
                let name = place.rsplit("node_modules/").next().unwrap_or(place);
                return Err(Refused {
                    package: name.to_owned(),
                    dependency: dependency.clone(),
                    spec: spec.to_owned(),
                    source_kind,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_ranges_tags_and_aliases_are_the_registrys() {
        for spec in [
            "",
            "*",
            "1.2.3",
            "^1.2.3",
            "~1.2",
            ">=1.0.0 <2 || 3.x",
            "latest",
            "1.0.0-rc.1+b",
            "npm:lodash@^4",
            "npm:@scope/name@1.0.0",
            "npm:@scope/name",
        ] {
            assert_eq!(source_of(spec), None, "{spec}");
        }
    }

    #[test]
    fn everything_else_is_another_place() {
        for (spec, source) in [
            ("git+https://host/a.git", DependencySource::Git),
            ("git+ssh://git@host/a.git#v1", DependencySource::Git),
            ("git://host/a", DependencySource::Git),
            ("git@host:a/b.git", DependencySource::Git),
            ("github:a/b", DependencySource::Git),
            ("a/b", DependencySource::Git),
            ("a/b#semver:^1", DependencySource::Git),
            ("https://host/a.git", DependencySource::Git),
            ("https://host/a.git#v1", DependencySource::Git),
            ("https://host/a.tgz", DependencySource::Url),
            ("http://host/a", DependencySource::Url),
            ("file:../a", DependencySource::File),
            ("./a", DependencySource::File),
            ("..", DependencySource::File),
            ("/etc", DependencySource::File),
            ("~/a", DependencySource::File),
            ("a.tgz", DependencySource::File),
            ("link:a", DependencySource::File),
            ("npm:a@https://host/a.tgz", DependencySource::Url),
        ] {
            assert_eq!(source_of(spec), Some(source), "{spec}");
        }
    }

    fn lockfile() -> Value {
        json!({"packages": {
            "node_modules/@openfn/language-a_1.0.0": {"version": "1.0.0", "dependencies": {"b": "^1.0.0"}},
            "node_modules/b": {"version": "1.0.0", "optionalDependencies": {"c": "https://host/c.tgz"}},
        }})
    }

    #[test]
    fn a_dependency_from_elsewhere_is_refused_and_named_unless_it_is_allowed() {
        let refused = check(&lockfile(), AllowedSources::default(), |_, _| true).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "b depends on c, which is an archive outside the registry (https://host/c.tgz); the worker's operator can allow it \
             with --allow-adaptor-sources url"
        );
        let allowed = AllowedSources::of(&[DependencySource::Url]);
        assert_eq!(check(&lockfile(), allowed, |_, _| true), Ok(()));
    }

    #[test]
    fn what_was_there_before_is_not_judged_again() {
        let is_new = |place: &str, version: &str| (place, version) != ("node_modules/b", "1.0.0");
        assert_eq!(
            check(&lockfile(), AllowedSources::default(), is_new),
            Ok(())
        );
    }
}
