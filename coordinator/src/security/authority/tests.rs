use super::*;

fn hosts() -> Vec<String> {
    ["head.example", "10.0.0.5", "::1"].map(str::to_owned).to_vec()
}

#[test]
fn nothing_is_overwritten_and_keys_are_their_owners() {
    let folder = tempfile::tempdir().expect("a folder");
    init(folder.path(), &hosts(), DAYS).expect("makes them");
    let before = fs::read(folder.path().join("ca.key")).expect("reads");
    assert!(matches!(init(folder.path(), &hosts(), DAYS), Err(CertificateError::Exists(_))));
    fs::remove_file(folder.path().join("ca.pem")).expect("removes");
    assert!(matches!(init(folder.path(), &hosts(), DAYS), Err(CertificateError::Exists(_))));
    assert_eq!(fs::read(folder.path().join("ca.key")).expect("reads"), before);
    assert!(matches!(Authority::open(folder.path()), Err(CertificateError::NoAuthority(_))));
    #[cfg(unix)]
    for name in ["ca.key", "server.key", "worker.key"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(folder.path().join(name)).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let other = folder.path().join("other");
    assert!(matches!(init(&other, &["naïve".to_owned()], DAYS), Err(CertificateError::Make { .. })));
    assert!(!other.exists());
}

#[test]
fn a_certificate_says_what_it_is_for_and_when_it_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    init(folder.path(), &hosts(), 30).expect("makes them");
    let of = |name: &str| Described::read(&cert(folder.path(), name)).expect("reads");
    let now = OffsetDateTime::now_utc();
    let (ca, server, worker) = (of("ca"), of("server"), of("worker"));
    assert_eq!(
        (ca.purpose, server.purpose, worker.purpose),
        (Purpose::Authority, Purpose::Coordinator, Purpose::Client)
    );
    assert_eq!(server.hosts, hosts());
    assert_eq!(worker.subject, "worker");
    // It was made a moment ago.
    assert_eq!((server.days_left(now), ca.days_left(now)), (29, 3649));
    assert_eq!(server.days_left(server.ends), 0);
    assert_eq!(server.days_left(server.ends + Duration::SECOND), -1);
    assert_eq!(names(folder.path()).expect("reads"), ["ca", "server", "worker"]);
}

#[test]
fn a_renewed_certificate_has_its_key_its_names_and_its_owner() {
    let folder = tempfile::tempdir().expect("a folder");
    init(folder.path(), &hosts(), 30).expect("makes them");
    let authority = Authority::open(folder.path()).expect("is there");
    let path = cert(folder.path(), "server");
    #[cfg(unix)]
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).expect("changes");
    let (before, own) =
        (Described::read(&path).expect("reads"), fs::read(key(folder.path(), "server")).expect("reads"));
    let renewed = authority.renew("server", &["new.example".to_owned(), "::1".to_owned()], 60).expect("renews");
    assert_eq!(renewed.hosts, [hosts(), vec!["new.example".to_owned()]].concat());
    // What revokes one revokes both.
    assert!(renewed.ends > before.ends && renewed.name == before.name);
    assert_eq!(fs::read(key(folder.path(), "server")).expect("reads"), own);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o640);
    }
    // An authority outlives what it signs.
    authority.renew("worker", &[], 100_000).expect("renews");
    let of = |name: &str| Described::read(&cert(folder.path(), name)).expect("reads");
    assert!(of("worker").ends <= of("ca").ends);
    authority.renew("ca", &[], DAYS).expect("renews");
    assert_eq!(of("ca").subject, AUTHORITY);
}

#[test]
fn an_authority_that_has_ended_signs_only_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    init(folder.path(), &hosts(), 30).expect("makes them");
    for days_left in [0, -1] {
        let authority = Authority { days_left, ..Authority::open(folder.path()).expect("is there") };
        let issued = authority.issue("gpu-1", &Subject::Client("gpu-1".to_owned()), DAYS).expect_err("has ended");
        assert_eq!(issued.to_string(), "the authority has ended: `secateur cert renew ca`");
        for name in ["server", "worker"] {
            assert!(matches!(authority.renew(name, &[], 30), Err(CertificateError::Ended)), "{name}");
        }
        authority.renew("ca", &[], DAYS).expect("renews");
    }
}

#[test]
fn an_authority_signs_again_later() {
    let folder = tempfile::tempdir().expect("a folder");
    init(folder.path(), &hosts(), DAYS).expect("makes them");
    let authority = Authority::open(folder.path()).expect("is there");
    let issued = authority.issue("gpu-1", &Subject::Client("gpu-1".to_owned()), DAYS).expect("signs");
    assert!(matches!(
        authority.issue("gpu-1", &Subject::Client("x".to_owned()), DAYS),
        Err(CertificateError::Exists(_))
    ));
    assert_eq!(Described::read(&issued.certificate).expect("reads").subject, "gpu-1");
    // Its key belongs to it, and the server accepts both.
    let files = super::super::certificates::TlsFiles {
        certificate: issued.certificate,
        key: issued.key,
        client_authority: Some(cert(folder.path(), "ca")),
    };
    files.config().expect("fit each other");
    let mixed = super::super::certificates::TlsFiles { key: key(folder.path(), "server"), ..files };
    assert!(matches!(mixed.config(), Err(CertificateError::Invalid { .. })));
}
