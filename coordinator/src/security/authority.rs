//! A private authority for people without one: a folder with its certificate and key, and the certificates that it
//! signs.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use secateur_worker::{
    pem::{self, Wanted},
    private,
};
use time::{Duration, OffsetDateTime};

use super::certificates::{CertificateError, Described, Purpose};

/// The validity in days of a certificate, unless another one is asked for.
pub const DAYS: u32 = 825;

/// The validity in days of an authority. Its certificate is on many machines.
const DAYS_OF_AUTHORITY: u32 = 3650;

/// The subject of an authority's certificate. A renewed one must have the same.
const AUTHORITY: &str = "Secateur private authority";

/// The name of the certificate of the authority, of the coordinator, and of the workers.
const NAMES: [&str; 3] = ["ca", "server", "worker"];

/// An authority in a folder.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    /// The days until it ends.
    days_left: i64,
}

/// A certificate that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// What a certificate is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A coordinator with these names and addresses.
    Coordinator(Vec<String>),
    /// A client of that name.
    Client(String),
}

/// Makes an authority in `folder`, a certificate for a coordinator with the names `hosts`, and one for workers, each
/// valid for so many days at most. Only the owner can read the keys.
///
/// # Errors
/// If one of the files exists already, a name is not valid in a certificate, or a file cannot be written.
pub fn init(folder: &Path, hosts: &[String], days: u32) -> Result<Vec<PathBuf>, CertificateError> {
    let files: Vec<PathBuf> = NAMES.iter().flat_map(|name| [cert(folder, name), key(folder, name)]).collect();
    if let Some(path) = files.iter().find(|path| path.exists()) {
        return Err(CertificateError::Exists(path.clone()));
    }
    let failed = made(&[AUTHORITY.to_owned()]);
    let authority_key = KeyPair::generate().map_err(&failed)?;
    let authority = authority_params().self_signed(&authority_key).map_err(&failed)?.pem();
    // Names that are not valid are found before anything is written.
    let issuer = Issuer::new(authority_params(), authority_key);
    let server = sign(&issuer, &Subject::Coordinator(hosts.to_vec()), days, None)?;
    let worker = sign(&issuer, &Subject::Client(NAMES[2].to_owned()), days, None)?;
    fs::create_dir_all(folder).map_err(file(folder))?;
    let authority = (authority, issuer.key().serialize_pem());
    for (name, (certificate, own)) in NAMES.iter().zip([authority, server, worker]) {
        write(folder, name, &certificate, &own)?;
    }
    Ok(files)
}

impl Authority {
    /// Opens the authority in a folder.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn open(folder: &Path) -> Result<Self, CertificateError> {
        let (certificate, own) = (cert(folder, NAMES[0]), key(folder, NAMES[0]));
        if !certificate.exists() || !own.exists() {
            return Err(CertificateError::NoAuthority(folder.to_owned()));
        }
        let days_left = Described::read(&certificate)?.days_left(OffsetDateTime::now_utc());
        let issuer = Issuer::from_ca_cert_pem(&read(&certificate, Wanted::Certificate)?, key_pair(&own)?);
        let issuer = issuer.map_err(made(&[AUTHORITY.to_owned()]))?;
        Ok(Self { folder: folder.to_owned(), issuer, days_left })
    }

    /// Makes a certificate and its key in files of that name, valid for so many days at most.
    ///
    /// # Errors
    /// If a file exists already or cannot be written, a name is not valid, or the authority has ended.
    pub fn issue(&self, name: &str, subject: &Subject, days: u32) -> Result<Issued, CertificateError> {
        let issued = Issued { certificate: cert(&self.folder, name), key: key(&self.folder, name) };
        if let Some(path) = [&issued.certificate, &issued.key].into_iter().find(|path| path.exists()) {
            return Err(CertificateError::Exists(path.clone()));
        }
        let (certificate, own) = sign(&self.issuer, subject, self.at_most(days)?, None)?;
        write(&self.folder, name, &certificate, &own)?;
        Ok(issued)
    }

    /// Renews a certificate of the folder for so many days at most. Its key and its names stay, and hosts are added. The
    /// file keeps its owner and its mode.
    ///
    /// # Errors
    /// If it cannot be read or written, a name is not valid, or the authority has ended and the certificate is not its
    /// own.
    pub fn renew(&self, name: &str, further: &[String], days: u32) -> Result<Described, CertificateError> {
        let path = cert(&self.folder, name);
        let before = Described::read(&path)?;
        let own = key_pair(&key(&self.folder, name))?;
        let pem = match before.purpose {
            // It would not be what its owner trusts any more.
            _ if before.issuer != AUTHORITY => return Err(CertificateError::Foreign(path)),
            Purpose::Authority => {
                let renewed = authority_params().self_signed(&own);
                renewed.map_err(made(&[AUTHORITY.to_owned()]))?.pem()
            }
            Purpose::Coordinator => {
                let mut hosts = before.hosts;
                let new: Vec<String> = further.iter().filter(|host| !hosts.contains(host)).cloned().collect();
                hosts.extend(new);
                sign(&self.issuer, &Subject::Coordinator(hosts), self.at_most(days)?, Some(own))?.0
            }
            Purpose::Client => sign(&self.issuer, &Subject::Client(before.subject), self.at_most(days)?, Some(own))?.0,
        };
        replace(&path, &pem).map_err(file(&path))?;
        Described::read(&path)
    }

    /// No certificate is valid for longer than its authority, and of one without a day left none is valid.
    fn at_most(&self, days: u32) -> Result<u32, CertificateError> {
        match u32::try_from(self.days_left) {
            Err(_) | Ok(0) => Err(CertificateError::Ended),
            Ok(left) => Ok(days.min(left)),
        }
    }

    /// Whether its own certificate ends before one of so many days would.
    #[must_use]
    pub fn ends_before(&self, days: u32) -> bool {
        self.days_left < i64::from(days)
    }
}

/// The names of the certificates in a folder, without `.pem`; the authority's first.
///
/// # Errors
/// If the folder cannot be read.
pub fn names(folder: &Path) -> Result<Vec<String>, CertificateError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(file(folder))? {
        let path = entry.map_err(file(folder))?.path();
        if path.extension().is_some_and(|ending| ending == "pem")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.sort_by_key(|name| (name != NAMES[0], name.clone()));
    Ok(names)
}

/// The path of a certificate in a folder.
#[must_use]
pub fn cert(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.pem"))
}

/// The path of a key in a folder.
#[must_use]
pub fn key(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.key"))
}

fn authority_params() -> CertificateParams {
    let mut params = valid_for(DAYS_OF_AUTHORITY, CertificateParams::default());
    params.distinguished_name.push(DnType::CommonName, AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn valid_for(days: u32, mut params: CertificateParams) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    // Clocks of other machines may be slow.
    params.not_before = now - Duration::days(1);
    params.not_after = now + Duration::days(days.into());
    params
}

/// A certificate and its key, PEM. Without a key a new one is made.
fn sign(
    issuer: &Issuer<'_, KeyPair>,
    subject: &Subject,
    days: u32,
    own: Option<KeyPair>,
) -> Result<(String, String), CertificateError> {
    let (name, hosts, usage) = match subject {
        Subject::Coordinator(hosts) => ("Secateur coordinator", hosts.as_slice(), ExtendedKeyUsagePurpose::ServerAuth),
        Subject::Client(name) => (name.as_str(), &[][..], ExtendedKeyUsagePurpose::ClientAuth),
    };
    let names = if hosts.is_empty() { vec![name.to_owned()] } else { hosts.to_vec() };
    let failed = made(&names);
    let mut params = valid_for(days, CertificateParams::new(hosts).map_err(&failed)?);
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![usage];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let own = own.map_or_else(KeyPair::generate, Ok).map_err(&failed)?;
    Ok((params.signed_by(&own, issuer).map_err(&failed)?.pem(), own.serialize_pem()))
}

fn write(folder: &Path, name: &str, certificate: &str, own: &str) -> Result<(), CertificateError> {
    let path = key(folder, name);
    private::write_new(&path, own.as_bytes()).map_err(file(&path))?;
    let path = cert(folder, name);
    let mut options = fs::OpenOptions::new();
    let written = options.write(true).create_new(true).open(&path).and_then(|mut file| {
        file.write_all(certificate.as_bytes())?;
        file.sync_all()
    });
    written.map_err(file(&path))
}

/// Replaces a file, which keeps its owner and mode, at once.
fn replace(path: &Path, content: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let before = fs::metadata(path)?;
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    draft.write_all(content.as_bytes())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, chown};
        // Only root can give files away; anybody else writes their own.
        let _ = chown(draft.path(), Some(before.uid()), Some(before.gid()));
    }
    fs::set_permissions(draft.path(), before.permissions())?;
    draft.as_file().sync_all()?;
    draft.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn read(path: &Path, wanted: Wanted) -> Result<String, CertificateError> {
    pem::read(path, wanted).map_err(|source| CertificateError::Pem { path: path.to_owned(), source })
}

fn key_pair(path: &Path) -> Result<KeyPair, CertificateError> {
    KeyPair::from_pem(&read(path, Wanted::Key)?).map_err(made(&[path.display().to_string()]))
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> CertificateError {
    let path = path.to_owned();
    move |source| CertificateError::File { path, source }
}

fn made(names: &[String]) -> impl Fn(rcgen::Error) -> CertificateError + use<> {
    let names = names.to_vec();
    move |source| CertificateError::Make { names: names.clone(), source }
}

#[cfg(test)]
mod tests;
