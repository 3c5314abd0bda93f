//! What `--version --verbose` says of the build: commit, compiler and target.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=REVISION");
    let compiler = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    println!("cargo:rustc-env=WS_WORKER_COMMIT={}", commit());
    println!(
        "cargo:rustc-env=WS_WORKER_RUSTC={}",
        said(&compiler, &["--version"])
    );
    println!(
        "cargo:rustc-env=WS_WORKER_TARGET={}",
        env::var("TARGET").unwrap_or_default()
    );
}

/// The commit that is built: of the variable, where there is no git, as in the image; else of git, for a release only, since
/// every commit would make the next debug build slower. Empty where nobody knows.
fn commit() -> String {
    let given = env::var("REVISION").unwrap_or_default();
    if !given.trim().is_empty() {
        return given.trim().to_owned();
    }
    if env::var("PROFILE").as_deref() != Ok("release") {
        return String::new();
    }
    // It changes with each commit and checkout. A path that is not there would have the script run with each build.
    let log = said("git", &["rev-parse", "--git-path", "logs/HEAD"]);
    if !log.is_empty() && std::path::Path::new(&log).exists() {
        println!("cargo:rerun-if-changed={log}");
    }
    said("git", &["rev-parse", "HEAD"])
}

/// The first line that a program prints; empty where it fails or is not there.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let succeeded = output.ok().filter(|output| output.status.success());
    let text = succeeded.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}
