//! The settings of the HTTP server.

use std::path::PathBuf;

use actors::config::Secret;

use super::problem::SettingProblem;
use super::resolver::Resolver;
use super::{HttpSettings, table, values};
use crate::remote::WorkerUrl;

pub(super) fn http(from: &mut Resolver, extra_ca_file: Option<PathBuf>) -> HttpSettings {
    HttpSettings {
        host: from.required(&table::HOST, values::text),
        port: from.required(&table::PORT, values::port),
        token: from
            .optional(&table::HTTP_TOKEN, values::text)
            .map(Secret::new),
        peers: peers(from),
        extra_ca_file,
    }
}

fn peers(from: &mut Resolver) -> Vec<WorkerUrl> {
    let mut peers = Vec::new();
    for text in from.list(&table::PEERS) {
        match text.parse() {
            Ok(url) => peers.push(url),
            Err(why) => from.problem(SettingProblem::new(format!(
                "{}: {text:?} {why}",
                table::PEERS.names()
            ))),
        }
    }
    peers
}
