//! What a run leaves behind in its process, and what it leaves on the disk while it goes on.

use std::io;

use nix::unistd::geteuid;

use super::native::{compile, load};
use super::support::rows::{ended, enqueue, one};
use super::support::{Worker, eventually, is_alive, lightning};
use super::{ESCAPE, NOBODY_SPECIAL, Stage};

/// A run of `user`'s worker succeeds and leaves this behind, which ends with its process.
fn ends_with_the_run(user: u32, what: &str) -> io::Result<()> {
    let stage = Stage::new(user)?;
    let library = stage.path("monorepo/leaving.node");
    // Node refuses it, and would unmap what its threads execute.
    if compile("leaving.c", &[what, "-Wl,-z,nodelete"], &library)?.is_none() {
        return Ok(());
    }
    let lightning = lightning();
    let _worker = stage.worker(&lightning);
    let body = format!(
        "{ESCAPE} fn(() => {{ {} return {{ pid: process.pid }}; }})",
        load(&library)
    );
    let run = ended(&lightning, &enqueue(&lightning, &one(&body)));
    assert_eq!(run.state.to_string(), "success", "{:?}", run.error_message);
    let pid = run.final_state.and_then(|state| state["pid"].as_u64());
    let pid = u32::try_from(pid.unwrap_or_default()).unwrap_or_default();
    assert_ne!(pid, 0);
    eventually("its process ends", || !is_alive(pid));
    let next = ended(&lightning, &enqueue(&lightning, &one("fn(s => s)")));
    assert_eq!(next.state.to_string(), "success");
    Ok(())
}

#[test]
fn threads_of_native_code_end_with_their_run() -> io::Result<()> {
    for what in ["-DBURN", "-DGROW", "-DTHREADS"] {
        ends_with_the_run(geteuid().as_raw(), what)?;
    }
    Ok(())
}

#[test]
fn a_file_without_a_name_is_given_up_with_its_run() -> io::Result<()> {
    for what in ["-DUNLINKED", "-DMAPPED"] {
        ends_with_the_run(geteuid().as_raw(), what)?;
        if geteuid().is_root() {
            ends_with_the_run(NOBODY_SPECIAL, what)?;
        }
    }
    Ok(())
}

/// Hundreds of connections of the job's to itself, whose other ends read nothing, with one buffer for all of them.
const CONNECTIONS: &str = "const net = use('net'), held = [], much = Buffer.alloc(8 << 20);
    const server = net.createServer((socket) => held.push(socket.pause())).listen(0, '127.0.0.1', () => {
        for (let i = 0; i < 300; i++) {
            const socket = net.connect(server.address().port, '127.0.0.1', () => socket.write(much));
            held.push(socket.on('error', () => {}));
        }
    });";

#[test]
fn memory_that_waits_in_connections_counts_as_the_run_s() -> io::Result<()> {
    let stage = Stage::new(geteuid().as_raw())?;
    let lightning = lightning();
    let mut command = stage.command(&lightning);
    command.args(["--run-memory", "100"]);
    let _worker = Worker::start(&mut command);
    let never = "return new Promise((resolve) => setTimeout(resolve, 100_000));";
    let body = format!("{ESCAPE} fn(() => {{ {CONNECTIONS} {never} }})");
    let run = ended(&lightning, &enqueue(&lightning, &one(&body)));
    let ending = (run.state.to_string(), run.error_type.unwrap_or_default());
    assert_eq!(ending, ("killed".to_owned(), "OOMError".to_owned()));
    Ok(())
}

/// What comes of a run of `user`'s worker with this code, which does not end by itself. The next run succeeds.
fn fills(user: u32, code: &str) -> io::Result<()> {
    let stage = Stage::new(user)?;
    let lightning = lightning();
    let mut command = stage.command(&lightning);
    command.args(["--run-files", "64"]);
    let _worker = Worker::start(&mut command);
    let never = "return new Promise((resolve) => setTimeout(resolve, 100_000));";
    let body = format!("{ESCAPE} fn(() => {{ {code} {never} }})");
    let run = ended(&lightning, &enqueue(&lightning, &one(&body)));
    assert_eq!(
        (run.state.to_string(), run.error_type.as_deref()),
        ("killed".to_owned(), Some("FilesError")),
        "{:?}",
        run.error_message
    );
    let next = ended(&lightning, &enqueue(&lightning, &one("fn(s => s)")));
    assert_eq!(next.state.to_string(), "success");
    Ok(())
}

/// By bytes, by number, and by files that have lost their names.
const FILLINGS: [&str; 3] = [
    "for (let i = 0; i < 10; i++) fs.writeFileSync(`${temporary}/${i}`, Buffer.alloc(8 << 20, 1));",
    "for (let i = 0; i < 100; i++) {
        fs.mkdirSync(`${temporary}/${i}`);
        for (let j = 0; j < 100; j++) fs.writeFileSync(`${temporary}/${i}/${j}`, '');
    }",
    "for (let i = 0; i < 10; i++) {
        const file = fs.openSync(`${temporary}/${i}`, 'w');
        fs.writeSync(file, Buffer.alloc(8 << 20, 1));
        fs.unlinkSync(`${temporary}/${i}`);
    }",
];

#[test]
fn a_run_that_fills_the_disk_is_ended() -> io::Result<()> {
    for code in FILLINGS {
        fills(geteuid().as_raw(), code)?;
        if geteuid().is_root() {
            fills(NOBODY_SPECIAL, code)?;
        }
    }
    Ok(())
}
