//! Who comes in over TCP, and by which certificates.

use std::env::{self, VarError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use locks::net::{
    Authority, Certificate, Client, Clients, Fingerprint, Secret, Server, ServerBuilder,
};
use toml::{Table, Value};

use crate::status::Failure;

/// The secret itself, which clients read there as well.
const SECRET: &str = "LOCKS_SECRET";

/// What settings say about TCP: files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OnTcp {
    pub(super) secret_file: Option<PathBuf>,
    pub(super) clients: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) client_ca: Option<PathBuf>,
}

/// What these files have in them at some time.
pub(super) struct Contents {
    pub(super) clients: Clients,
    pub(super) certificate: Option<Certificate>,
    pub(super) client_authority: Option<Authority>,
}

impl OnTcp {
    /// These, and what they do not say as `lower` says it.
    pub(super) fn over(self, lower: Self) -> Self {
        Self {
            secret_file: self.secret_file.or(lower.secret_file),
            clients: self.clients.or(lower.clients),
            cert: self.cert.or(lower.cert),
            key: self.key.or(lower.key),
            client_ca: self.client_ca.or(lower.client_ca),
        }
    }

    /// The name of one of them that is said.
    pub(super) fn first_said(&self) -> Option<&'static str> {
        let Self { secret_file, clients, cert, key, client_ca } = self;
        let all = [
            (secret_file, "secret_file"),
            (clients, "clients"),
            (cert, "cert"),
            (key, "key"),
            (client_ca, "client_ca"),
        ];
        all.into_iter().find(|(path, _)| path.is_some()).map(|(_, name)| name)
    }

    pub(super) fn add_to(
        &self,
        mut builder: ServerBuilder,
        addresses: &[SocketAddr],
    ) -> Result<ServerBuilder, Failure> {
        let Contents { clients, certificate, client_authority } = self.read()?;
        for address in addresses {
            builder = builder.tcp(*address);
        }
        builder = builder.clients(clients);
        if let Some(certificate) = certificate {
            builder = builder.certificate(certificate);
        }
        Ok(match client_authority {
            Some(authority) => builder.client_authority(authority),
            None => builder,
        })
    }

    /// Has the server let in whom the files name by now. If one of them is wrong, all stays as it
    /// is.
    pub(super) fn read_anew(&self, server: &Server) {
        if !server.addresses().iter().any(|address| address.starts_with("locks:")) {
            return;
        }
        let read = self.read().and_then(|contents| {
            let Contents { clients, certificate, client_authority } = contents;
            Ok(server.readmit(clients, certificate, client_authority)?)
        });
        if let Err(failure) = read {
            failure.behind("not read anew").report();
        }
    }

    pub(super) fn read(&self) -> Result<Contents, Failure> {
        let certificate = match (&self.cert, &self.key) {
            (Some(certificate), Some(key)) => Some(Certificate::read(certificate, key)?),
            (None, None) => None,
            _ => return Err(Failure::new("`cert` and `key` go together: two files in PEM")),
        };
        let client_authority = self.client_ca.as_ref().map(Authority::read).transpose()?;
        Ok(Contents { clients: self.clients()?, certificate, client_authority })
    }

    fn clients(&self) -> Result<Clients, Failure> {
        let needs_no_secret = self.clients.is_some() || self.client_ca.is_some();
        let mut clients = match self.secret(needs_no_secret)? {
            Some(secret) => Clients::from(secret),
            None => Clients::new(),
        };
        match &self.clients {
            Some(path) => clients = read_clients(path, clients)?,
            // Whoever has a certificate of theirs is as good as one who knows the secret.
            None if self.client_ca.is_some() => {
                clients = clients.others(Client::new().steal().admin());
            }
            None => {}
        }
        Ok(clients)
    }

    fn secret(&self, needs_none: bool) -> Result<Option<Secret>, Failure> {
        if let Some(path) = &self.secret_file {
            return Ok(Some(Secret::read(path)?));
        }
        match env::var(SECRET) {
            Ok(text) => Secret::parse(&text)
                .map(Some)
                .map_err(|error| Failure::during(&format!("`{SECRET}`"), error)),
            Err(VarError::NotPresent) if needs_none => Ok(None),
            Err(VarError::NotPresent) => Err(Failure::new(format!(
                "`tcp:` takes a secret that clients have to know: make one with `locks secret --out \
                 FILE`, and name it by `--secret-file FILE`, or put it into the environment variable \
                 `{SECRET}`"
            ))),
            Err(VarError::NotUnicode(_)) => Err(Failure::new(format!("`{SECRET}` is not UTF-8"))),
        }
    }
}

/// Adds what the file says: a table for each client, by its name.
fn read_clients(path: &Path, clients: Clients) -> Result<Clients, Failure> {
    let refused = |why: &dyn std::fmt::Display| {
        Failure::in_lines(format!("clients in `{}`: {why}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| refused(&error))?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| refused(&error))?;
    let beside = path.parent().unwrap_or(Path::new("/"));
    table.into_iter().try_fold(clients, |clients, (name, said)| {
        let client = client(&said, beside).map_err(|why| refused(&format!("`{name}`: {why}")))?;
        clients.client(name, client).map_err(|error| refused(&error))
    })
}

/// Files of secrets are looked for beside the file that names them.
fn client(said: &Value, beside: &Path) -> Result<Client, String> {
    let table = said.as_table().ok_or("a client is a table, as in `[deploy]`")?;
    let mut client = Client::new();
    for (name, value) in table {
        match name.as_str() {
            "secret_files" => {
                for path in texts(name, value)? {
                    let secret = Secret::read(beside.join(path));
                    client = client.secret(secret.map_err(|error| error.to_string())?);
                }
            }
            "certificates" => {
                for text in texts(name, value)? {
                    let fingerprint =
                        Fingerprint::parse(text).map_err(|error| error.to_string())?;
                    client = client.certificate(fingerprint);
                }
            }
            "namespace" => {
                client = client.namespace(value.as_str().ok_or("`namespace` is no text")?);
            }
            "rights" => {
                for right in texts(name, value)? {
                    client = match right {
                        "steal" => client.steal(),
                        "admin" => client.admin(),
                        _ => {
                            return Err(format!(
                                "no right `{right}`: there are `steal` and `admin`"
                            ));
                        }
                    };
                }
            }
            _ => {
                return Err(format!(
                    "no setting `{name}`: there are `secret_files`, `certificates`, `namespace` and `rights`"
                ));
            }
        }
    }
    Ok(client)
}

fn texts<'a>(name: &str, value: &'a Value) -> Result<Vec<&'a str>, String> {
    let texts = value.as_array().map(|all| all.iter().map(Value::as_str).collect::<Option<_>>());
    texts.flatten().ok_or_else(|| format!("`{name}` is no list of texts"))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_says_who_comes_in_and_may_do_what() {
        let directory = env::temp_dir().join(format!("locks-clients-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            path
        };
        write("deploy.secret", &format!("deploy:{}\n", "a7".repeat(32)));
        write("new.secret", &"a8".repeat(32));
        let read = |text: &str| {
            let path = write("clients.toml", text);
            read_clients(&path, Clients::new()).map_err(|error| error.text().to_owned())
        };
        let all = format!(
            "[deploy]\nsecret_files = ['deploy.secret', 'new.secret']\nnamespace = 'deploy/'\n\
             [operator]\ncertificates = ['{}']\nrights = ['steal', 'admin']",
            "0a".repeat(32)
        );
        assert!(!read(&all).unwrap().is_empty());
        assert!(read("").unwrap().is_empty());
        for (text, expected) in [
            ("deploy = 5", "`deploy`: a client is a table"),
            ("[deploy]", "has neither a secret nor a certificate"),
            ("[deploy]\nsecret_files = 'a'", "`secret_files` is no list of texts"),
            ("[deploy]\nsecret_files = ['none']", "make one for it with `locks secret`"),
            ("[deploy]\nsecret = 'hunter2'", "no setting `secret`: there are `secret_files`"),
            ("[deploy]\nrights = ['all']", "no right `all`: there are `steal` and `admin`"),
            ("[deploy]\ncertificates = ['a']", "a fingerprint of a certificate has 64"),
            ("[other]\nsecret_files = ['deploy.secret']", "was made for another name"),
            ("['a b']\nsecret_files = ['new.secret']", "is no name of clients"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(expected) && !why.contains("hunter2"), "{text}: {why}");
        }
        fs::remove_dir_all(directory).unwrap();
    }
}
