//! The mock Lightning as a program.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lightning_mock::{Announce, Builder, MockLightning, Rule};
use tokio::signal::unix::{SignalKind, signal};

/// A mock Lightning server: a worker claims runs from it, you enqueue them with POST /run
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 takes a free one
    #[arg(short, long, default_value_t = 8888)]
    port: u16,
    /// Check the tokens of workers against this secret; without it any token is let in
    #[arg(short, long, env = "WORKER_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// RSA private key (PEM) that signs run tokens, instead of the built-in test key
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Log filter, e.g. debug
    #[arg(long, default_value = "info")]
    log: String,
    /// Collections that exist, separated by commas; without this any name exists
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    collections: Vec<String>,
    /// Tell workers of each new run, not only of those posted with ?wakeup
    #[arg(long)]
    announce: bool,
    /// Something that goes wrong, e.g. step:complete@2=cut-after; may be repeated, see the README
    #[arg(long, value_name = "RULE")]
    chaos: Vec<Rule>,
    /// Seed of the chaos rules that go by chance
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    chaos_seed: u64,
    /// Answer as OpenFn's npm mock does
    #[arg(long)]
    quirks: bool,
    /// Take a worker's offer of permessage-deflate
    #[arg(long)]
    compression: bool,
}

/// Why the program ends with an error.
#[derive(Debug, thiserror::Error)]
enum MainError {
    #[error("cannot read the key {0}")]
    Key(PathBuf, #[source] io::Error),
    #[error(transparent)]
    Start(#[from] lightning_mock::StartError),
    #[error("cannot listen for signals or write to standard output")]
    System(#[from] io::Error),
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    env_logger::Builder::new().parse_filters(&flags.log).init();
    match actix_rt::System::new().block_on(serve(flags)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            log::error!("{text}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(flags: Flags) -> Result<(), MainError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mock = builder(flags)?.start().await?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{}", mock.url())?;
    stdout.flush()?;
    log::info!("workers connect to {}", mock.ws_url());
    log::info!("public key of run tokens: {}", mock.public_key());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    mock.stop().await;
    Ok(())
}

fn builder(flags: Flags) -> Result<Builder, MainError> {
    let announce = if flags.announce {
        Announce::Debounced
    } else {
        Announce::OnRequest
    };
    let mut builder = MockLightning::builder()
        .host(flags.host)
        .port(flags.port)
        .secret(flags.secret.as_deref())
        .announce(announce)
        .quirks(flags.quirks)
        .compression(flags.compression)
        .chaos(flags.chaos, flags.chaos_seed)
        // The program runs for long and has no way to show the recording.
        .record(false);
    if let Some(file) = flags.key {
        let pem = std::fs::read_to_string(&file).map_err(|error| MainError::Key(file, error))?;
        builder = builder.run_token_key(pem);
    }
    for name in flags.collections {
        builder = builder.collection(name);
    }
    Ok(builder)
}
