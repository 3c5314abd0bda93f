//! Destinations that are denied, against native code: `attack.c` is compiled and started here.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::{LONG, spec};
use crate::egress::{Forced, OnRefusal, Refusal, Rules};
use crate::{Egress, Spec, output, spawn};

const ALLOWED: &str = "127.0.0.1";
const DENIED: &str = "127.0.0.3";

/// Something that listens on a port of both addresses.
struct Peers {
    port: u16,
    allowed: (TcpListener, UdpSocket),
    denied: (TcpListener, UdpSocket),
}

impl Peers {
    fn new() -> Self {
        loop {
            let allowed = TcpListener::bind((ALLOWED, 0)).unwrap();
            let port = allowed.local_addr().unwrap().port();
            let others = || -> io::Result<_> {
                Ok((
                    UdpSocket::bind((ALLOWED, port))?,
                    TcpListener::bind((DENIED, port))?,
                    UdpSocket::bind((DENIED, port))?,
                ))
            };
            // Somebody else may have one of them.
            let Ok((allowed_udp, denied, denied_udp)) = others() else {
                continue;
            };
            denied.set_nonblocking(true).unwrap();
            denied_udp.set_nonblocking(true).unwrap();
            allowed_udp.set_nonblocking(true).unwrap();
            return Self {
                port,
                allowed: (allowed, allowed_udp),
                denied: (denied, denied_udp),
            };
        }
    }

    fn nothing_has_come(&self) {
        let (tcp, udp) = &self.denied;
        let refused = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        assert!(tcp.accept().is_err_and(refused));
        assert!(udp.recv(&mut [0; 8]).is_err_and(refused));
    }

    fn datagrams(&self) -> Vec<Vec<u8>> {
        let receive = || {
            let mut data = [0; 16];
            let length = self.allowed.1.recv(&mut data).ok()?;
            Some(data[..length].to_vec())
        };
        std::iter::from_fn(receive).collect()
    }
}

fn compiled(folder: &Path, source: &str, defines: &[String]) -> Spec {
    let (file, program) = (folder.join("source.c"), folder.join("program"));
    std::fs::write(&file, source).unwrap();
    let compiled = Command::new("cc")
        .args(["-O1", "-pthread", "-o"])
        .args([&program, &file])
        .args(defines)
        .status()
        .unwrap();
    assert!(compiled.success());
    spec(program.to_str().unwrap(), &[])
}

fn denied(rules: Rules, hear: impl Fn(Refusal) + Send + Sync + 'static) -> Option<Egress> {
    Some(Egress {
        rules: Arc::new(rules),
        refused: OnRefusal::new(hear),
    })
}

fn output_of(spec: &Spec) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let output = runtime.block_on(output(spec, LONG)).unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn reaches_what_is_allowed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let peers = Peers::new();
    let own = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let own_port = own.local_addr().unwrap().port();
    let defines = [
        "-DALLOWED=0x7f000001u".to_owned(),
        "-DDENIED=0x7f000003u".to_owned(),
        format!("-DPORT={}", peers.port),
        format!("-DOWN={own_port}"),
    ];
    let mut spec = compiled(folder.path(), include_str!("attack.c"), &defines);
    let rules = Rules::new(&[DENIED], &[]).unwrap();
    let refusals: Arc<Mutex<Vec<Refusal>>> = Arc::default();
    let hears = Arc::clone(&refusals);
    let hear = move |refusal| hears.lock().unwrap().push(refusal);
    spec.egress = denied(rules.with_own_port(own_port), hear);
    let (done, accepts) = mpsc::channel::<()>();
    let listener = peers.allowed.0.try_clone().unwrap();
    std::thread::spawn(move || {
        // What closes with data unread would reset its connection.
        let mut accepted = Vec::new();
        while accepts.try_recv() == Err(mpsc::TryRecvError::Empty) {
            accepted.extend(listener.accept());
        }
    });
    let said = output_of(&spec);
    drop(done);
    println!("{said}");
    let mut differences = Vec::new();
    for line in EXPECTED.lines() {
        if !said.lines().any(|said| said == line) {
            let what = line.split(':').next().unwrap_or_default();
            let found = said
                .lines()
                .find(|said| said.starts_with(&format!("{what}:")));
            differences.push(format!("{line}, not {found:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(said.lines().count(), EXPECTED.lines().count());
    peers.nothing_has_come();
    let datagrams = peers.datagrams();
    for expected in [&b"x"[..], b"abcde", b"mm"] {
        assert!(datagrams.iter().any(|found| found == expected));
    }
    let refusals = refusals.lock().unwrap();
    let told: Vec<_> = refusals.iter().map(ToString::to_string).collect();
    let port = peers.port;
    assert_eq!(
        told,
        [
            format!("a connection to 127.0.0.3:{port} was refused: --deny-egress 127.0.0.3/32"),
            format!("a connection to 127.0.0.1:{own_port} was refused: --deny-egress own-port"),
        ]
    );
}

/// What each attempt comes to.
const EXPECTED: &str = include_str!("attack.txt");

#[test]
fn native_code_reaches_what_is_allowed_and_nothing_else() {
    reaches_what_is_allowed_and_nothing_else();
}

/// As in a container whose profile has no `pidfd_getfd`.
#[test]
fn nor_does_it_where_sockets_cannot_be_copied() {
    let _forced = Forced::made_sockets();
    reaches_what_is_allowed_and_nothing_else();
}

/// As under the default profile of a Docker of old, which denies all calls by which one process looks at another.
#[test]
fn nor_does_it_where_a_container_denies_the_calls_that_look_at_a_process() {
    let denied = std::thread::spawn(|| {
        let calls = [
            nix::libc::SYS_process_vm_readv,
            nix::libc::SYS_process_vm_writev,
            nix::libc::SYS_pidfd_getfd,
        ];
        let filter = seccompiler::SeccompFilter::new(
            calls.map(|call| (call, Vec::new())).into(),
            seccompiler::SeccompAction::Allow,
            seccompiler::SeccompAction::Errno(nix::libc::EPERM.unsigned_abs()),
            std::env::consts::ARCH.try_into().unwrap(),
        );
        let filter: seccompiler::BpfProgram = filter.unwrap().try_into().unwrap();
        let _forced = Forced::made_sockets();
        // Threads that this one starts have it too, the one that answers among them.
        seccompiler::apply_filter(&filter).unwrap();
        reaches_what_is_allowed_and_nothing_else();
    });
    denied.join().unwrap();
}

/// Threads of this process that wait for a peer in a program's place.
fn waiting() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "egress-wait").count()
}

/// A peer whose queue is full: it answers nobody.
fn silent() -> (OwnedFd, u16, Vec<TcpStream>) {
    use nix::sys::socket::{
        AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket,
    };
    let flags = SockFlag::SOCK_CLOEXEC;
    let listener = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
    bind(listener.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let port = getsockname::<SockaddrIn>(listener.as_raw_fd())
        .unwrap()
        .port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut filling = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        filling.push(stream);
    }
    (listener, port, filling)
}

/// Of 4 silent peers each has a thread; with a program that is killed they end, though the peers never answer.
#[test]
fn a_call_that_waits_for_its_peer_holds_up_no_other_and_ends_with_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let (_listener, port, _filling) = silent();
    let good = TcpListener::bind((ALLOWED, 0)).unwrap();
    let defines = [
        format!("-DPORT={port}"),
        format!("-DGOOD={}", good.local_addr().unwrap().port()),
        "-DSILENT=4".to_owned(),
    ];
    let mut spec = compiled(folder.path(), include_str!("wait.c"), &defines);
    spec.egress = denied(Rules::new(&[], &[]).unwrap(), |_| {});
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let confined = spawn(&spec).unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(confined.stdout.unwrap());
        stdout.read_line(&mut line).await.unwrap();
        assert_eq!(line, "0\n");
        assert!(waiting() >= 4);
        drop(confined.control);
        confined.reaper.reap().await.unwrap();
    });
    let began = Instant::now();
    while waiting() > 0 {
        assert!(began.elapsed() < LONG, "a thread waits for ever");
        std::thread::yield_now();
    }
}

/// `cargo test --release -p sandbox cost -- --ignored --nocapture`
#[test]
#[ignore = "figures, which mean nothing beside other work"]
fn the_cost_of_a_connection_and_of_data() {
    let folder = tempfile::tempdir().unwrap();
    let plain = compiled(folder.path(), include_str!("cost.c"), &[]);
    let mut judged = plain.clone();
    judged.egress = denied(Rules::new(&[], &[]).unwrap(), |_| {});
    let figures = |spec: &Spec| -> [f64; 2] {
        let said = output_of(spec);
        let mut figures = said.split_whitespace().map(|word| word.parse().unwrap());
        [(); 2].map(|()| figures.next().unwrap())
    };
    let mut all = [const { Vec::new() }; 3];
    for _ in 0..7 {
        all[0].push(figures(&plain));
        all[1].push(figures(&judged));
        let _forced = Forced::made_sockets();
        all[2].push(figures(&judged));
    }
    for (name, rounds) in ["not judged", "sockets copied", "sockets made"]
        .iter()
        .zip(all)
    {
        for (index, figure) in ["ns a connection", "MiB/s"].iter().enumerate() {
            let mut values: Vec<f64> = rounds.iter().map(|round| round[index]).collect();
            values.sort_by(f64::total_cmp);
            let median = values[values.len() / 2];
            println!("{name}: {median:.0} {figure} (median of {values:?})");
        }
    }
}
