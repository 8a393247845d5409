use locks_core::ErrorKind;
use rustls::{AlertDescription, CertificateError, Error};

use super::client::OtherPin;

/// Why a client has no TLS with its server, in words that say what to do.
#[derive(Clone, Debug)]
pub(crate) struct TlsFault {
    pub(crate) kind: ErrorKind,
    pub(crate) text: String,
}

impl TlsFault {
    pub(crate) fn of_client(error: &Error) -> Self {
        let kind = match error {
            Error::InvalidCertificate(_) | Error::AlertReceived(_) => ErrorKind::Unauthorized,
            _ => ErrorKind::Protocol,
        };
        let text = match error {
            Error::InvalidCertificate(error) => certificate(error),
            Error::AlertReceived(alert) => refusal(*alert),
            Error::InvalidMessage(_) => {
                "what answers there does not speak TLS: it is no lock server, or one from \
                before servers did; look at the port, and upgrade it"
                    .to_owned()
            }
            Error::PeerIncompatible(_) => {
                format!("what answers there does not speak TLS 1.3 as lock servers do ({error})")
            }
            _ => format!("TLS has failed: {error}"),
        };
        Self { kind, text }
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
            "the server's certificate is no longer valid ({error}): renew it there (`locks serve --cert`, `--key`)"
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the server's certificate is not valid yet ({error}): compare the clocks of both machines")
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the server's certificate was not signed by the authority that `ca` names: name the one that has signed it, \
             or the certificate itself by `pin`"
                .to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the server's certificate is for other names than the one it was reached by ({error})")
        }
        CertificateError::Other(other) => match other.0.downcast_ref::<OtherPin>() {
            Some(pin) => pin.to_string(),
            None => format!("the server's certificate is not good: {error}"),
        },
        _ => format!("the server's certificate is not good: {error}"),
    }
}

fn refusal(alert: AlertDescription) -> String {
    let why = match alert {
        AlertDescription::CertificateExpired => "has expired: renew it",
        AlertDescription::UnknownCA => {
            "was not signed by an authority that it trusts: `locks serve --client-ca` names those"
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::DecryptError => "is not good; its log says why",
        _ => return format!("the server has ended the connection ({alert:?}); its log says why"),
    };
    format!("the server refuses this client's certificate: it {why}")
}
