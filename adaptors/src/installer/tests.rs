//! The installer against a small shell script in npm's place, which notes how it was called.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use futures_util::future::join_all;
use tempfile::TempDir;

use super::*;

/// Makes the folder and the key in `package.json` as npm does, and one line a call in `calls`.
const FAKE_NPM: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "$@" >> "$here/calls"
if [ -e "$here/busy" ]; then echo overlap >> "$here/calls"; fi
touch "$here/busy"
case "$1" in
view) echo 3.3.4 ;;
install)
    for last; do :; done
    alias=${last%@npm:*}
    case "$alias" in
    *missing*) rm "$here/busy"; echo "npm error 404 no such thing" >&2; echo "npm error A complete log of this run can be found in: /root/.npm/_logs/x" >&2; exit 1 ;;
    *gone*) rm "$here/busy"; echo "npm error code E404" >&2; exit 1 ;;
    *empty*) rm "$here/busy"; exit 0 ;;
    esac
    if [ -e "node_modules/$alias" ]; then echo "left over" >> "$here/calls"; fi
    mkdir -p "node_modules/$alias"
    echo '{}' > "node_modules/$alias/package.json"
    sed -i "s|\"dependencies\": {|\"dependencies\": {\"$alias\": \"x\",|; s|,}|}|" package.json
    ;;
esac
rm "$here/busy"
"#;

struct World {
    home: TempDir,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let npm = home.path().join("npm");
        fs::write(&npm, FAKE_NPM).unwrap();
        fs::set_permissions(&npm, fs::Permissions::from_mode(0o755)).unwrap();
        Self { home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn installer(&self) -> Arc<Installer> {
        self.installer_beside(watch::channel(None).1)
    }

    fn installer_beside(&self, engine: watch::Receiver<Option<PathBuf>>) -> Arc<Installer> {
        let options = Options {
            repository: self.path("repo"),
            lock: true,
            tools: tools(self.path("node")),
        };
        let pace = Pace {
            retry: Duration::from_millis(5),
            ..Pace::default()
        };
        let npm = Npm::at(self.path("npm"), tools(self.path("node")));
        Arc::new(Installer::with(
            options,
            engine,
            Box::new(|_, _| {}),
            npm,
            pace,
        ))
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// Without a sandbox: the programs are scripts that start others.
fn tools(node: PathBuf) -> Tools {
    Tools {
        node,
        sandbox: sandbox::SandboxMode::Off,
        sources: policy::AllowedSources::default(),
    }
}

fn list(specifiers: &[&str]) -> Vec<String> {
    specifiers
        .iter()
        .map(|&specifier| specifier.to_owned())
        .collect()
}

const INSTALL: &str =
    "install --no-audit --no-fund --no-package-lock --ignore-scripts --save-exact --";

#[tokio::test]
async fn a_missing_adaptor_is_installed_once() {
    let world = World::new();
    let installer = world.installer();
    for _ in 0..2 {
        let located = installer
            .install(list(&["@openfn/language-common@3.3.4"]))
            .await
            .unwrap();
        let path = world.path("repo/node_modules/@openfn/language-common_3.3.4");
        assert_eq!(located["@openfn/language-common@3.3.4"].path, Some(path));
    }
    let spec = "@openfn/language-common_3.3.4@npm:@openfn/language-common@3.3.4";
    assert_eq!(world.calls(), [format!("{INSTALL} {spec}")]);
}

#[tokio::test]
async fn runs_that_wait_for_the_same_adaptor_share_one_install() {
    let world = World::new();
    let installer = world.installer();
    let runs = (0..5).map(|_| installer.install(list(&["@openfn/a@1.0.0", "@openfn/b@1.0.0"])));
    for located in join_all(runs).await {
        assert_eq!(located.unwrap().len(), 2);
    }
    assert_eq!(world.calls().len(), 2, "{:?}", world.calls());
}

#[tokio::test]
async fn two_workers_on_one_repository_never_run_npm_at_the_same_time() {
    let world = World::new();
    let workers: Vec<_> = (0..3).map(|_| world.installer()).collect();
    let installs = workers.iter().enumerate().map(|(number, installer)| {
        installer.install(vec![
            "@openfn/shared@1.0.0".to_owned(),
            format!("@openfn/own@1.0.{number}"),
        ])
    });
    for located in join_all(installs).await {
        located.unwrap();
    }
    let calls = world.calls();
    assert!(!calls.contains(&"overlap".to_owned()), "{calls:?}");
    assert_eq!(
        calls.len(),
        4,
        "the shared one once, each own one once: {calls:?}"
    );
}

#[tokio::test]
async fn what_an_interrupted_install_left_is_removed_first() {
    let world = World::new();
    let folder = world.path("repo/node_modules/@openfn/a_1.0.0");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("half.js"), "").unwrap();
    world
        .installer()
        .install(list(&["@openfn/a@1.0.0"]))
        .await
        .unwrap();
    assert!(!folder.join("half.js").exists());
    assert!(!world.calls().contains(&"left over".to_owned()));
}

#[tokio::test]
async fn unsafe_specifiers_are_refused_before_anything_is_executed() {
    let world = World::new();
    let installer = world.installer();
    let refused = installer
        .install(list(&["@openfn/language-common@1.0.0;touch x"]))
        .await
        .unwrap_err();
    assert_eq!(refused.error_type(), "AutoinstallError");
    assert_eq!(
        refused.to_string(),
        "Error installing @openfn/language-common@1.0.0;touch x: Unsafe module specifier: \
         @openfn/language-common_1.0.0;touch x@npm:@openfn/language-common@1.0.0;touch x"
    );
    let refused = installer
        .install(list(&["@openfn/../x"]))
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("Error installing @openfn/../x: Unsafe module specifier: "),
        "{refused}"
    );
    let refused = installer
        .install(list(&["@openfn/../x@latest"]))
        .await
        .unwrap_err();
    assert_eq!(
        (refused.error_type(), &*refused.to_string()),
        (
            "ExecutionError",
            "Unsafe module specifier: @openfn/../x@latest"
        )
    );
    assert!(world.calls().is_empty());
}

#[tokio::test]
async fn other_packages_are_skipped_and_local_ones_are_not_installed() {
    let world = World::new();
    let located = world
        .installer()
        .install(list(&["lodash@4", "@openfn/language-http@local"]))
        .await
        .unwrap();
    assert_eq!(
        located.keys().collect::<Vec<_>>(),
        ["@openfn/language-http@local"]
    );
    assert_eq!(located[0].version, "local");
    assert_eq!(located[0].path, None);
    assert!(world.calls().is_empty());
}

#[tokio::test]
async fn a_tag_is_looked_up_once_a_minute() {
    let world = World::new();
    let installer = world.installer();
    for _ in 0..2 {
        let located = installer
            .install(list(&["@openfn/language-common@latest"]))
            .await
            .unwrap();
        assert_eq!(located[0].version, "3.3.4");
    }
    assert_eq!(
        world.calls()[0],
        "view @openfn/language-common@latest version"
    );
    assert_eq!(world.calls().len(), 2);
}

#[tokio::test]
async fn a_failure_is_told_in_the_words_of_npm_and_the_next_install_works() {
    let world = World::new();
    let installer = world.installer();
    let failed = installer
        .install(list(&["@openfn/missing@1.0.0", "@openfn/a@1.0.0"]))
        .await
        .unwrap_err();
    assert_eq!(
        failed.to_string(),
        format!(
            "Error installing @openfn/missing@1.0.0: Command failed: npm {INSTALL} \
             @openfn/missing_1.0.0@npm:@openfn/missing@1.0.0\nnpm error 404 no such thing"
        )
    );
    installer.install(list(&["@openfn/a@1.0.0"])).await.unwrap();
    assert!(!world.path("repo/.locks/repository.lock.lock").exists());
}

#[tokio::test]
async fn a_version_that_the_registry_lacks_is_not_asked_for_again_by_each_run() {
    let world = World::new();
    let installer = world.installer();
    let fails = async || {
        let wanted = list(&["@openfn/gone@1.0.0"]);
        let failed = installer.install(wanted).await.unwrap_err().to_string();
        assert!(failed.ends_with("npm error code E404"), "{failed}");
        world.calls().len()
    };
    assert_eq!((fails().await, fails().await), (1, 1));
    fs::write(world.path("repo/.npmrc"), "registry=https://another\n").unwrap();
    assert_eq!(fails().await, 2);
}

#[tokio::test]
async fn a_success_of_npm_is_not_believed_without_the_package() {
    let world = World::new();
    let failed = world
        .installer()
        .install(list(&["@openfn/empty@1.0.0"]))
        .await
        .unwrap_err();
    assert!(
        failed.to_string().contains("npm reported success"),
        "{failed}"
    );
}

#[tokio::test]
async fn looking_for_an_adaptor_leaves_a_manifest_alone_that_npm_is_writing() {
    let world = World::new();
    let installer = world.installer();
    installer.install(list(&["@openfn/a@1.0.0"])).await.unwrap();
    let manifest = world.path("repo/package.json");
    fs::write(&manifest, "{ \"depend").unwrap();
    let package = Package {
        name: "@openfn/a".to_owned(),
        version: "1.0.0".to_owned(),
    };
    let missing = installer
        .missing(vec![("@openfn/a@1.0.0".to_owned(), package)])
        .await
        .unwrap();
    assert_eq!(missing.len(), 1);
    assert_eq!(fs::read_to_string(&manifest).unwrap(), "{ \"depend");
}

#[tokio::test]
async fn a_failure_does_not_tell_where_the_repository_is() {
    let world = World::new();
    fs::write(world.path("repo"), "no folder").unwrap();
    let failed = world
        .installer()
        .install(list(&["@openfn/a@1.0.0"]))
        .await
        .unwrap_err();
    assert!(
        !failed
            .to_string()
            .contains(&*world.home.path().to_string_lossy()),
        "{failed}"
    );
}

/// In the place of Node: makes a bundle of every adaptor but the odd ones.
const FAKE_BUNDLER: &str = r#"#!/bin/sh
mkdir -p "$4"
case "$3" in *odd*) echo "it has a native part" >&2; exit 1 ;; esac
echo '{}' > "$4/bundle.json"
"#;

fn with_bundler(world: &World) -> Arc<Installer> {
    let node = world.path("node");
    fs::write(&node, FAKE_BUNDLER).unwrap();
    fs::set_permissions(&node, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(world.path("engine")).unwrap();
    world.installer_beside(watch::channel(Some(world.path("engine"))).1)
}

async fn folder_of(installer: &Arc<Installer>, specifier: &str) -> PathBuf {
    let located = installer.install(vec![specifier.to_owned()]).await.unwrap();
    located[specifier].path.clone().unwrap()
}

fn openfn(name: &str) -> Package {
    Package {
        name: format!("@openfn/{name}"),
        version: "1.0.0".to_owned(),
    }
}

#[tokio::test]
async fn an_adaptor_is_found_in_its_bundle_once_there_is_one() {
    let world = World::new();
    let installer = with_bundler(&world);
    let plain = world.path("repo/node_modules/@openfn/language-a_1.0.0");
    assert_eq!(
        folder_of(&installer, "@openfn/language-a@1.0.0").await,
        plain
    );
    installer.bundle_now(&openfn("language-a")).await.unwrap();
    assert_eq!(
        folder_of(&installer, "@openfn/language-a@1.0.0").await,
        installer
            .repository
            .bundles()
            .join("openfn-language-a_1.0.0/node_modules/@openfn/language-a_1.0.0")
    );
}

#[tokio::test]
async fn an_adaptor_that_cannot_be_bundled_is_loaded_as_it_is() {
    let world = World::new();
    let installer = with_bundler(&world);
    let plain = world.path("repo/node_modules/@openfn/language-odd_1.0.0");
    assert_eq!(
        folder_of(&installer, "@openfn/language-odd@1.0.0").await,
        plain
    );
    // Twice: between the two comes the attempt in the background, since the lock is fair.
    for _ in 0..2 {
        let why = installer
            .bundle_now(&openfn("language-odd"))
            .await
            .unwrap_err();
        assert_eq!(why.to_string(), "it has a native part");
    }
    assert_eq!(
        folder_of(&installer, "@openfn/language-odd@1.0.0").await,
        plain
    );
    let left = fs::read_dir(installer.repository.bundles())
        .unwrap()
        .count();
    assert_eq!(left, 0, "an unfinished bundle is removed");
}

#[tokio::test]
async fn a_bundle_goes_with_the_install_that_it_was_made_of() {
    let world = World::new();
    let installer = with_bundler(&world);
    folder_of(&installer, "@openfn/language-a@1.0.0").await;
    installer.bundle_now(&openfn("language-a")).await.unwrap();
    let plain = world.path("repo/node_modules/@openfn/language-a_1.0.0");
    fs::remove_dir_all(&plain).unwrap();
    assert_eq!(
        folder_of(&installer, "@openfn/language-a@1.0.0").await,
        plain
    );
}
