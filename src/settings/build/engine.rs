//! What executes runs, and how.

use std::path::PathBuf;

use actors::config::{
    AllowedSources, DependencySource, EgressRules, EngineConfig, MemoryEnforcement, NodeConfig,
    SandboxMode, Spares,
};
use actors::engine_pool::{is_installable, locate};

use crate::settings::problem::SettingProblem;
use crate::settings::resolver::Resolver;
use crate::settings::values::ValueError;
use crate::settings::{table, values};

pub(super) fn resolve(
    from: &mut Resolver,
    path: impl Fn(&str) -> Result<PathBuf, ValueError> + Copy,
) -> EngineConfig {
    let repo_dir = from.required(&table::REPO_DIR, path);
    let repo_lock = from.switch(&table::REPO_LOCK);
    let adaptor_sources = adaptor_sources(from);
    let monorepo_dir = from.optional(&table::MONOREPO_DIR, path);
    let preload = from.list(&table::PRELOAD_ADAPTORS);
    for specifier in preload.iter().filter(|text| !is_installable(text)) {
        from.problem(SettingProblem::new(format!(
            "{}: {specifier:?} is no adaptor; give specifiers such as @openfn/language-http@7.2.0",
            table::PRELOAD_ADAPTORS.names()
        )));
    }
    let mock = from.switch(&table::MOCK);
    let node = from.required(&table::NODE, path);
    let engine_dir = from.optional(&table::ENGINE_DIR, path);
    let cache_dir = from.required(&table::ENGINE_CACHE_DIR, path);
    let spares = from.required(&table::ENGINE_SPARES, |text| match text {
        "auto" => Ok(Spares::UpTo(usize::MAX)),
        count => values::count(1)(count)
            .map(|count| Spares::Exactly(count as usize))
            .map_err(|_| ValueError::NotACountOrAuto),
    });
    let sandbox = from.required(&table::SANDBOX, |text| {
        let words = [
            ("auto", SandboxMode::Auto),
            ("strict", SandboxMode::Strict),
            ("off", SandboxMode::Off),
        ];
        values::one_of(&words, text)
    });
    let egress = egress(from);
    let memory_enforcement = from.required(&table::MEMORY_ENFORCEMENT, |text| {
        let words = [
            ("heap", MemoryEnforcement::Heap),
            ("cgroup", MemoryEnforcement::Cgroup),
            ("auto", MemoryEnforcement::Auto),
        ];
        values::one_of(&words, text)
    });
    let files = from.required(&table::RUN_FILES, values::mebibytes);
    let validation_timeout = from.required(&table::VALIDATION_TIMEOUT, values::milliseconds);
    let validation_retries = from.required(&table::VALIDATION_RETRIES, values::count(0));
    let state_props_to_remove = from.list(&table::STATE_PROPS_TO_REMOVE);
    let profiling = from.switch(&table::PROFILE);
    let poll_interval = from.required(&table::PROFILE_POLL_INTERVAL, values::milliseconds);
    if mock {
        match EngineConfig::mock() {
            Ok(mock) => return mock,
            Err(why) => from.problem(SettingProblem::new(format!("--mock: {why}"))),
        }
    }
    EngineConfig::Node(NodeConfig {
        node: on_path(node),
        engine_dir,
        cache_dir,
        repo_dir,
        repo_lock,
        adaptor_sources,
        monorepo_dir,
        preload,
        spares,
        sandbox,
        egress,
        memory_enforcement,
        files,
        validation_timeout,
        validation_retries,
        state_props_to_remove,
        profile: profiling.then_some(poll_interval),
    })
}

fn adaptor_sources(from: &mut Resolver) -> AllowedSources {
    let words = DependencySource::ALL.map(|source| (source.name(), source));
    let mut allowed = Vec::new();
    for text in from.list(&table::ALLOW_ADAPTOR_SOURCES) {
        match values::one_of(&words, &text) {
            Ok(source) => allowed.push(source),
            Err(why) => from.problem(SettingProblem::new(format!(
                "{}: {text:?} {why}",
                table::ALLOW_ADAPTOR_SOURCES.names()
            ))),
        }
    }
    AllowedSources::of(&allowed)
}

/// Where jobs may not connect to.
fn egress(from: &mut Resolver) -> EgressRules {
    let deny = from.list(&table::DENY_EGRESS);
    let allow = from.list(&table::ALLOW_EGRESS);
    let [deny, allow]: [Vec<&str>; 2] =
        [&deny, &allow].map(|entries| entries.iter().map(|entry| entry.trim()).collect());
    // Each by itself, so that all that are wrong are named at once.
    let each = deny
        .iter()
        .map(|entry| (&table::DENY_EGRESS, EgressRules::new(&[entry], &[])))
        .chain(
            allow
                .iter()
                .map(|entry| (&table::ALLOW_EGRESS, EgressRules::new(&[], &[entry]))),
        );
    for (setting, rules) in each {
        if let Err((entry, why)) = rules {
            from.problem(SettingProblem::new(format!(
                "{}: {entry:?} {why}",
                setting.names()
            )));
        }
    }
    // One that is wrong has been named, and nothing starts with it.
    EgressRules::new(&deny, &allow).unwrap_or_default()
}

/// A bare program name as the file that it stands for, so that everything starts the same one: a child's environment is
/// empty. One that is nowhere stays as it is, for `check` and the start of the engine to say so.
fn on_path(program: PathBuf) -> PathBuf {
    locate(&program, std::env::var_os("PATH").as_deref()).unwrap_or(program)
}
