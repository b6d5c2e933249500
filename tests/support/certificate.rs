//! A certificate for servers that speak TLS, made by the program `openssl`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A certificate for 127.0.0.1 that vouches for itself, in files that are gone when it is dropped.
pub struct Certificate(tempfile::TempDir);

impl Certificate {
    /// Makes one; says why that is not possible here.
    pub fn new() -> Result<Certificate, String> {
        let folder = tempfile::Builder::new().prefix("mpr-tls-").tempdir().unwrap();
        let made = Certificate(folder);
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]);
        openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]);
        openssl.arg("-keyout").arg(made.key()).arg("-out").arg(made.chain());
        let output = openssl.output().map_err(|error| format!("openssl: {error}"))?;
        if !output.status.success() {
            return Err(format!("openssl: {}", String::from_utf8_lossy(&output.stderr)));
        }
        let both = [made.chain(), made.key()].map(|path| fs::read(path).unwrap());
        fs::write(made.chain_and_key(), both.concat()).unwrap();
        Ok(made)
    }

    /// The certificate, in PEM.
    pub fn chain(&self) -> PathBuf {
        self.0.path().join("chain.pem")
    }

    /// Its private key, in PEM.
    pub fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    /// Both in one file.
    pub fn chain_and_key(&self) -> PathBuf {
        self.0.path().join("both.pem")
    }
}
