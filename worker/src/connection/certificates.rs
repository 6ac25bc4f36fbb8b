//! What is wrong with certificates, in a person's words, when a connection fails because of them.

use std::{error::Error, io};

use rustls::{AlertDescription, CertificateError};

use crate::causes::with_causes;

/// Says what is wrong with a certificate and what to do, if that is why `error` happened. The error may be of the
/// connection itself or of the first call on it: a server refuses a client's certificate after the handshake.
#[must_use]
pub fn certificate_problem(error: &(dyn Error + 'static)) -> Option<String> {
    match tls_error(error) {
        Some(rustls::Error::InvalidCertificate(wrong)) => Some(of_coordinator(wrong)),
        Some(rustls::Error::AlertReceived(alert)) => of_client(*alert),
        Some(_) => None,
        // HTTP/2 keeps the text of a cause alone.
        None => {
            let causes = with_causes(error);
            let alert = causes.split("received fatal alert: ").nth(1);
            if let Some(alert) =
                alert.and_then(|name| ABOUT_CLIENTS.iter().find(|alert| name.starts_with(&format!("{alert:?}"))))
            {
                return of_client(*alert);
            }
            let is_meant = ["certificate", "fatal alert"].iter().any(|word| causes.contains(word));
            is_meant.then(|| format!("certificate error ({causes})"))
        }
    }
}

/// Whether one side uses TLS and the other does not.
#[must_use]
pub fn is_about_encryption(error: &(dyn Error + 'static)) -> bool {
    with_causes(error).contains("InvalidContentType")
}

/// The error of the TLS library among the causes. An I/O error hides what it was made of from [`Error::source`].
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref)
            && let Some(found) = tls_error(inner)
        {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// What is wrong with the certificate that the coordinator showed.
fn of_coordinator(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            let ago = match error {
                CertificateError::ExpiredContext { time, not_after } => {
                    let seconds = time.as_secs().saturating_sub(not_after.as_secs());
                    format!(" {} ago", humantime::format_duration(std::time::Duration::from_secs(seconds)))
                }
                _ => String::new(),
            };
            format!(
                "the coordinator's certificate expired{ago}: renew it with `secateur cert renew` on the coordinator's machine, or correct the clock of this one"
            )
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the coordinator's certificate is not valid yet: compare the clocks of both machines".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<&str> = presented.iter().map(|name| plain(name)).collect();
            let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            format!(
                "the coordinator's certificate is for {names}, not for {}: use one of its names in --coordinator, or add this one with `secateur cert renew --host`",
                expected.to_str()
            )
        }
        CertificateError::NotValidForName => {
            "the coordinator's certificate does not contain the name in --coordinator: use a name that it contains, or add this one with `secateur cert renew --host`".to_owned()
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the coordinator's certificate was not signed by the authority in --ca, or without --ca by one that the system trusts: pass the ca.pem of this coordinator".to_owned()
        }
        CertificateError::Revoked => "the coordinator's certificate was revoked".to_owned(),
        other => format!("the coordinator's certificate is not accepted ({other})"),
    }
}

/// The alerts by which a coordinator refuses a client's certificate. No name is the beginning of another one.
const ABOUT_CLIENTS: [AlertDescription; 9] = [
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateRequired,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
    AlertDescription::DecryptError,
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::AccessDenied,
];

/// What the coordinator says of this client's certificate, if that is what the alert is about.
fn of_client(alert: AlertDescription) -> Option<String> {
    let new = "`secateur cert issue --client NAME` on the coordinator's machine makes another one";
    Some(match alert {
        AlertDescription::CertificateExpired => format!("the coordinator refused --cert: it has expired; {new}"),
        AlertDescription::CertificateRevoked => format!("the coordinator refused --cert: it was revoked; {new}"),
        // Of an authority of the same name, whose key did not sign it.
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            format!("the coordinator refused --cert: its --client-ca did not sign it; {new}")
        }
        AlertDescription::CertificateRequired => {
            "the coordinator requires a certificate: pass --cert and --key".to_owned()
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => format!("the coordinator refused --cert ({alert:?}); {new}"),
        _ => return None,
    })
}

/// A name as people write it: the library shows `DnsName("head")` and `IpAddress(10.0.0.5)`.
fn plain(shown: &str) -> &str {
    let inner = shown.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(shown).trim_matches('"')
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{ServerName, UnixTime};
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_certificate_is_said() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let names = vec!["DnsName(\"localhost\")".to_owned(), "IpAddress(127.0.0.1)".to_owned()];
        let head = ServerName::try_from("head.example").expect("a name");
        let of = |error: CertificateError| rustls::Error::InvalidCertificate(error);
        let errors = [
            of(CertificateError::ExpiredContext { time: at(100_000), not_after: at(13_600) }),
            of(CertificateError::NotValidYet),
            of(CertificateError::NotValidForNameContext { expected: head, presented: names }),
            of(CertificateError::UnknownIssuer),
            of(CertificateError::BadEncoding),
            rustls::Error::AlertReceived(AlertDescription::CertificateExpired),
            rustls::Error::AlertReceived(AlertDescription::UnknownCA),
            rustls::Error::AlertReceived(AlertDescription::CertificateRequired),
        ];
        // As they arrive: within an I/O error.
        let told = errors.map(|error| certificate_problem(&io::Error::other(error)).expect("is about certificates"));
        insta::assert_snapshot!(told.join("\n"));
        // Once the connection is made, only the text is left.
        for alert in ABOUT_CLIENTS {
            let text = io::Error::other(rustls::Error::AlertReceived(alert).to_string());
            assert_eq!(certificate_problem(&text), of_client(alert));
            assert!(of_client(alert).is_some(), "{alert:?}");
        }
        let other = io::Error::other(rustls::Error::AlertReceived(AlertDescription::InternalError));
        assert_eq!(certificate_problem(&other), None);
        assert_eq!(certificate_problem(&io::Error::other("the network is down")), None);
    }
}
