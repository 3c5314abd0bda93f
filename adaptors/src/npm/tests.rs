//! What npm is told, and what is made of its failures.

use super::*;

#[test]
fn paths_of_the_machine_are_left_out_of_a_failure() {
    let stderr = "npm error code E404\nnpm error 404 Not Found\nnpm error path /data/repo/x\nnpm error in /data/repo/y\n\
                  npm error A complete log of this run can be found in: /root/.npm/_logs/debug-0.log\n";
    assert_eq!(
        without_paths(stderr, Path::new("/data/repo")),
        "npm error code E404\nnpm error 404 Not Found\nnpm error in <repo>/y"
    );
}

#[tokio::test]
async fn a_missing_npm_is_named() {
    let tools = Tools {
        node: PathBuf::from("node"),
        sandbox: sandbox::SandboxMode::Auto,
        sources: AllowedSources::default(),
    };
    let failure = Npm::at(PathBuf::from("/nonexistent/npm"), tools)
        .view("@openfn/x", "latest")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        failure.starts_with(
            "Command failed: npm view @openfn/x@latest version\nnpm cannot be started"
        ),
        "{failure}"
    );
}
