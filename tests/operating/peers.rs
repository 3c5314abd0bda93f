//! Other workers on the status page.

use std::io::{BufRead as _, BufReader};

use serde_json::Value;

use crate::support::http::send;
use crate::support::{Worker, command, lightning, until};

#[test]
fn the_stream_of_one_worker_tells_of_the_others_and_of_those_that_do_not_answer() {
    let lightning = lightning();
    let mut command = command(&lightning);
    command.args(["--mock", "--http-token", "shared"]);
    let other = Worker::start(command.args(["--name", "other"]));
    let open = Worker::with_mock_engine(&lightning, &[]);
    let nothing = format!("{}/nothing-here", open.url());
    let peers = [other.url(), open.url(), &nothing].join(",");
    command.env("WORKER_PEERS", &peers);
    let worker = Worker::start(&mut command);

    let stream = send(
        worker.url(),
        "GET",
        "/events",
        &["Authorization: Bearer shared"],
    );
    let mut lines = BufReader::new(stream).lines();
    let peers = until("all were asked", || {
        let line = lines.next()?.expect("the stream goes on");
        let moment: Value = serde_json::from_str(line.strip_prefix("data: ")?).unwrap();
        let peers = moment["peers"].as_array()?.clone();
        let asked = |peer: &Value| peer["state"].is_string() || peer["trouble"].is_string();
        peers.iter().all(asked).then_some(peers)
    });
    assert_eq!(peers[0]["url"], other.url());
    assert_eq!(
        (&peers[0]["name"], &peers[0]["state"]),
        (&"other".into(), &"running".into())
    );
    assert_eq!(
        (&peers[0]["active"], &peers[0]["slots"]),
        (&0.into(), &5.into())
    );
    // It asks for no token, and is told one all the same.
    assert_eq!(peers[1]["state"], "running");
    assert_eq!(peers[2]["trouble"], "it answers with HTTP 404");
    assert!(
        peers.iter().all(|peer| peer.get("runs").is_none()),
        "{peers:?}"
    );
}
