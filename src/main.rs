//! `ws-worker`: parses the command line, sets up what belongs to the whole process, and turns the outcome into an exit code.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use actors::causes::with_causes;
use clap::{CommandFactory as _, Parser as _};
use log_events::{event, table};
use ws_worker::cli::{
    Cli, Command, Flags, check, compile, demo, replay, show_config, top, version,
};
use ws_worker::ipc::{self, ParentChannel};
use ws_worker::settings::BadSettings;
use ws_worker::{logging, start};

/// A failed start, drain or configuration, see the command line spec, section 3.
const FAILED: u8 = 1;
/// A command line, or a file that it names, that cannot be used.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    // First of all: a descriptor that is named by number has to be taken before we open one that gets that number.
    let parent = std::env::var(ipc::VARIABLE)
        .ok()
        .and_then(|variable| ParentChannel::take(&variable));
    if version::is_asked(std::env::args_os().skip(1)) {
        return match std::io::stdout().write_all(version::text().as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(FAILED),
        };
    }
    let outcome = match Cli::parse().into_command() {
        Command::Start(flags) => run_worker(flags, parent),
        Command::Demo(args) => run_demo(args),
        Command::Replay(args) => return run_replay(args),
        Command::Check(args) => run_check(args),
        Command::Config(flags) => show(flags),
        Command::Top(args) => run_top(args),
        Command::Compile(args) => compile::run(&args).map_err(Into::into),
        Command::Completions { shell } => completions(shell),
    };
    match outcome {
        Ok(code) => leave(code),
        Err(error) => {
            report(&*error);
            leave(FAILED)
        }
    }
}

type Ending = Result<u8, Box<dyn Error>>;

fn run_worker(flags: Flags, parent: Option<ParentChannel>) -> Ending {
    let settings = flags.settings(std::env::vars_os())?;
    let log = logging::init(&settings.log)?;
    prepare_process();
    Ok(actix_rt::System::new().block_on(start::run(settings, parent, log))?)
}

fn run_demo(args: demo::DemoArgs) -> Ending {
    prepare_process();
    Ok(actix_rt::System::new().block_on(demo::run(args, std::env::vars_os()))?)
}

fn run_top(args: top::TopArgs) -> Ending {
    start::install_tls();
    Ok(actix_rt::System::new().block_on(top::run(args))?)
}

/// Differences are 1 here, so what keeps a recording from being replayed is an error of usage.
fn run_replay(args: replay::ReplayArgs) -> ExitCode {
    prepare_process();
    match actix_rt::System::new().block_on(replay::run(args)) {
        Ok(code) => leave(code),
        Err(error) => {
            report(&error);
            leave(USAGE)
        }
    }
}

/// Shows what counts even where something is wrong: that is when it is looked at.
fn show(flags: Flags) -> Ending {
    let (settings, problems) = flags.inspect(std::env::vars_os());
    std::io::stdout().write_all(show_config::render(&settings).as_bytes())?;
    if problems.is_empty() {
        Ok(0)
    } else {
        Err(BadSettings(problems).into())
    }
}

fn completions(shell: clap_complete::Shell) -> Ending {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ws-worker", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(0)
}

fn run_check(args: check::CheckArgs) -> Ending {
    prepare_process();
    let system = actix_rt::System::new();
    let report = system.block_on(check::run(args, std::env::vars_os()));
    std::io::stdout().write_all(report.to_string().as_bytes())?;
    Ok(report.exit_code())
}

/// What must hold for the whole process before it handles a secret or a connection.
fn prepare_process() {
    // Engine children run as the same user: without this they could read our memory and environment under /proc.
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        event!(table::WORKER_MEMORY_READABLE, error:% = error; "the memory of this process cannot be hidden from its children: {error}");
    }
    start::install_tls();
}

#[expect(
    clippy::print_stderr,
    reason = "the log may not be set up, and an operator looks at stderr when nothing starts"
)]
fn report(error: &dyn Error) {
    eprintln!("ws-worker: {}", with_causes(error));
}

#[expect(
    clippy::exit,
    reason = "dropping the runtime would wait for blocking work, such as an npm that nobody needs any more"
)]
fn leave(code: u8) -> ! {
    log::logger().flush();
    std::process::exit(i32::from(code))
}
