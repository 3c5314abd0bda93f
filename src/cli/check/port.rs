//! Whether the worker's HTTP server gets its port, and who has it else.

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::time::Duration;

use tokio::time::timeout;

use super::Report;
use crate::remote::{Moment, WorkerUrl};
use crate::settings::{HttpSettings, table};

/// How long whoever has the port may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a worker names when it is asked without its token.
const TOKEN: &str = "WORKER_HTTP_TOKEN";

/// What has the port.
#[derive(Debug, PartialEq, Eq)]
enum Occupant {
    /// A worker that says who it is.
    Worker { name: String, version: String },
    /// A worker that wants a token first.
    Guarded,
    /// Anything else.
    Other,
}

pub(super) async fn check(http: &HttpSettings, report: &mut Report) {
    let address = format!("{}:{}", http.host, http.port);
    let error = match TcpListener::bind((http.host.as_str(), http.port)) {
        Ok(_) => return report.fine("http", format!("{address} is free")),
        Err(error) => error,
    };
    let other_port = format!("another {}", table::PORT.names());
    let occupant = if error.kind() == ErrorKind::AddrInUse {
        ask(http).await
    } else {
        Occupant::Other
    };
    let detail = match occupant {
        Occupant::Other => format!("{address}: {error}; give {other_port}"),
        worker => format!(
            "{address} is taken by {worker}; end that one first, or give this one {other_port}, 0 for any that is free"
        ),
    };
    report.bad("http", detail);
}

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker { name, version } => {
                write!(f, "a running worker, {name} (ws-worker {version})")
            }
            Self::Guarded => {
                f.write_str("a running worker, which tells its name only by its token")
            }
            Self::Other => f.write_str("another program"),
        }
    }
}

/// Asks whoever has the port. Without the token: it may be anybody.
async fn ask(http: &HttpSettings) -> Occupant {
    let asking = async {
        let url: WorkerUrl = reachable(&http.host, http.port).parse().ok()?;
        let client = actors::lightning::http_client(None).ok()?;
        let mut response = url.get(&client, "status", None).send().await.ok()?;
        let status = response.status().as_u16();
        let body = response.body().limit(1 << 20).await.ok()?;
        identify(status, &body)
    };
    let answer = timeout(PATIENCE, asking).await.ok().flatten();
    answer.unwrap_or(Occupant::Other)
}

/// Where a server that listens on this host is reached.
fn reachable(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if address.is_unspecified() => {
            format!("{}:{port}", Ipv4Addr::LOCALHOST)
        }
        Ok(IpAddr::V6(address)) if address.is_unspecified() => {
            format!("[{}]:{port}", Ipv6Addr::LOCALHOST)
        }
        Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        Ok(IpAddr::V4(_)) | Err(_) => format!("{host}:{port}"),
    }
}

/// Who answers so when it is asked for its status.
fn identify(status: u16, body: &[u8]) -> Option<Occupant> {
    match status {
        200 => {
            let moment: Moment = serde_json::from_slice(body).ok()?;
            (!moment.worker_id.is_empty()).then(|| Occupant::Worker {
                name: moment.name().to_owned(),
                version: moment.version,
            })
        }
        401 => {
            let names_it = String::from_utf8_lossy(body).contains(TOKEN);
            names_it.then_some(Occupant::Guarded)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_known_by_its_status_and_by_the_token_that_it_wants() {
        let status =
            br#"{"worker_id":"calm-red-fox","worker_name":null,"version":"0.1.0","new":1}"#;
        let worker = Occupant::Worker {
            name: "calm-red-fox".to_owned(),
            version: "0.1.0".to_owned(),
        };
        assert_eq!(identify(200, status), Some(worker));
        let wants = b"a bearer token is needed, the worker's WORKER_HTTP_TOKEN";
        assert_eq!(identify(401, wants), Some(Occupant::Guarded));
        for (status, body) in [
            (200, &b"OK"[..]),
            (200, b"{}"),
            (401, b""),
            (404, wants),
            (503, b"{}"),
        ] {
            assert_eq!(identify(status, body), None, "{status}");
        }
    }

    #[test]
    fn a_server_on_all_addresses_is_asked_on_this_machines_own() {
        assert_eq!(reachable("0.0.0.0", 1), "127.0.0.1:1");
        assert_eq!(reachable("::", 1), "[::1]:1");
        assert_eq!(reachable("fe80::2", 1), "[fe80::2]:1");
        assert_eq!(reachable("localhost", 1), "localhost:1");
        assert_eq!(reachable("10.0.0.1", 1), "10.0.0.1:1");
    }
}
