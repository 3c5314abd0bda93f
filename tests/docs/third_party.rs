//! Bills of materials and licences, as the image and the npm package have them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::{read, root};

/// What the image is built with.
const SHIPPED: [&str; 1] = ["--no-default-features"];

/// Has the script write into this folder.
fn write(what: &str, folder: &Path, features: &[&str]) {
    let output = Command::new(root("scripts/third-party.sh"))
        .arg(what)
        .arg(folder)
        .args(features)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// Name and version of each package of others that is linked into the program: those of `Cargo.lock` that are in the tree which
/// cargo builds by.
fn linked(features: &[&str]) -> BTreeSet<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--package", "ws-worker"])
        .args(["--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(features)
        .current_dir(root(""))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let lock: toml::Table = read(&root("Cargo.lock")).parse().unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    let lines: BTreeSet<&str> = tree.lines().collect();
    let packages = lock["package"].as_array().unwrap().iter();
    let others = packages.filter(|package| package.get("source").is_some());
    let text = |package: &toml::Value, key: &str| package[key].as_str().unwrap().to_owned();
    others
        .map(|package| (text(package, "name"), text(package, "version")))
        .filter(|(name, version)| {
            let line = format!("{name} v{version}");
            lines.iter().any(|found| {
                let rest = found.strip_prefix(&line);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            })
        })
        .collect()
}

#[test]
fn the_licences_of_all_that_is_linked_are_there_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    write("licenses", folder.path(), &SHIPPED);
    let texts = read(&folder.path().join("ws-worker-licenses.txt"));
    let named: BTreeSet<(String, String)> = texts
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter_map(|line| {
            let (package, licence) = line.split_once(" (")?;
            let (name, version) = package.split_once(' ')?;
            let is_version = version.starts_with(|first: char| first.is_ascii_digit());
            (is_version && licence.ends_with(')')).then(|| (name.to_owned(), version.to_owned()))
        })
        .collect();
    let linked = linked(&SHIPPED);
    assert!(linked.len() > 200, "{linked:?}");
    assert_eq!(named, linked);
    // Code from elsewhere that a package carries, and the words for packages that only name their licence.
    for words in [
        "BoringSSL",
        "Copyright (c) the authors that the package names",
    ] {
        assert!(texts.contains(words), "{words}");
    }
}

#[test]
#[ignore = "needs cargo-cyclonedx: cargo install cargo-cyclonedx --version 0.5.9 --locked"]
fn the_bill_of_materials_names_all_that_is_linked_and_no_test_gear() {
    let folder = tempfile::tempdir().unwrap();
    write("program", folder.path(), &SHIPPED);
    let bill = fs::read(folder.path().join("ws-worker.cdx.json")).unwrap();
    let bill: Value = serde_json::from_slice(&bill).unwrap();
    assert_eq!(bill["bomFormat"], "CycloneDX");
    assert_eq!(bill["metadata"]["component"]["name"], "ws-worker");
    let text = |component: &Value, key: &str| component[key].as_str().unwrap().to_owned();
    let components = bill["components"].as_array().unwrap();
    let named: BTreeSet<(String, String)> = components
        .iter()
        .map(|component| (text(component, "name"), text(component, "version")))
        .collect();
    let missing: Vec<_> = linked(&SHIPPED).difference(&named).cloned().collect();
    assert!(missing.is_empty(), "{missing:?}");
    for gear in ["lightning-mock", "mock-engine", "rquickjs", "proptest"] {
        assert!(named.iter().all(|(name, _)| name != gear), "{gear}");
    }
}

#[test]
fn the_image_has_both_and_its_tool_is_the_one_that_was_tried() {
    let dockerfile = read(&root("Dockerfile"));
    let script = read(&root("scripts/third-party.sh"));
    let tried = script
        .lines()
        .find_map(|line| line.strip_prefix("cyclonedx="))
        .unwrap();
    for part in [
        &format!("cargo install cargo-cyclonedx --version {tried} --locked"),
        "RUN scripts/third-party.sh program /third-party --no-default-features --features \"$FEATURES\"\n",
        "RUN ../scripts/third-party.sh engine /third-party\n",
        "COPY --from=build /third-party /usr/share/doc/ws-worker\n",
        "COPY --from=engine /third-party /usr/share/doc/ws-worker\n",
        "COPY LICENSE /usr/share/doc/ws-worker/\n",
    ] {
        assert!(dockerfile.contains(part), "{part}");
    }
}
