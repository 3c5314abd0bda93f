//! A TCP proxy that moves from one server to another, or holds its connections without passing anything on.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

/// A connection of the worker, and whether it is passed on.
struct Line {
    near: TcpStream,
    far: TcpStream,
    held: bool,
}

/// Listens on a free port until the process ends.
pub(crate) struct Proxy {
    port: u16,
    target: Arc<AtomicU16>,
    lines: Arc<Mutex<Vec<Line>>>,
}

impl Proxy {
    /// A proxy to this port.
    pub(crate) fn to(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let target = Arc::new(AtomicU16::new(target));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let proxy = Self {
            port,
            target: Arc::clone(&target),
            lines: Arc::clone(&lines),
        };
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                // A target that is away refuses its visitors; so does the proxy then.
                let Ok(far) = TcpStream::connect(("127.0.0.1", target.load(Ordering::SeqCst)))
                else {
                    continue;
                };
                open(near, far, &lines);
            }
        });
        proxy
    }

    /// The endpoint that a worker is given.
    pub(crate) fn ws_url(&self) -> String {
        format!("ws://127.0.0.1:{}/worker", self.port)
    }

    /// Cuts every connection; new ones go to this port.
    pub(crate) fn moves_to(&self, target: u16) {
        self.target.store(target, Ordering::SeqCst);
        for line in self.lines.lock().expect("no thread panics").drain(..) {
            // Fails for those that have ended.
            line.near.shutdown(Shutdown::Both).ok();
            line.far.shutdown(Shutdown::Both).ok();
        }
    }

    /// Keeps every connection open and passes nothing on any more, as a line that is dead and does not say so.
    pub(crate) fn holds(&self) {
        for line in self.lines.lock().expect("no thread panics").iter_mut() {
            line.held = true;
        }
    }
}

fn open(near: TcpStream, far: TcpStream, lines: &Arc<Mutex<Vec<Line>>>) {
    let copy = |stream: &TcpStream| stream.try_clone().expect("descriptors are left");
    let mut open = lines.lock().expect("no thread panics");
    let index = open.len();
    for (from, to) in [(copy(&near), copy(&far)), (copy(&far), copy(&near))] {
        let lines = Arc::clone(lines);
        std::thread::spawn(move || pass_on(from, to, index, &lines));
    }
    open.push(Line {
        near,
        far,
        held: false,
    });
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, index: usize, lines: &Mutex<Vec<Line>>) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(length) = from.read(&mut bytes) {
        let held = {
            let lines = lines.lock().expect("no thread panics");
            lines.get(index).is_some_and(|line| line.held)
        };
        if held && length > 0 {
            continue;
        }
        if length == 0 || to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Both).ok();
}
