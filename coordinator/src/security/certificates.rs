//! Certificates: the files of a coordinator, what certificates say, and the names by which they are known.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use secateur_proto::ids::ContentHash;
use secateur_worker::pem::{self, PemError, Wanted};
use serde::Serialize;
use time::OffsetDateTime;
use x509_parser::{extensions::GeneralName, prelude::FromDer as _};

/// An error about certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file exists already.
    #[error("{0} already exists: give another name or folder, or move it away")]
    Exists(PathBuf),
    /// A file cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The file contains no certificate or no key.
    #[error("cannot use {path}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: PemError,
    },
    /// The file contains something that is not a certificate.
    #[error("{0} does not contain a valid certificate")]
    Unreadable(PathBuf),
    /// The certificate and key of a coordinator, or its authority, cannot be used.
    #[error("cannot use the certificate {certificate} and key {key}: both must be PEM and belong together")]
    Invalid {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// The TLS library's error.
        #[source]
        source: rustls::Error,
    },
    /// The authority of client certificates cannot be used.
    #[error("cannot use the client authority {path}: {reason}")]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A folder has no authority.
    #[error("{} has no authority (ca.pem and ca.key): `secateur cert init` creates one; pass its folder with --dir", .0.display())]
    NoAuthority(PathBuf),
    /// The authority was made by something else.
    #[error("{0} was not created by `secateur cert init`: renew it where it came from")]
    Foreign(PathBuf),
    /// What it signed would not be valid.
    #[error("the authority has ended: `secateur cert renew ca`")]
    Ended,
    /// A host name is not valid in a certificate, or an authority cannot sign.
    #[error("cannot make a certificate for {names:?}")]
    Make {
        /// The names.
        names: Vec<String>,
        /// The reason.
        #[source]
        source: rcgen::Error,
    },
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// It signs others.
    Authority,
    /// It shows that a server is the coordinator.
    Coordinator,
    /// A client shows it instead of a token.
    Client,
}

impl Purpose {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Coordinator => "coordinator",
            Self::Client => "client",
        }
    }
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The name of its subject.
    pub subject: String,
    /// The name of who signed it.
    pub issuer: String,
    /// The names and addresses of the hosts that it is for.
    pub hosts: Vec<String>,
    /// What it is for.
    pub purpose: Purpose,
    /// When it ends.
    pub ends: OffsetDateTime,
    /// The name that the audit log has for a caller with this certificate, and by which it is revoked.
    pub name: String,
}

impl Described {
    /// Reads the first certificate of a PEM file.
    ///
    /// # Errors
    /// If there is none.
    pub fn read(path: &Path) -> Result<Self, CertificateError> {
        let text = read(path, Wanted::Certificate)?;
        let der = CertificateDer::from_pem_slice(text.as_bytes());
        let found = der.ok().and_then(|der| Self::of(&der));
        found.ok_or_else(|| CertificateError::Unreadable(path.to_owned()))
    }

    /// What a certificate (DER) says. Returns `None` if it is none.
    #[must_use]
    pub fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(der).ok()?;
        let common_name = |name: &x509_parser::x509::X509Name<'_>| {
            let name = name.iter_common_name().next().and_then(|name| name.as_str().ok());
            name.unwrap_or_default().to_owned()
        };
        let names = certificate.subject_alternative_name().ok().flatten();
        let hosts = names.map(|names| names.value.general_names.iter().filter_map(host).collect()).unwrap_or_default();
        let usage = certificate.extended_key_usage().ok().flatten();
        let purpose = match usage {
            _ if certificate.is_ca() => Purpose::Authority,
            Some(usage) if usage.value.client_auth && !usage.value.server_auth => Purpose::Client,
            _ => Purpose::Coordinator,
        };
        Some(Self {
            subject: common_name(certificate.subject()),
            issuer: common_name(certificate.issuer()),
            hosts,
            purpose,
            ends: certificate.validity().not_after.to_datetime(),
            name: fingerprint(der),
        })
    }

    /// The days until it ends, rounded down; negative once it has ended.
    #[must_use]
    pub fn days_left(&self, now: OffsetDateTime) -> i64 {
        (self.ends - now).whole_seconds().div_euclid(24 * 3600)
    }
}

fn host(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(bytes) => Some(IpAddr::from(bytes).to_string()),
            Err(_) => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    }
}

/// How long there is until something ends, for people: full days, of which negative ones are past.
#[must_use]
pub fn time_left(days: i64) -> String {
    match days {
        -1 => "less than a day ago".to_owned(),
        -2 => "1 day ago".to_owned(),
        ..-2 => format!("{} days ago", -days - 1),
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        _ => format!("{days} days"),
    }
}

/// The TLS files of a coordinator.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Its certificate chain, PEM.
    pub certificate: PathBuf,
    /// The private key of the certificate, PEM.
    pub key: PathBuf,
    /// The authority of client certificates that workers may use instead of a token, PEM.
    pub client_authority: Option<PathBuf>,
}

impl TlsFiles {
    /// The configuration of the server, from the files as they are now.
    ///
    /// # Errors
    /// If a file cannot be read or used.
    pub fn config(&self) -> Result<ServerConfig, CertificateError> {
        let invalid =
            |source| CertificateError::Invalid { certificate: self.certificate.clone(), key: self.key.clone(), source };
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(invalid)?;
        let builder = match &self.client_authority {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let failed = |reason: String| CertificateError::Authority { path: path.clone(), reason };
                let mut roots = RootCertStore::empty();
                for certificate in chain(path)? {
                    roots.add(certificate).map_err(|error| failed(error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                // Optional, because a token is accepted as well.
                let verifier = verifier.allow_unauthenticated().build().map_err(|error| failed(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = read(&self.key, Wanted::Key)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| invalid(rustls::Error::General(error.to_string())))?;
        let mut config = builder.with_single_cert(chain(&self.certificate)?, key).map_err(invalid)?;
        // The protocol of gRPC.
        config.alpn_protocols.push(b"h2".to_vec());
        Ok(config)
    }

    /// The files whose certificates end at some time.
    pub fn certificates(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.certificate.as_path()).chain(self.client_authority.as_deref())
    }

    /// All files.
    pub fn all(&self) -> impl Iterator<Item = &Path> {
        self.certificates().chain([self.key.as_path()])
    }
}

fn read(path: &Path, wanted: Wanted) -> Result<String, CertificateError> {
    pem::read(path, wanted).map_err(|source| CertificateError::Pem { path: path.to_owned(), source })
}

/// All certificates of a PEM file.
fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let text = read(path, Wanted::Certificate)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    found.map_err(|_| CertificateError::Unreadable(path.to_owned()))
}

/// The name of a certificate (DER): the hash of its public key, since the certificate itself may contain any name. A
/// renewed certificate has the same key and so the same name: revoking either revokes both.
#[must_use]
pub(super) fn fingerprint(certificate: &[u8]) -> String {
    let read = x509_parser::certificate::X509Certificate::from_der(certificate).ok();
    let key = read.map(|(_, certificate)| certificate.tbs_certificate.subject_pki.raw);
    format!("{PREFIX}{}", ContentHash::of(key.unwrap_or(certificate)).short(12))
}

/// What names of certificates begin with.
pub const PREFIX: &str = "certificate-";
