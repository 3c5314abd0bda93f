//! TLS before a server that speaks none.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rcgen::{CertificateParams, KeyPair};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/process/tls.mjs");

/// A TLS server in front of a port, with a certificate for `localhost` that it has signed itself.
pub(crate) struct TlsProxy {
    node: Child,
    port: String,
    folder: tempfile::TempDir,
}

impl TlsProxy {
    /// One with a good certificate, if one has signed it oneself.
    pub(crate) fn to(port: u16) -> Self {
        Self::with(port, |_| ())
    }

    /// One whose certificate is as it is made here.
    pub(crate) fn with(port: u16, change: impl Fn(&mut CertificateParams)) -> Self {
        let folder = tempfile::tempdir().expect("Node, and a folder to write to, are there");
        let mut parameters =
            CertificateParams::new(["localhost".to_owned()]).expect("it is a name");
        change(&mut parameters);
        let signing = KeyPair::generate().expect("there is randomness");
        let signed = parameters.self_signed(&signing).expect("it can be signed");
        let (key, certificate) = (
            folder.path().join("key.pem"),
            folder.path().join("certificate.pem"),
        );
        std::fs::write(&key, signing.serialize_pem())
            .expect("Node, and a folder to write to, are there");
        std::fs::write(&certificate, signed.pem())
            .expect("Node, and a folder to write to, are there");
        let mut node = Command::new("node")
            .arg(SCRIPT)
            .args([&key, &certificate])
            .arg(port.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Node, and a folder to write to, are there");
        let mut port = String::new();
        BufReader::new(
            node.stdout
                .take()
                .expect("Node, and a folder to write to, are there"),
        )
        .read_line(&mut port)
        .expect("Node, and a folder to write to, are there");
        Self {
            node,
            port: port.trim().to_owned(),
            folder,
        }
    }

    /// Its certificate, in a PEM file.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// The endpoint that a worker is given.
    pub(crate) fn url(&self) -> String {
        format!("wss://localhost:{}/worker", self.port)
    }
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        // Fails when it has ended, which is what is wanted.
        self.node.kill().ok();
        self.node.wait().ok();
    }
}
