//! Where jobs cannot connect to: the worker itself, metadata services, and what the operator denies; and that they can connect
//! to everything else.

mod support;

use std::fs;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lightning_mock::{MockServer, RunView};
use nix::libc;
use nix::unistd::geteuid;
use serde_json::{Value, json};

use support::http::get;
use support::kernel::{Lack, without};
use support::rows::{ended, enqueue, one};
use support::stage::{NOBODY_SPECIAL, Stage};
use support::{MONOREPO, Worker, command_with_engine, lightning};

const ESCAPE: &str = "const process = console.log.constructor('return process')();
    const fetch = console.log.constructor('return fetch')();
    const use = (name) => process.getBuiltinModule(name);
    const net = use('net');
    const reach = (host, port) => new Promise((resolve) => {
        const socket = net.connect({ host, port });
        socket.on('error', (error) => resolve((error.message || error.code).split(' - ')[0]));
        socket.on('connect', () => { socket.destroy(); resolve('connected'); });
    });
    const found = {};";

fn worker(lightning: &MockServer, arguments: &[&str]) -> Worker {
    let mut command = command_with_engine(lightning);
    command.args(["--monorepo-dir", MONOREPO, "--capacity", "1"]);
    Worker::start(command.args(arguments))
}

fn run(lightning: &MockServer, job: &str) -> RunView {
    let body = format!("{ESCAPE} fn(async () => {{ {job}; return {{ found }}; }})");
    ended(lightning, &enqueue(lightning, &one(&body)))
}

/// What a job has found.
fn found(run: &RunView) -> Value {
    let state = run.final_state.as_ref();
    state.map_or_else(
        || panic!("{:?}: {:?}", run.error_message, run.logs),
        |state| state["found"].clone(),
    )
}

/// The lines of a run's log about refusals.
fn refusals(run: &RunView) -> Vec<String> {
    let lines = run
        .logs
        .iter()
        .filter(|line| line.text.contains("refused: --deny-egress"));
    let told = |line: &lightning_mock::LogView| {
        assert_eq!(line.source.as_deref(), Some("RTE"));
        assert_eq!(line.level, "warn");
        line.text.clone()
    };
    lines.map(told).collect()
}

fn port_of(worker: &Worker) -> u16 {
    let (_, port) = worker.url().rsplit_once(':').expect("a port");
    port.parse().expect("a number")
}

/// An address of this host that is not loopback, if it has one.
fn interface() -> Option<String> {
    // Choosing a route sends nothing.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then(|| address.to_string())
}

#[test]
fn a_job_cannot_reach_the_worker_itself() {
    let lightning = lightning();
    let worker = worker(&lightning, &["--host", "::"]);
    let port = port_of(&worker);
    let mut hosts = [
        "127.0.0.1",
        "localhost",
        "127.0.0.2",
        "0.0.0.0",
        "[::1]",
        "[::]",
    ]
    .map(String::from)
    .to_vec();
    hosts.push("[::ffff:127.0.0.1]".to_owned());
    hosts.extend(interface());
    let job = format!(
        "for (const host of {hosts}) for (const [method, path] of [['GET', 'status'], ['POST', 'claim']]) {{
            try {{ found[`${{method}} ${{host}}`] = (await fetch(`http://${{host}}:{port}/${{path}}`, {{ method }})).status; }}
            catch (error) {{ found[`${{method}} ${{host}}`] = error.cause?.code ?? String(error); }}
        }}",
        hosts = json!(hosts),
    );
    let run = run(&lightning, &job);
    let mut expected = json!({});
    for host in &hosts {
        expected[format!("GET {host}")] = json!("EACCES");
        expected[format!("POST {host}")] = json!("EACCES");
    }
    assert_eq!(found(&run), expected);
    let status: Value = serde_json::from_str(&get(worker.url(), "/status").body).expect("JSON");
    assert_eq!(status["engine"]["egress"], "controlled");
    let told = refusals(&run);
    let line = format!("a connection to 127.0.0.1:{port} was refused: --deny-egress own-port");
    assert!(told.len() == 1 && told[0].contains(&line), "{told:?}");
}

/// No packet leaves: a time-out would be the answer of one that did.
#[test]
fn a_job_cannot_reach_metadata_services_and_its_log_says_why_once() {
    let lightning = lightning();
    let _worker = worker(&lightning, &[]);
    let job = "const dgram = use('dgram');
        for (const host of ['169.254.169.254', 'fe80::1%lo', 'fd00:ec2::254', '100.100.100.200', '168.63.129.16', '192.0.0.192'])
            found[host] = await reach(host, 80);
        found.again = await reach('169.254.169.254', 80);
        const udp = (act) => new Promise((resolve) => {
            const socket = dgram.createSocket('udp4');
            socket.on('error', (error) => resolve(error.code));
            act(socket, (error) => resolve(error?.code ?? 'sent'));
        });
        found.send = await udp((socket, done) => socket.send('x', 80, '169.254.169.254', done));
        found.connect = await udp((socket, done) => socket.connect(80, '169.254.169.254', done))";
    for _ in 0..2 {
        // The second run is told again.
        let run = run(&lightning, job);
        assert_eq!(
            found(&run),
            json!({
                "169.254.169.254": "connect EACCES 169.254.169.254:80",
                "fe80::1%lo": "connect EACCES fe80::1%lo:80",
                "fd00:ec2::254": "connect EACCES fd00:ec2::254:80",
                "100.100.100.200": "connect EACCES 100.100.100.200:80",
                "168.63.129.16": "connect EACCES 168.63.129.16:80",
                "192.0.0.192": "connect EACCES 192.0.0.192:80",
                "again": "connect EACCES 169.254.169.254:80",
                "send": "EACCES",
                "connect": "EACCES",
            })
        );
        let told = refusals(&run);
        assert_eq!(told.len(), 6, "{told:?}");
        let line = "a connection to 169.254.169.254:80 was refused: --deny-egress 169.254.0.0/16";
        assert!(told[0].contains(line), "{told:?}");
    }
}

#[test]
fn a_job_reaches_everything_else() {
    let lightning = lightning();
    let _worker = worker(
        &lightning,
        &[
            "--deny-egress",
            "127.0.0.0/29",
            "--allow-egress",
            "127.0.0.1,127.0.0.4",
        ],
    );
    let job = "const http = use('http'), tls = use('tls'), dns = use('dns'), dgram = use('dgram');
        const listening = (server, host) => new Promise((resolve) => server.listen(0, host, () => resolve(server.address().port)));
        const web = http.createServer((_, response) => response.end('fine'));
        const port = await listening(web, '0.0.0.0');
        for (const host of ['127.0.0.1', '127.0.0.4', '127.0.0.9', 'localhost'])
            found[host] = await (await fetch(`http://${host}:${port}/`)).text();
        found['127.0.0.3'] = await reach('127.0.0.3', port);
        const large = Buffer.alloc(8 << 20, 'x');
        found.posted = (await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: large })).status;
        web.close(); web.closeAllConnections();
        const psk = { ciphers: 'PSK', minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' }, key = Buffer.alloc(16, 1);
        const secure = tls.createServer({ ...psk, pskCallback: () => key }, (socket) => socket.end('secret'));
        const securePort = await listening(secure, '127.0.0.1');
        found.tls = await new Promise((resolve, reject) => {
            const socket = tls.connect({ ...psk, host: '127.0.0.1', port: securePort, checkServerIdentity: () => undefined,
                pskCallback: () => ({ psk: key, identity: 'x' }) });
            socket.on('error', reject);
            socket.on('data', (data) => resolve(String(data)));
        });
        secure.close();
        found.lookup = (await dns.promises.lookup('localhost', 4)).address;
        const names = dgram.createSocket('udp4');
        names.on('message', (query, from) => {
            const question = query.subarray(12, query.indexOf(0, 12) + 5);
            const head = Buffer.from([query[0], query[1], 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
            names.send(Buffer.concat([head, question, answer]), from.port, from.address);
        });
        await new Promise((resolve) => names.bind(0, '127.0.0.1', resolve));
        const resolver = new dns.promises.Resolver();
        resolver.setServers([`127.0.0.1:${names.address().port}`]);
        found.resolve = await resolver.resolve4('a.test');
        names.close()";
    let run = run(&lightning, job);
    assert_eq!(
        found(&run),
        json!({
            "127.0.0.1": "fine",
            "127.0.0.4": "fine",
            "127.0.0.9": "fine",
            "localhost": "fine",
            "127.0.0.3": found(&run)["127.0.0.3"],
            "posted": 200,
            "tls": "secret",
            "lookup": "127.0.0.1",
            "resolve": ["192.0.2.7"],
        })
    );
    let refused = found(&run)["127.0.0.3"].to_string();
    assert!(refused.contains("connect EACCES 127.0.0.3:"), "{refused}");
    assert_eq!(refusals(&run).len(), 1);
}

#[test]
fn nothing_is_denied_where_the_operator_says_so() {
    let lightning = lightning();
    let worker = worker(&lightning, &["--deny-egress", "none"]);
    let job = format!("found.own = await reach('127.0.0.1', {})", port_of(&worker));
    let run = run(&lightning, &job);
    assert_eq!(found(&run), json!({ "own": "connected" }));
    let status: Value = serde_json::from_str(&get(worker.url(), "/status").body).expect("JSON");
    assert_eq!(status["engine"]["egress"], "open");
}

/// Native code, in a library that a job writes into its folder and loads.
fn native_code_reaches_nothing_denied(
    user: u32,
    start: impl FnOnce(&mut Command) -> Worker,
) -> io::Result<()> {
    let stage = Stage::new(user)?;
    let lightning = lightning();
    let peers = Peers::new();
    let mut command = stage.command(&lightning);
    command.args(["--deny-egress", "127.0.0.3"]);
    let worker = start(&mut command);
    let library = library(stage.path("tmp").as_path(), peers.port, port_of(&worker))?;
    let job = format!(
        "const fs = use('fs'), folder = use('os').tmpdir();
        fs.writeFileSync(`${{folder}}/attack.node`, Buffer.from('{library}', 'base64'));
        try {{ process.dlopen({{ exports: {{}} }}, `${{folder}}/attack.node`); }} catch {{}}
        found.said = fs.readFileSync(`${{folder}}/said`, 'utf8')"
    );
    let run = run(&lightning, &job);
    let said = found(&run)["said"].as_str().unwrap_or_default().to_owned();
    let expected = include_str!("../sandbox/src/tests/attack.txt");
    let differences: Vec<_> = expected
        .lines()
        .zip(said.lines())
        .filter(|(expected, said)| expected != said)
        .collect();
    assert!(differences.is_empty(), "{differences:?}");
    assert_eq!(said.lines().count(), expected.lines().count(), "{said}");
    peers.nothing_has_come();
    let told = refusals(&run);
    assert_eq!(told.len(), 2, "{told:?}");
    Ok(())
}

fn library(folder: &Path, port: u16, own: u16) -> io::Result<String> {
    let folder = tempfile::tempdir_in(folder)?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
    let file = folder.path().join("attack.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/sandbox/src/tests/attack.c");
    let compiled = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-pthread", "-o"])
        .args([file.as_path(), Path::new(source)])
        .args([
            "-DALLOWED=0x7f000001u",
            "-DDENIED=0x7f000003u",
            "-DOUT=\"said\"",
        ])
        .args([format!("-DPORT={port}"), format!("-DOWN={own}")])
        .status()?;
    assert!(compiled.success());
    Ok(STANDARD.encode(fs::read(file)?))
}

/// What listens on a port of an address that is allowed and of one that is not.
struct Peers {
    port: u16,
    _allowed: (TcpListener, UdpSocket),
    denied: (TcpListener, UdpSocket),
}

impl Peers {
    fn new() -> Self {
        loop {
            let allowed = TcpListener::bind("127.0.0.1:0").expect("a port is free");
            let port = allowed.local_addr().expect("it has an address").port();
            let others = || -> io::Result<_> {
                let denied = TcpListener::bind(("127.0.0.3", port))?;
                let [here, there] =
                    ["127.0.0.1", "127.0.0.3"].map(|host| UdpSocket::bind((host, port)));
                Ok((here?, (denied, there?)))
            };
            // Somebody else may have it there.
            let Ok((here, denied)) = others() else {
                continue;
            };
            return Self {
                port,
                _allowed: (allowed, here),
                denied,
            };
        }
    }

    fn nothing_has_come(&self) {
        let (tcp, udp) = &self.denied;
        let nothing = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        tcp.set_nonblocking(true).expect("it can be");
        udp.set_nonblocking(true).expect("it can be");
        assert!(tcp.accept().is_err_and(nothing));
        assert!(udp.recv(&mut [0; 8]).is_err_and(nothing));
    }
}

#[test]
fn native_code_of_a_job_reaches_nothing_that_is_denied() -> io::Result<()> {
    native_code_reaches_nothing_denied(geteuid().as_raw(), Worker::start)
}

#[test]
fn nor_does_it_where_the_worker_is_an_ordinary_user_s() -> io::Result<()> {
    if geteuid().is_root() {
        native_code_reaches_nothing_denied(NOBODY_SPECIAL, Worker::start)?;
    }
    Ok(())
}

/// Docker's profile, for one.
#[test]
fn nor_does_it_in_a_container_whose_profile_has_no_pidfd_getfd() -> io::Result<()> {
    native_code_reaches_nothing_denied(geteuid().as_raw(), |command| {
        without(Lack::Call(libc::SYS_pidfd_getfd), || Worker::start(command))
    })
}
