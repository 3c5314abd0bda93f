//! Finding an adaptor's names in its type definitions.

use std::{fs, path::Path};

use compiler::{ExportsCache, ExportsError, adaptor_exports};
use tempfile::TempDir;

fn package(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().expect("a temporary folder");
    for (path, text) in files {
        let path = dir.path().join(path);
        let folder = path.parent().expect("the file is in the package");
        fs::create_dir_all(folder).expect("a folder in the package");
        fs::write(path, text).expect("a file in the package");
    }
    dir
}

const PACKAGE: (&str, &str) = ("package.json", r#"{"types": "types/index.d.ts"}"#);

fn message(dir: &Path) -> String {
    adaptor_exports(dir)
        .expect_err("the package is broken")
        .to_string()
}

#[test]
fn names_of_both_files_count_once_and_without_the_default() {
    let dir = package(&[
        PACKAGE,
        (
            "types/index.d.ts",
            "export * from './Adaptor'; export * as util from './util'; export { default, fn } from 'x';",
        ),
        (
            "types/Adaptor.d.ts",
            "export function get(): void; export function fn(): void;",
        ),
    ]);
    assert_eq!(adaptor_exports(dir.path()).unwrap(), ["util", "fn", "get"]);
}

#[test]
fn the_lower_case_file_wins() {
    let dir = package(&[
        PACKAGE,
        ("types/index.d.ts", "export function a(): void;"),
        ("types/adaptor.d.ts", "export function lower(): void;"),
        ("types/Adaptor.d.ts", "export function upper(): void;"),
    ]);
    assert_eq!(adaptor_exports(dir.path()).unwrap(), ["a", "lower"]);
}

#[test]
fn a_package_without_a_types_field_has_no_list() {
    let dir = package(&[(
        "package.json",
        r#"{"typings": "t.d.ts", "exports": {".": {"types": "./t.d.ts"}}}"#,
    )]);
    assert!(adaptor_exports(dir.path()).unwrap().is_empty());
}

#[test]
fn missing_and_empty_files_are_named_as_the_reference_names_them() {
    let missing = package(&[PACKAGE]);
    let types = missing.path().join("types/index.d.ts");
    assert_eq!(
        message(missing.path()),
        format!(
            "ENOENT: no such file or directory, open '{}'",
            types.display()
        )
    );
    let empty = package(&[PACKAGE, ("types/index.d.ts", "")]);
    assert_eq!(
        message(empty.path()),
        "Couldn't find a SourceFile for: types/index.d.ts"
    );
    let nothing = package(&[]);
    let package_json = nothing.path().join("package.json");
    assert_eq!(
        message(nothing.path()),
        format!(
            "ENOENT: no such file or directory, open '{}'",
            package_json.display()
        )
    );
    let broken = package(&[("package.json", "{")]);
    assert!(matches!(
        adaptor_exports(broken.path()),
        Err(ExportsError::BadPackage { .. })
    ));
}

#[test]
fn the_cache_notices_a_file_that_changed() {
    let dir = package(&[PACKAGE, ("types/index.d.ts", "export function a(): void;")]);
    let cache = ExportsCache::new(1);
    assert_eq!(*cache.get(dir.path()).unwrap(), ["a"]);
    fs::write(
        dir.path().join("types/index.d.ts"),
        "export function other(): void;",
    )
    .unwrap();
    assert_eq!(*cache.get(dir.path()).unwrap(), ["other"]);
}

#[test]
fn the_cache_serves_what_is_unchanged_and_forgets_the_oldest() {
    let first = package(&[PACKAGE, ("types/index.d.ts", "export function a(): void;")]);
    let second = package(&[PACKAGE, ("types/index.d.ts", "export function b(): void;")]);
    let cache = ExportsCache::new(1);
    let names = cache.get(first.path()).unwrap();
    assert!(std::sync::Arc::ptr_eq(
        &names,
        &cache.get(first.path()).unwrap()
    ));
    cache.get(second.path()).unwrap();
    assert!(!std::sync::Arc::ptr_eq(
        &names,
        &cache.get(first.path()).unwrap()
    ));
}
