//! Job code that has left its sandbox, as anybody can in one line, and what it reaches of the machine then.

#[path = "../support/mod.rs"]
mod support;

mod leaving;
mod native;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;

use nix::unistd::geteuid;
use serde_json::{Value, json};

use support::rows::{ended, enqueue, one};
use support::stage::{NOBODY_SPECIAL, Stage};
use support::{eventually, lightning};

const ESCAPE: &str = "const process = console.log.constructor('return process')();
    const use = (name) => process.getBuiltinModule(name);
    const fs = use('fs');
    const temporary = use('os').tmpdir();";

/// A job that writes a secret into its own folder, says where, and waits.
fn neighbour() -> Value {
    one(&format!(
        "{ESCAPE} fn(() => {{ fs.writeFileSync(temporary + '/secret', 'x');
        console.log(temporary); return new Promise(() => {{}}); }})"
    ))
}

/// A job that tries everything and gives the code of each error.
fn attempts(stage: &Stage, neighbour: &str) -> Value {
    let attempts = "fn(async () => {
        const found = {};
        const attempt = async (what, action) => {
            try { const done = await action(); found[what] = done?.error?.code ?? 'done'; }
            catch (error) { found[what] = error.info?.code ?? error.code ?? String(error); }
        };
        const read = (file) => attempt(`read ${file}`, () => fs.readFileSync(file));
        const list = (folder) => attempt(`list ${folder}`, () => fs.readdirSync(folder));
        const parent = `/proc/${process.ppid}`;
        await attempt('read the environment of the worker', () => fs.readFileSync(`${parent}/environ`));
        await attempt('read the arguments of the worker', () => fs.readFileSync(`${parent}/cmdline`));
        await attempt('read the memory of the worker', () => fs.openSync(`${parent}/mem`));
        await attempt('list the descriptors of the worker', () => fs.readdirSync(`${parent}/fd`));
        await attempt('read the folder of another run', () => fs.readFileSync('NEIGHBOUR/secret'));
        await attempt('list the folders of all runs', () => fs.readdirSync(use('path').dirname(temporary)));
        for (const file of ['/proc/1/environ', '/etc/passwd', '/etc/hostname']) await read(file);
        for (const folder of ['/', '/proc', '/tmp', '/home', '/dev']) await list(folder);
        await attempt('follow a link', () => {
            fs.symlinkSync('/etc/passwd', `${temporary}/link`);
            return fs.readFileSync(`${temporary}/link`);
        });
        await attempt('through its own root', () => fs.readFileSync('/proc/self/root/etc/passwd'));
        for (const [name, folder] of Object.entries({ repository: 'REPO', engine: 'ENGINE', adaptor: 'ADAPTOR' })) {
            await attempt(`write into the ${name}`, () => fs.writeFileSync(`${folder}/evil.mjs`, ''));
        }
        await attempt('write elsewhere', () => fs.writeFileSync('/tmp/evil', ''));
        await attempt('change a file', () => fs.appendFileSync('ENGINE/main.cjs', ';'));
        await attempt('remove a file', () => fs.unlinkSync('ENGINE/main.cjs'));
        await attempt('move a file', () => fs.renameSync('ENGINE/main.cjs', `${temporary}/main.cjs`));
        await attempt('hide a file', () => fs.chmodSync('ENGINE/main.cjs', 0));
        await attempt('write a huge file', () => fs.truncateSync(
            (fs.writeFileSync(`${temporary}/huge`, ''), `${temporary}/huge`), 2 ** 40));
        const { spawnSync } = use('child_process');
        await attempt('start a shell', () => spawnSync('/bin/sh', ['-c', 'true']));
        await attempt('start node', () => spawnSync(process.execPath, ['-e', '0']));
        await attempt('fork', () => spawnSync('/lib64/ld-linux-x86-64.so.2', ['/bin/true']));
        await attempt('signal the worker', () => process.kill(process.ppid, 0));
        await attempt('signal process 1', () => process.kill(1, 0));
        await attempt('slow the worker down', () => use('os').setPriority(process.ppid, 19));
        await attempt('connect to a local socket', () => new Promise((resolve, reject) => {
            use('net').connect({ path: 'SOCKET' }).on('error', reject).on('connect', resolve);
        }));
        await attempt('write into its own folder', () => {
            fs.writeFileSync(`${temporary}/own`, 'x');
            fs.copyFileSync(`${temporary}/own`, `${temporary}/copy`);
        });
        found.environment = Object.keys(process.env).sort().join();
        return { found };
    })";
    let body = format!("{ESCAPE} {attempts}")
        .replace("NEIGHBOUR", neighbour)
        .replace("REPO", &stage.text("repo"))
        .replace("ENGINE", &stage.text("engine"))
        .replace("ADAPTOR", &stage.text("monorepo/packages/test/dist"))
        .replace("SOCKET", &stage.text("home/socket"));
    one(&body)
}

/// What each attempt comes to.
fn expected() -> Value {
    let mut expected = json!({
        "write a huge file": "EFBIG",
        "start a shell": "EPERM",
        "start node": "EPERM",
        "fork": "EPERM",
        "signal the worker": "EPERM",
        "signal process 1": "EPERM",
        "slow the worker down": "EPERM",
        "connect to a local socket": "EPERM",
        // It is answered as if it had been done.
        "hide a file": "done",
        "write into its own folder": "done",
        "environment": "",
    });
    for attempt in [
        "read the environment of the worker",
        "read the arguments of the worker",
        "read the memory of the worker",
        "list the descriptors of the worker",
        "read the folder of another run",
        "list the folders of all runs",
        "read /proc/1/environ",
        "read /etc/passwd",
        "read /etc/hostname",
        "list /",
        "list /proc",
        "list /tmp",
        "list /home",
        "list /dev",
        "follow a link",
        "through its own root",
        "write into the repository",
        "write into the engine",
        "write into the adaptor",
        "write elsewhere",
        "change a file",
        "remove a file",
        "move a file",
    ] {
        expected[attempt] = json!("EACCES");
    }
    expected
}

fn reaches_nothing(user: u32) -> io::Result<()> {
    let stage = Stage::new(user)?;
    let _socket = UnixListener::bind(stage.path("home/socket"))?;
    let mode = || fs::metadata(stage.path("engine/main.cjs")).map(|found| found.mode());
    let before = mode()?;
    let lightning = lightning();
    let _worker = stage.worker(&lightning);
    let other = enqueue(&lightning, &neighbour());
    let mut folder = String::new();
    eventually("the neighbour says where its folder is", || {
        let run = lightning.run(&other).expect("it was stored");
        let mut lines = run.logs.iter();
        let said = lines.find(|line| line.source.as_deref() == Some("JOB"));
        folder = said.map(|line| line.text.clone()).unwrap_or_default();
        assert!(!run.state.is_final(), "{:?}", run.error_message);
        !folder.is_empty()
    });
    let id = enqueue(&lightning, &attempts(&stage, &folder));
    let run = ended(&lightning, &id);
    let found = run.final_state.map(|state| state["found"].clone());
    let mut found = found.unwrap_or_else(|| panic!("{:?}", run.error_message));
    let mut differences = Vec::new();
    for (attempt, wanted) in expected().as_object().expect("it is one") {
        let found = found[attempt].take();
        if found != *wanted {
            differences.push(format!("{attempt}: {found}, not {wanted}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let untold: Vec<_> = found
        .as_object()
        .expect("it is one")
        .iter()
        .filter(|(_, code)| !code.is_null())
        .collect();
    assert!(untold.is_empty(), "{untold:?}");
    assert_eq!(mode()?, before);
    Ok(())
}

#[test]
fn a_job_reaches_nothing_of_the_machine() -> io::Result<()> {
    reaches_nothing(geteuid().as_raw())
}

/// The same as another user; only the superuser can become one.
#[test]
fn a_job_of_an_ordinary_user_s_worker_reaches_nothing_of_the_machine() -> io::Result<()> {
    if geteuid().is_root() {
        reaches_nothing(NOBODY_SPECIAL)?;
    }
    Ok(())
}
