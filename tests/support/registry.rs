//! An npm registry with made-up packages.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};

use serde_json::{Value, json};

/// Packages by name, each in version 1.0.0.
type Packages = Arc<Mutex<HashMap<String, Package>>>;

#[derive(Clone)]
struct Package {
    manifest: Value,
    /// `None` is never answered.
    archive: Option<Vec<u8>>,
}

/// A running registry; it ends with the test's process.
pub(crate) struct Registry {
    url: String,
    packages: Packages,
    requests: Mutex<mpsc::Receiver<String>>,
}

impl Registry {
    /// An empty one on a free port, that wants this token, if one is given.
    pub(crate) fn start(token: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it has an address");
        let packages = Packages::default();
        let (sender, requests) = mpsc::channel();
        let (url, served) = (format!("http://{address}/"), Arc::clone(&packages));
        let own_url = url.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (packages, sender, url) =
                    (Arc::clone(&served), sender.clone(), own_url.clone());
                std::thread::spawn(move || serve(stream, &packages, &url, token, &sender));
            }
        });
        Self {
            url,
            packages,
            requests: Mutex::new(requests),
        }
    }

    /// Its address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Offers a package of these files. The manifest gets its name and version.
    pub(crate) fn offer(&self, name: &str, manifest: &Value, files: &[(&str, &str)]) {
        self.add(name, manifest, Some(files));
    }

    /// Offers a package whose archive is asked for and never comes.
    pub(crate) fn offer_in_vain(&self, name: &str) {
        self.add(name, &json!({}), None);
    }

    fn add(&self, name: &str, manifest: &Value, files: Option<&[(&str, &str)]>) {
        let mut manifest = manifest.clone();
        manifest["name"] = name.into();
        manifest["version"] = "1.0.0".into();
        let archive = files.map(|files| archive(&manifest, files));
        let package = Package { manifest, archive };
        self.packages
            .lock()
            .expect("no other panic")
            .insert(name.to_owned(), package);
    }

    /// Waits until it is asked for a path with this in it.
    pub(crate) fn waits_for(&self, text: &str) {
        let requests = self.requests.lock().expect("no other panic");
        loop {
            let path = requests.recv_timeout(super::DEADLINE);
            if path.expect("npm asks for it").contains(text) {
                return;
            }
        }
    }
}

/// A package as npm packs it.
fn archive(manifest: &Value, files: &[(&str, &str)]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let package = folder.path().join("package");
    write(&package, manifest, files);
    let output = Command::new("tar")
        .args(["-czf", "-", "-C"])
        .arg(folder.path())
        .arg("package")
        .output()
        .expect("there is tar");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Writes a package's files.
pub(crate) fn write(folder: &Path, manifest: &Value, files: &[(&str, &str)]) {
    std::fs::create_dir_all(folder).expect("its folder can be made");
    let manifest = manifest.to_string();
    for (name, text) in files.iter().chain(&[("package.json", &*manifest)]) {
        std::fs::write(folder.join(name), text).expect("its file can be written");
    }
}

fn serve(
    mut stream: TcpStream,
    packages: &Packages,
    url: &str,
    token: Option<&str>,
    requests: &mpsc::Sender<String>,
) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket can be shared"));
    let mut request = String::new();
    let mut authorized = token.is_none();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if request.is_empty() {
            request = line.clone();
        }
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("authorization")
        {
            authorized |= token.is_some_and(|token| value.trim() == format!("Bearer {token}"));
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    // Nobody may listen any more.
    requests.send(path.clone()).ok();
    let path = path
        .trim_start_matches('/')
        .replace("%2f", "/")
        .replace("%2F", "/");
    let (is_archive, name) = match path.strip_prefix("archive/") {
        Some(name) => (true, name.trim_end_matches(".tgz")),
        None => (false, &*path),
    };
    let package = packages.lock().expect("no other panic").get(name).cloned();
    let (status, body) = match package {
        _ if !authorized => ("401 Unauthorized", b"{}".to_vec()),
        None => ("404 Not Found", b"{}".to_vec()),
        Some(package) if is_archive => match package.archive {
            Some(archive) => ("200 OK", archive),
            None => {
                // Until npm gives up.
                reader.read_line(&mut String::new()).ok();
                return;
            }
        },
        Some(package) => ("200 OK", packument(name, package.manifest, url)),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    // npm may have been killed.
    stream.write_all(&[head.into_bytes(), body].concat()).ok();
}

fn packument(name: &str, mut manifest: Value, url: &str) -> Vec<u8> {
    manifest["dist"] = json!({"tarball": format!("{url}archive/{name}.tgz")});
    let all =
        json!({"name": name, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": manifest}});
    all.to_string().into_bytes()
}
