//! What npm needs of the worker's environment: variables, and the files that they and npm's own configuration name.
//!
//! npm gets no other variable and may read no other file. An operator's registry, its certificates, credentials and proxies are
//! in these, in whichever of npm's ways they are given.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

/// Variables that npm, Node and the C library read.
const VARIABLES: &[&str] = &[
    "PATH",
    "HOME",
    "PREFIX",
    "LANG",
    "LC_ALL",
    "TZ",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "PROXY",
    "NODE_EXTRA_CA_CERTS",
    "NODE_OPTIONS",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "NODE_USE_ENV_PROXY",
    "NODE_USE_SYSTEM_CA",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "OPENSSL_CONF",
];

/// How variables begin that are npm's configuration.
const CONFIGURATION: &str = "npm_config_";

/// Secrets of the worker, which nobody gets, even if npm's configuration names them.
const SECRETS: &[&str] = &[
    "WORKER_SECRET",
    "WORKER_HTTP_TOKEN",
    "WORKER_LIGHTNING_PUBLIC_KEY",
    "WORKER_SENTRY_DSN",
];

/// Variables that name files or folders to read.
const FILES: &[&str] = &[
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "OPENSSL_CONF",
];

/// Settings of npm that name files to read; those of one registry have its address in front.
const FILE_SETTINGS: &[&str] = &["cafile", "certfile", "keyfile"];

/// What npm gets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Its variables.
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// Files that it may read.
    pub(crate) readable: Vec<PathBuf>,
    /// Its cache, which it may write.
    pub(crate) cache: Option<PathBuf>,
}

/// Reads npm's configuration as npm does: the file of its installation, the global one, the user's and that of the folder that
/// it works in. `node` is the program's file, `installation` the folder of npm itself. Those of `settings` take the place of
/// whatever the operator says.
pub(crate) fn needs(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    node: &Path,
    installation: &Path,
    project: &Path,
    settings: &[(&str, String)],
) -> Needs {
    let environment: HashMap<OsString, OsString> = environment
        .into_iter()
        .filter(|(name, _)| !SECRETS.iter().any(|secret| name == secret))
        .collect();
    let reader = Reader::new(&environment);
    let builtin = installation.join("npmrc");
    let mut configuration = reader.file(&builtin);
    let user = reader
        .setting("userconfig")
        .or_else(|| configuration.path("userconfig"))
        .or_else(|| Some(reader.home()?.join(".npmrc")));
    let user_file = user
        .as_deref()
        .map(|user| reader.file(user))
        .unwrap_or_default();
    let prefix = reader
        .setting("prefix")
        .or_else(|| user_file.path("prefix"))
        .or_else(|| environment.get(OsStr::new("PREFIX")).map(PathBuf::from))
        .or_else(|| configuration.path("prefix"))
        .or_else(|| Some(node.parent()?.parent()?.to_owned()));
    let global = reader
        .setting("globalconfig")
        .or_else(|| user_file.path("globalconfig"))
        .or_else(|| configuration.path("globalconfig"))
        .or_else(|| Some(prefix?.join("etc/npmrc")));
    if let Some(global) = &global {
        configuration.add(reader.file(global));
    }
    configuration.add(user_file);
    configuration.add(reader.file(&project.join(".npmrc")));

    let mut readable: Vec<PathBuf> = [Some(builtin), user, global]
        .into_iter()
        .flatten()
        .collect();
    readable.extend(
        FILES
            .iter()
            .filter_map(|name| environment.get(OsStr::new(name)).map(PathBuf::from)),
    );
    readable.extend(FILE_SETTINGS.iter().filter_map(|name| reader.setting(name)));
    readable.extend(configuration.files());
    let cache = reader
        .setting("cache")
        .or_else(|| configuration.path("cache"))
        .or_else(|| Some(reader.home()?.join(".npm")));

    let is_needed = |name: &OsStr| {
        let Some(name) = name.to_str() else {
            return false;
        };
        let is_overridden = configuration_name(name)
            .is_some_and(|name| settings.iter().any(|(setting, _)| same(&name, setting)));
        let is_known = VARIABLES
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name));
        !is_overridden
            && (is_known
                || configuration_name(name).is_some()
                || configuration.variables.iter().any(|named| named == name))
    };
    let mut variables: Vec<(OsString, OsString)> = environment
        .iter()
        .filter(|(name, _)| is_needed(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    variables.sort();
    variables.extend(
        settings
            .iter()
            .map(|(name, value)| (format!("{CONFIGURATION}{name}").into(), value.into())),
    );
    Needs {
        variables,
        readable,
        cache,
    }
}

/// The setting that a variable stands for.
fn configuration_name(variable: &str) -> Option<String> {
    let (start, rest) = variable.split_at_checked(CONFIGURATION.len())?;
    start
        .eq_ignore_ascii_case(CONFIGURATION)
        .then(|| rest.to_ascii_lowercase())
}

/// npm takes underscores of variables for hyphens.
fn same(name: &str, setting: &str) -> bool {
    name.replace('-', "_") == setting.replace('-', "_")
}

/// Reads files of npm's configuration, whose values may name variables and the home folder.
struct Reader<'a> {
    environment: &'a HashMap<OsString, OsString>,
}

impl<'a> Reader<'a> {
    fn new(environment: &'a HashMap<OsString, OsString>) -> Self {
        Self { environment }
    }

    fn home(&self) -> Option<PathBuf> {
        self.environment.get(OsStr::new("HOME")).map(PathBuf::from)
    }

    /// A setting that a variable gives.
    fn setting(&self, wanted: &str) -> Option<PathBuf> {
        let (_, value) = self.environment.iter().find(|(name, value)| {
            let name = name.to_str().and_then(configuration_name);
            !value.is_empty() && name.is_some_and(|name| same(&name, wanted))
        })?;
        Some(self.path(value.to_str()?))
    }

    fn path(&self, text: &str) -> PathBuf {
        match (text.strip_prefix("~/"), self.home()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(text),
        }
    }

    /// One that is not there, or cannot be read, says nothing.
    fn file(&self, path: &Path) -> Configuration {
        let text = fs::read_to_string(path).unwrap_or_default();
        self.text(&text)
    }

    fn text(&self, text: &str) -> Configuration {
        let mut configuration = Configuration::default();
        for line in text.lines().map(str::trim) {
            let Some((name, value)) = line.split_once('=') else {
                continue;
            };
            if name.starts_with([';', '#']) {
                continue;
            }
            let value = value.trim().trim_matches(['"', '\'']);
            let value = self.expand(value, &mut configuration.variables);
            let path = self.path(&value);
            configuration.settings.push((name.trim().to_owned(), path));
        }
        configuration
    }

    /// A value with the variables that it names, which are noted.
    fn expand(&self, value: &str, named: &mut Vec<String>) -> String {
        let mut expanded = String::new();
        let mut rest = value;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else {
                break;
            };
            expanded.push_str(before);
            // With the mark, one that is not set is empty.
            let name = name.trim_end_matches('?');
            named.push(name.to_owned());
            let value = self.environment.get(OsStr::new(name));
            expanded.push_str(value.and_then(|value| value.to_str()).unwrap_or_default());
            rest = after;
        }
        expanded.push_str(rest);
        expanded
    }
}

/// What files of npm's configuration say, the later the stronger.
#[derive(Debug, Default)]
struct Configuration {
    settings: Vec<(String, PathBuf)>,
    /// The variables that they name.
    variables: Vec<String>,
}

impl Configuration {
    fn add(&mut self, stronger: Self) {
        self.settings.extend(stronger.settings);
        self.variables.extend(stronger.variables);
    }

    fn path(&self, wanted: &str) -> Option<PathBuf> {
        let found = self.settings.iter().rev().find(|(name, _)| name == wanted);
        found.map(|(_, path)| path.clone())
    }

    fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.settings.iter().filter_map(|(name, path)| {
            let setting = name.rsplit(':').next().unwrap_or(name);
            FILE_SETTINGS.contains(&setting).then(|| path.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        home: tempfile::TempDir,
    }

    impl World {
        fn new(npmrc: &str) -> Self {
            let home = tempfile::tempdir().unwrap();
            fs::write(home.path().join(".npmrc"), npmrc).unwrap();
            Self { home }
        }

        fn needs(&self, variables: &[(&str, &str)], settings: &[(&str, String)]) -> Needs {
            let home = self.home.path().to_str().unwrap();
            let own = [("HOME", home)];
            let environment = own.iter().chain(variables);
            needs(
                environment.map(|(name, value)| (name.into(), value.into())),
                Path::new("/opt/node/bin/node"),
                Path::new("/opt/node/lib/node_modules/npm"),
                Path::new("/nonexistent"),
                settings,
            )
        }
    }

    fn names(needs: &Needs) -> Vec<&str> {
        needs
            .variables
            .iter()
            .map(|(name, _)| name.to_str().unwrap())
            .collect()
    }

    #[test]
    fn npm_gets_what_it_reads_and_nothing_else() {
        let needs = World::new("").needs(
            &[
                ("PATH", "/bin"),
                ("https_proxy", "http://proxy"),
                ("NPM_CONFIG_REGISTRY", "https://registry"),
                ("npm_config_//registry/:_authToken", "x"),
                ("DATABASE_URL", "x"),
                ("WORKER_SECRET", "x"),
                ("NODE_EXTRA_CA_CERTS", "/ca.pem"),
            ],
            &[],
        );
        assert_eq!(
            names(&needs),
            [
                "HOME",
                "NODE_EXTRA_CA_CERTS",
                "NPM_CONFIG_REGISTRY",
                "PATH",
                "https_proxy",
                "npm_config_//registry/:_authToken"
            ]
        );
        assert!(needs.readable.contains(&"/ca.pem".into()));
        assert!(needs.readable.contains(&"/opt/node/etc/npmrc".into()));
    }

    #[test]
    fn variables_and_files_that_the_users_configuration_names_are_needed() {
        let world = World::new(
            "registry=https://registry\n//registry/:_authToken=${NPM_TOKEN}\n; x=${COMMENT}\n\
             cafile = \"~/ca.pem\"\n//registry/:keyfile=${KEYS}/key.pem\ncache=/cache\nx=${WORKER_SECRET}\n",
        );
        let needs = world.needs(
            &[
                ("NPM_TOKEN", "t"),
                ("KEYS", "/keys"),
                ("COMMENT", "x"),
                ("WORKER_SECRET", "x"),
            ],
            &[],
        );
        assert_eq!(names(&needs), ["HOME", "KEYS", "NPM_TOKEN"]);
        for file in [
            world.home.path().join("ca.pem"),
            "/keys/key.pem".into(),
            world.home.path().join(".npmrc"),
        ] {
            assert!(needs.readable.contains(&file), "{}", file.display());
        }
        assert_eq!(needs.cache, Some("/cache".into()));
    }

    #[test]
    fn variables_are_stronger_than_files_and_our_settings_than_both() {
        let world = World::new("cache=/cache\n");
        let needs = world.needs(
            &[
                ("NPM_CONFIG_CACHE", "/other"),
                ("NPM_CONFIG_ALLOW_GIT", "all"),
                ("npm_config_userconfig", "/npmrc"),
            ],
            &[("allow_git", "none".to_owned())],
        );
        assert_eq!(needs.cache, Some("/other".into()));
        assert!(needs.readable.contains(&"/npmrc".into()));
        assert_eq!(
            names(&needs),
            [
                "HOME",
                "NPM_CONFIG_CACHE",
                "npm_config_userconfig",
                "npm_config_allow_git"
            ]
        );
    }
}
