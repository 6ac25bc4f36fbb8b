use secateur_proto::DESCRIPTORS;
use tonic::Code;

use super::*;

fn knock<'a>(path: &'a str, token: Option<&'a str>) -> Knock<'a> {
    Knock { path, token, certificate: None, user: None, peer: None }
}

fn access(folder: &std::path::Path, open: bool) -> Access {
    Access::new(Door::Folder { path: folder.to_owned(), open }, "0123456789ab", Audit::none())
}

fn create(folder: &std::path::Path, name: &str, role: Role, lifetime: Option<Duration>) -> String {
    Tokens::change(folder, |tokens| tokens.create(name, role, SystemTime::now(), lifetime, None)).expect("creates")
}

/// Every method of the services, as a path.
fn methods() -> Vec<String> {
    let set = <prost_types::FileDescriptorSet as prost::Message>::decode(DESCRIPTORS).expect("descriptors");
    let services = set.file.iter().flat_map(|file| file.service.iter().map(move |service| (file.package(), service)));
    let paths = services.flat_map(|(package, service)| {
        service.method.iter().map(move |method| format!("/{package}.{}/{}", service.name(), method.name()))
    });
    paths.filter(|path| path.starts_with("/secateur.v1.") && !path.contains("Executor")).collect()
}

/// For administrators only: they destroy other people's work, or change what everybody's work runs on.
const DESTRUCTIVE: [&str; 3] = [
    "/secateur.v1.SweepService/Forget",
    "/secateur.v1.ArtifactService/CollectGarbage",
    "/secateur.v1.WorkerService/ManageWorker",
];

#[test]
fn every_method_says_whom_it_admits() {
    let mut methods = methods();
    assert!(methods.len() >= 12, "{methods:?}");
    let count = methods.len();
    methods.retain(|method| !DESTRUCTIVE.contains(&method.as_str()));
    assert_eq!(methods.len(), count - DESTRUCTIVE.len());
    for method in DESTRUCTIVE {
        assert_eq!(admits(method), Admits::Roles(&[]));
    }
    for method in methods {
        assert!(matches!(admits(&method), Admits::Roles([_, ..])), "{method} is an administrator's alone: meant so?");
    }
}

#[test]
fn a_role_may_do_its_own_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let access = access(folder.path(), true);
    let token = |role: Role| create(folder.path(), role.name(), role, None);
    let [admin, submit, worker, read] = Role::ALL.map(token);
    let may = |token: &str, method: &str| {
        access.enter(&knock(&format!("/secateur.v1.{method}"), Some(token))).map(drop).map_err(|status| status.code())
    };
    let denied = Err(Code::PermissionDenied);
    for method in methods() {
        assert_eq!(may(&admin, method.trim_start_matches("/secateur.v1.")), Ok(()));
    }
    for (method, [submits, works, reads]) in [
        ("SweepService/Submit", [Ok(()), denied, denied]),
        ("SweepService/Extend", [Ok(()), denied, denied]),
        ("SweepService/Cancel", [Ok(()), denied, denied]),
        ("SweepService/Retry", [Ok(()), denied, denied]),
        ("SweepService/SetShare", [Ok(()), denied, denied]),
        ("SweepService/GetReport", [Ok(()), denied, Ok(())]),
        ("SweepService/Explain", [Ok(()), denied, Ok(())]),
        ("SweepService/Logs", [Ok(()), denied, Ok(())]),
        ("WorkerService/ListWorkers", [Ok(()), denied, Ok(())]),
        ("WorkerService/Attach", [denied, Ok(()), denied]),
        ("ArtifactService/Put", [Ok(()), Ok(()), denied]),
        ("ArtifactService/Get", [Ok(()), Ok(()), Ok(())]),
        ("SweepService/Forget", [denied, denied, denied]),
        ("ArtifactService/CollectGarbage", [denied, denied, denied]),
        ("SweepService/Unheard", [denied, denied, denied]),
    ] {
        assert_eq!(
            [may(&submit, method), may(&worker, method), may(&read, method)],
            [submits, works, reads],
            "{method}"
        );
    }
}

#[test]
fn tokens_change_while_the_door_is_in_use() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let access = access(folder, true);
    let list = "/secateur.v1.SweepService/List";
    let enters = |token: Option<&str>| access.enter(&knock(list, token)).map_err(|status| status.code());
    assert_eq!(enters(None).expect("the door is open").role, Role::Admin);
    let first = create(folder, "first", Role::Read, None);
    assert_eq!(enters(None), Err(Code::Unauthenticated));
    let caller = enters(Some(&first)).expect("is known");
    assert_eq!((caller.name.as_str(), caller.role), ("first", Role::Read));
    assert!(access.still_knows(&caller));
    let second = create(folder, "second", Role::Read, None);
    Tokens::change(folder, |tokens| tokens.revoke("first").map(drop)).expect("revokes");
    assert_eq!(enters(Some(&first)), Err(Code::Unauthenticated));
    assert!(!access.still_knows(&caller));
    enters(Some(&second)).expect("is known");
    // The last one is gone, but access is not open again.
    Tokens::change(folder, |tokens| tokens.revoke("second").map(drop)).expect("revokes");
    assert_eq!(enters(None), Err(Code::Unauthenticated));
    std::fs::write(folder.join(tokens::FILE), "{").expect("writes");
    assert_eq!(enters(Some(&second)), Err(Code::Unavailable));
    assert!(!access.still_knows(&caller));
    let over = create_anew(folder);
    assert_eq!(enters(Some(&over)), Err(Code::Unauthenticated));
    access.enter(&knock("/grpc.health.v1.Health/Check", None)).expect("says that it is there");
    assert!(access.enter(&knock("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", None)).is_err());
}

/// A file with one expired token.
fn create_anew(folder: &std::path::Path) -> String {
    std::fs::remove_file(folder.join(tokens::FILE)).expect("removes");
    create(folder, "over", Role::Read, Some(Duration::ZERO))
}

#[test]
fn a_certificate_is_a_workers() {
    let folder = tempfile::tempdir().expect("a folder");
    let access = access(folder.path(), false);
    let shows = |path: &str, certificate: Option<&str>, token: Option<&str>| {
        let knock = Knock { path, token, certificate: certificate.map(str::to_owned), user: None, peer: None };
        access.enter(&knock).map_err(|status| status.code())
    };
    let role = |entered: Result<Caller, Code>| entered.map(|caller| caller.role);
    let attach = "/secateur.v1.WorkerService/Attach";
    let gpu = Some("certificate-0123456789ab");
    let caller = shows(attach, gpu, None).expect("is let in");
    assert_eq!(caller.role, Role::Worker);
    // With TLS nobody is an administrator without showing anything, though there is no token yet.
    assert_eq!(role(shows(attach, None, None)), Err(Code::Unauthenticated));
    assert_eq!(role(shows(attach, gpu, Some("wrong"))), Err(Code::Unauthenticated));
    let submit = "/secateur.v1.SweepService/Submit";
    assert_eq!(role(shows(submit, gpu, None)), Err(Code::PermissionDenied));
    Revoked::add(folder.path(), "certificate-0123456789ab", None, SystemTime::now()).expect("revokes");
    assert_eq!(role(shows(attach, gpu, None)), Err(Code::Unauthenticated));
    assert!(!access.still_knows(&caller));
    assert_eq!(role(shows(attach, Some("certificate-aaaaaaaaaaaa"), None)), Ok(Role::Worker));
    std::fs::write(folder.path().join(revoked::FILE), "{").expect("writes");
    assert_eq!(role(shows(attach, Some("certificate-aaaaaaaaaaaa"), None)), Err(Code::Unavailable));
}

#[test]
fn a_token_that_is_of_no_use_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let access = access(folder.path(), true);
    let over = create(folder.path(), "over", Role::Read, Some(Duration::ZERO));
    let strange = tokens::secret(Role::Read, Some("ba9876543210")).expect("random numbers");
    let own = tokens::secret(Role::Read, Some("0123456789ab")).expect("random numbers");
    let list = "/secateur.v1.SweepService/List";
    let said =
        |token: Option<&str>| access.enter(&knock(list, token)).expect_err("is refused").status.message().to_owned();
    assert!(said(Some(&over)).starts_with("the token over expired on 2"), "{}", said(Some(&over)));
    assert!(
        said(Some(&strange)).contains("coordinator 0123456789ab")
            && said(Some(&strange)).contains("coordinator ba9876543210")
    );
    assert!(said(Some(&own)).starts_with("unknown token"));
    assert!(said(None).contains("requires a token"));
}

#[test]
fn one_token_opens_a_door_of_its_own() {
    let access = Access::new(Door::One(ContentHash::of(b"secret")), "0123456789ab", Audit::none());
    let enters = |token| access.enter(&knock("/secateur.v1.SweepService/Submit", token)).map(|caller| caller.role);
    assert_eq!(enters(Some("secret")).expect("opens"), Role::Admin);
    assert!(enters(Some("other")).is_err() && enters(None).is_err());
}
