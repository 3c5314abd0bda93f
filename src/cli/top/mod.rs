//! `ws-worker top`: what the status page shows, in a terminal, for one worker or several.
//!
//! [`follow`] listens to each worker's `/events`, [`state`] is what is known and chosen, [`page`] and [`view`] make a picture of
//! it without a terminal, [`screen`] is the terminal.

mod follow;
mod page;
mod plots;
mod screen;
mod state;
mod view;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use actors::config::Secret;
use actors::lightning::TlsError;
use clap::Args;
use ratatui::crossterm::terminal;
use tokio::sync::mpsc;

use self::follow::{AGAIN, News, follow};
use self::state::State;
use crate::remote::WorkerUrl;

/// What `top` is told.
#[derive(Debug, Args)]
#[command(
    after_help = "Keys: left and right choose a worker, up and down scroll, q ends. Without a terminal one snapshot is printed."
)]
pub struct TopArgs {
    /// Addresses of workers, such as http://worker-1:2222
    #[arg(required = true, value_delimiter = ',', value_name = "URL")]
    urls: Vec<WorkerUrl>,
    /// Bearer token of the workers [env: WORKER_HTTP_TOKEN]
    #[arg(long, value_name = "TEXT")]
    token: Option<String>,
    /// Print one snapshot and end; 1 when a worker does not answer
    #[arg(long)]
    once: bool,
}

/// Why there is nothing to see.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The terminal cannot be used.
    #[error("the terminal cannot be used; --once needs none")]
    Terminal(#[source] io::Error),
    /// Standard output is closed.
    #[error("standard output cannot be written to")]
    Output(#[source] io::Error),
    /// The system gives no signals or threads.
    #[error("the operating system refused a resource")]
    Resource(#[source] io::Error),
}

/// Shows the workers until the user has seen enough; returns the exit code. To be called inside an actix System.
///
/// # Errors
///
/// The terminal or standard output cannot be used, or there is no TLS. A worker that does not answer is shown as such.
pub async fn run(args: TopArgs) -> Result<u8, TopError> {
    let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    let token = args
        .token
        .or_else(|| variable("WORKER_HTTP_TOKEN"))
        .map(Secret::new);
    let extra_ca_file = variable("NODE_EXTRA_CA_CERTS").map(PathBuf::from);
    let client = actors::lightning::http_client(extra_ca_file.as_deref())?;
    let mut state = State::new(args.urls.clone());
    let (sender, mut news) = mpsc::channel(64);
    for (number, url) in args.urls.into_iter().enumerate() {
        let (client, token, sender) = (client.clone(), token.clone(), sender.clone());
        actix_rt::spawn(follow(number, url, client, token, sender, AGAIN));
    }
    if args.once || !io::stdout().is_terminal() {
        return snapshot(&mut state, &mut news).await;
    }
    screen::show(&mut state, &mut news).await?;
    Ok(0)
}

/// Prints what the workers say first.
async fn snapshot(state: &mut State, news: &mut mpsc::Receiver<News>) -> Result<u8, TopError> {
    while !state.is_complete() {
        let Some(news) = news.recv().await else { break };
        state.hear(news);
    }
    state.now_ms = now_ms();
    let text = view::plain(state, columns());
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(TopError::Output)?;
    Ok(u8::from(!state.all_answer()))
}

/// Where a snapshot's lines are cut: nowhere, unless they go to a terminal or the user says so.
fn columns() -> Option<u16> {
    let told = std::env::var("COLUMNS").ok();
    told.and_then(|text| text.parse().ok()).or_else(|| {
        let size = io::stdout().is_terminal().then(terminal::size)?;
        Some(size.ok()?.0)
    })
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
