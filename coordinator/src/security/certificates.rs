//! Certificates: a private authority for people without one, and the server's TLS configuration.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use secateur_proto::ids::ContentHash;
use secateur_worker::pem::{self, PemError, Wanted};
use time::OffsetDateTime;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

/// The validity in days of the authority and of the certificates that it signs.
const DAYS: i64 = 825;

/// The timeout of a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The files that [`init`] makes.
pub const FILES: [&str; 6] = ["ca.pem", "ca.key", "server.pem", "server.key", "worker.pem", "worker.key"];

/// An error about certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file exists already.
    #[error("{0} already exists: give another folder, or move it away")]
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
    /// A host name is not valid in a certificate.
    #[error("cannot make a certificate for {hosts:?}")]
    Make {
        /// The names.
        hosts: Vec<String>,
        /// The reason.
        #[source]
        source: rcgen::Error,
    },
}

/// Makes an authority in `folder`, a certificate for a coordinator with the names `hosts`, and one for workers. Only
/// the owner can read the keys.
///
/// # Errors
/// If one of the files exists already, a name is not valid in a certificate, or a file cannot be written.
pub fn init(folder: &Path, hosts: &[String]) -> Result<(), CertificateError> {
    if let Some(path) = FILES.iter().map(|name| folder.join(name)).find(|path| path.exists()) {
        return Err(CertificateError::Exists(path));
    }
    let made = make(hosts).map_err(|source| CertificateError::Make { hosts: hosts.to_vec(), source })?;
    fs::create_dir_all(folder).map_err(|source| CertificateError::File { path: folder.to_owned(), source })?;
    for (name, pem) in FILES.iter().zip(made) {
        let path = folder.join(name);
        write(&path, &pem).map_err(|source| CertificateError::File { path: path.clone(), source })?;
    }
    Ok(())
}

/// In the order of [`FILES`].
fn make(hosts: &[String]) -> Result<[String; 6], rcgen::Error> {
    let now = OffsetDateTime::now_utc();
    let params = |name: &str, hosts: &[String]| {
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name.push(DnType::CommonName, name);
        // Clocks of other machines may be slow.
        params.not_before = now - time::Duration::days(1);
        params.not_after = now + time::Duration::days(DAYS);
        Ok::<_, rcgen::Error>(params)
    };
    let mut authority = params("Secateur private authority", &[])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate()?;
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let authority_key_pem = authority_key.serialize_pem();
    let issuer = Issuer::new(authority, authority_key);
    let signed = |name: &str, hosts: &[String], purpose: ExtendedKeyUsagePurpose| {
        let mut params = params(name, hosts)?;
        params.extended_key_usages = vec![purpose];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        Ok::<_, rcgen::Error>((params.signed_by(&key, &issuer)?.pem(), key.serialize_pem()))
    };
    let (server, server_key) = signed("Secateur coordinator", hosts, ExtendedKeyUsagePurpose::ServerAuth)?;
    let (worker, worker_key) = signed("Secateur worker", &[], ExtendedKeyUsagePurpose::ClientAuth)?;
    Ok([authority_pem, authority_key_pem, server, server_key, worker, worker_key])
}

fn write(path: &Path, pem: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if path.extension().is_some_and(|ending| ending == "key") {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()
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
    /// The configuration of the server.
    ///
    /// # Errors
    /// If a file cannot be read. The server checks the content when it starts.
    pub fn config(&self) -> Result<ServerTlsConfig, CertificateError> {
        let read = |path: &Path, wanted| {
            pem::read(path, wanted).map_err(|source| CertificateError::Pem { path: path.to_owned(), source })
        };
        let certificate = read(&self.certificate, Wanted::Certificate)?;
        let identity = Identity::from_pem(certificate, read(&self.key, Wanted::Key)?);
        let config = ServerTlsConfig::new().identity(identity).timeout(HANDSHAKE);
        Ok(match &self.client_authority {
            // Optional, because a token is accepted as well.
            Some(path) => config
                .client_ca_root(Certificate::from_pem(read(path, Wanted::Certificate)?))
                .client_auth_optional(true),
            None => config,
        })
    }
}

/// The name of a certificate (DER): its hash, since the certificate itself may contain any name.
#[must_use]
pub(super) fn fingerprint(certificate: &[u8]) -> String {
    format!("certificate-{}", ContentHash::of(certificate).short(12))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_overwritten_and_keys_are_their_owners() {
        let folder = tempfile::tempdir().expect("a folder");
        let hosts = ["head.example".to_owned(), "10.0.0.5".to_owned()];
        init(folder.path(), &hosts).expect("makes them");
        let before = fs::read(folder.path().join("ca.key")).expect("reads");
        assert!(matches!(init(folder.path(), &hosts), Err(CertificateError::Exists(_))));
        fs::remove_file(folder.path().join("ca.pem")).expect("removes");
        assert!(matches!(init(folder.path(), &hosts), Err(CertificateError::Exists(_))));
        assert_eq!(fs::read(folder.path().join("ca.key")).expect("reads"), before);
        #[cfg(unix)]
        for name in ["ca.key", "server.key", "worker.key"] {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(folder.path().join(name)).expect("is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert!(matches!(
            init(&folder.path().join("other"), &["naïve".to_owned()]),
            Err(CertificateError::Make { .. })
        ));
    }
}
