//! Certificates for servers and clients of tests.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::process::Directory;

/// An authority, and a server and a client that it vouches for.
pub(crate) struct Certificates(Directory);

impl Certificates {
    pub(crate) fn new() -> Self {
        let made = Self(Directory::new("certificates"));
        let extensions = made.path("server.ext");
        std::fs::write(&extensions, "subjectAltName=IP:127.0.0.1\n").unwrap();
        let subject = |name: &str| format!("/CN={name}");
        made.openssl(
            &["req", "-x509", "-nodes", "-days", "2", "-subj", &subject("ca")],
            "ca",
            &[
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-keyout",
                "ca.key",
                "-out",
                "ca.pem",
            ],
        );
        for name in ["server", "client"] {
            let key = format!("{name}.key");
            let request = format!("{name}.csr");
            let out = format!("{name}.pem");
            made.openssl(
                &["req", "-nodes", "-subj", &subject(name)],
                name,
                &[
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:prime256v1",
                    "-keyout",
                    &key,
                    "-out",
                    &request,
                ],
            );
            let sign = ["x509", "-req", "-days", "2", "-CA", "ca.pem", "-CAkey", "ca.key"];
            let files = ["-CAcreateserial", "-in", &request, "-out", &out];
            made.openssl(&[&sign[..], &files[..]].concat(), name, &["-extfile", "server.ext"]);
        }
        made
    }

    fn openssl(&self, words: &[&str], what: &str, more: &[&str]) {
        let run = Command::new("openssl")
            .current_dir(self.0.path())
            .args(words)
            .args(more)
            .stderr(Stdio::null())
            .status()
            .unwrap_or_else(|error| {
                panic!("`openssl` cannot be started ({error}): install the package openssl")
            });
        assert!(run.success(), "{what}: {words:?}");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("it was made")
    }
}
