//! Access to the page: by the token of its file, and not from other sites in the operator's
//! browser.

use std::net::SocketAddr;
use std::path::Path;

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HOST, ORIGIN};
use locks::net::Secret;

use crate::secret;
use crate::status::Failure;

/// The names by which the page may be called. A site that has its own name mean this address would
/// otherwise be let in by the operator's browser.
#[derive(Debug)]
pub(super) struct Hosts {
    own: SocketAddr,
    others: Vec<String>,
}

/// What is not let in, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// By a name that is not on the list.
    Host(String),
    /// From another site's page.
    Origin,
    /// Without the token, or with another one.
    Token,
}

impl Hosts {
    /// Names without a port are good with any.
    pub(super) fn new(own: SocketAddr, others: Vec<String>) -> Self {
        Self { own, others }
    }

    /// Checks that the request names this page by a name of its own, and does not come from another
    /// site.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok()).unwrap_or_default();
        if hosts.next().is_some() || !self.knows(host) {
            return Err(Refused::Host(host.to_owned()));
        }
        let is_own = |origin: &[u8]| {
            let origin = origin.to_ascii_lowercase();
            // `https` where a proxy in front of it encrypts.
            [b"http://".as_slice(), b"https://"]
                .into_iter()
                .filter_map(|scheme| origin.strip_prefix(scheme))
                .any(|named| named == host.to_ascii_lowercase().as_bytes())
        };
        match headers.get_all(ORIGIN).iter().all(|origin| is_own(origin.as_bytes())) {
            true => Ok(()),
            false => Err(Refused::Origin),
        }
    }

    fn knows(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => &host,
        };
        // No name server can have these mean anything else, so a tunnel may come by any port.
        if ["localhost", "127.0.0.1", "[::1]"].contains(&name) {
            return true;
        }
        host == self.own.to_string()
            || self.others.iter().any(|other| host == *other || name == *other)
    }
}

/// The token that a reader has to present.
pub(super) struct Token(Secret);

impl Token {
    /// The one in the file; a new one, if there is none.
    pub(super) fn obtain(path: &Path) -> Result<Self, Failure> {
        if !path.exists() {
            secret::create(path, &Secret::generate()?.to_text())?;
        }
        Ok(Self(Secret::read(path)?))
    }

    /// Whether the request has it.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let said = headers.get(AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
        let said = match said.split_at_checked(7) {
            Some((scheme, said)) if scheme.eq_ignore_ascii_case(b"bearer ") => said.trim_ascii(),
            _ => return Err(Refused::Token),
        };
        match is_same(said, self.0.to_text().as_bytes()) {
            true => Ok(()),
            false => Err(Refused::Token),
        }
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// In a time that does not tell how much of it is.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differs = |(one, other): (&u8, &u8)| one ^ other;
    one.len() == other.len()
        && std::hint::black_box(one.iter().zip(other).map(differs).fold(0, |all, bits| all | bits))
            == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(said: &[(hyper::header::HeaderName, &str)]) -> HeaderMap {
        said.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn hosts() -> Hosts {
        Hosts::new("127.0.0.1:7421".parse().unwrap(), vec!["locks.example".into(), "x:1".into()])
    }

    #[test]
    fn n12_only_names_of_the_list_lead_here() {
        let check = |host: &str| hosts().check(&headers(&[(HOST, host)])).is_ok();
        for known in [
            "127.0.0.1:7421",
            "localhost:7421",
            "LOCALHOST",
            "[::1]:9",
            "locks.example",
            "locks.example:443",
            "x:1",
        ] {
            assert!(check(known), "{known}");
        }
        for strange in [
            "evil.example",
            "evil.example:7421",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "",
            "x:2",
            "x",
        ] {
            assert!(!check(strange), "{strange}");
        }
        assert_eq!(hosts().check(&HeaderMap::new()), Err(Refused::Host(String::new())));
        let mut twice = headers(&[(HOST, "localhost")]);
        twice.append(HOST, "evil.example".parse().unwrap());
        hosts().check(&twice).unwrap_err();
    }

    #[test]
    fn n12_pages_of_other_sites_are_refused() {
        let check =
            |origin: &str| hosts().check(&headers(&[(HOST, "localhost:7421"), (ORIGIN, origin)]));
        for own in ["http://localhost:7421", "https://localhost:7421", "HTTP://LOCALHOST:7421"] {
            assert_eq!(check(own), Ok(()), "{own}");
        }
        for foreign in
            ["http://evil.example", "http://localhost:80", "http://127.0.0.1:7421", "null", ""]
        {
            assert_eq!(check(foreign), Err(Refused::Origin), "{foreign}");
        }
    }

    #[test]
    fn n12_the_token_is_all_or_nothing() {
        let text = "a7".repeat(32);
        let token = Token(Secret::parse(&text).unwrap());
        let check = |said: &str| token.check(&headers(&[(AUTHORIZATION, said)])).is_ok();
        assert!(check(&format!("Bearer {text}")) && check(&format!("bearer  {text}")));
        for wrong in [
            text.clone(),
            "Bearer ".into(),
            format!("Bearer {}", &text[1..]),
            format!("Bearer {text}0"),
            format!("Basic {text}"),
        ] {
            assert!(!check(&wrong), "{wrong}");
        }
        assert_eq!(token.check(&HeaderMap::new()), Err(Refused::Token));
        assert_eq!(format!("{token:?}"), "Token");
    }
}
