//! Access control: authenticates and authorises every call before a service handles it.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use futures::future::{Either, Ready, ready};
use secateur_proto::ids::ContentHash;
use tonic::{Status, body::Body, codegen::http, transport::server::TlsConnectInfo};
use tower::{Layer, Service};
use tracing::{debug, error};

use crate::connections::{PeerInfo, peer};

use super::{
    Audit, Caller, Credential, Role,
    certificates::fingerprint,
    tokens::{self, TokenError, Tokens},
};

/// The interval at which the token of a streaming call is checked again.
const LOOKS: Duration = Duration::from_secs(2);

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admits {
    /// Everybody, authenticated or not.
    All,
    /// Every authenticated caller.
    Known,
    /// Administrators, and these roles.
    Roles(&'static [Role]),
}

/// Who may call the method at the path `/package.Service/Method`. Methods that are not listed are for administrators.
pub(super) fn admits(path: &str) -> Admits {
    use Role::{Read, Submit, Worker};
    if path.starts_with("/grpc.health.v1.Health/") {
        // A load balancer has no token. It only learns that a coordinator is running.
        return Admits::All;
    }
    if path.starts_with("/grpc.reflection.") {
        return Admits::Known;
    }
    match path.strip_prefix("/secateur.v1.").unwrap_or_default() {
        "SweepService/Submit"
        | "SweepService/Extend"
        | "SweepService/Plan"
        | "SweepService/GetPlan"
        | "SweepService/Cancel"
        | "SweepService/Retry"
        | "SweepService/SetShare" => Admits::Roles(&[Submit]),
        "SweepService/Get"
        | "SweepService/List"
        | "SweepService/Watch"
        | "SweepService/GetReport"
        | "SweepService/Explain"
        | "SweepService/Logs"
        | "WorkerService/ListWorkers" => Admits::Roles(&[Submit, Read]),
        "WorkerService/Attach" => Admits::Roles(&[Worker]),
        "ArtifactService/Stat" | "ArtifactService/Put" | "ArtifactService/Commit" => Admits::Roles(&[Submit, Worker]),
        // The service checks which artifacts.
        "ArtifactService/Get" | "ArtifactService/Locate" => Admits::Roles(&[Submit, Worker, Read]),
        _ => Admits::Roles(&[]),
    }
}

/// How callers authenticate.
#[derive(Debug, Clone)]
pub enum Door {
    /// With the tokens in a coordinator's folder, or with worker certificates if TLS requires them. Without a token
    /// file and without required certificates, access is open.
    Folder {
        /// The folder.
        path: PathBuf,
        /// Whether a certificate is accepted as well.
        certificates: bool,
    },
    /// With a single token, which permits everything.
    One(ContentHash),
}

/// The tokens of a folder as last read.
#[derive(Debug, Default)]
struct Cached {
    /// The modification time and size of the file.
    version: Option<(SystemTime, u64)>,
    tokens: Option<Tokens>,
}

/// Authenticates and authorises callers.
#[derive(Debug, Clone)]
pub struct Access {
    door: Door,
    cached: Arc<Mutex<Cached>>,
    audit: Audit,
}

impl Access {
    /// Uses `door`. Refused callers are written to `audit`.
    #[must_use]
    pub fn new(door: Door, audit: Audit) -> Self {
        Self { door, cached: Arc::default(), audit }
    }

    /// The audit log of refused calls and of callers' actions.
    #[must_use]
    pub const fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Whether an accepted caller still has access: its token may have been revoked, or access may no longer be open.
    #[must_use]
    pub fn still_knows(&self, caller: &Caller) -> bool {
        let known = self.with_tokens(|tokens| match (&caller.credential, tokens) {
            (Credential::Token(hash), Some(tokens)) => {
                let mut same = tokens.list().iter().filter(|token| token.hash == *hash);
                same.any(|token| !token.is_expired(SystemTime::now()))
            }
            (Credential::Certificate, _) => true,
            (Credential::None, tokens) => tokens.is_none(),
            (Credential::Token(_), None) => matches!(self.door, Door::One(_)),
        });
        known.unwrap_or(false)
    }

    /// Checks at intervals whether an accepted caller still has access. Returns once it has not.
    pub async fn until_unknown(&self, caller: &Caller) -> Status {
        loop {
            tokio::time::sleep(LOOKS).await;
            if !self.still_knows(caller) {
                return Status::unauthenticated("the token of this call was revoked or has expired");
            }
        }
    }

    const fn takes_certificates(&self) -> bool {
        matches!(self.door, Door::Folder { certificates: true, .. })
    }

    /// Authenticates and authorises a call.
    fn enter(&self, knock: &Knock<'_>) -> Result<Caller, Refused> {
        let admits = admits(knock.path);
        if admits == Admits::All {
            return Ok(Caller { role: Role::Read, ..Caller::anybody(knock.peer) });
        }
        let caller = self.identify(knock).map_err(|status| Refused { who: None, status })?;
        let may = match admits {
            Admits::Roles(roles) => caller.role == Role::Admin || roles.contains(&caller.role),
            Admits::All | Admits::Known => true,
        };
        if may {
            return Ok(caller);
        }
        let method = knock.path.rsplit('/').next().unwrap_or_default();
        let roles = if let Admits::Roles(roles) = admits { roles } else { &[] };
        // People and workers share some methods, but a worker's token does not help a person.
        let of_people = roles.iter().filter(|role| **role != Role::Worker || roles.len() == 1);
        let needed: Vec<String> = of_people.chain(&[Role::Admin]).map(Role::to_string).collect();
        let status = Status::permission_denied(format!(
            "the role {} may not call {method}: use a token with the role {}",
            caller.role,
            needed.join(" or ")
        ));
        Err(Refused { who: Some(caller.name), status })
    }

    fn identify(&self, knock: &Knock<'_>) -> Result<Caller, Status> {
        let unknown = || {
            Status::unauthenticated(if knock.token.is_some() {
                "unknown token: it was revoked, has expired, or belongs to another coordinator"
            } else {
                "this coordinator requires a token: pass --token-file or set SECATEUR_TOKEN; `secateur token create` creates one"
            })
        };
        if let Door::One(hash) = &self.door {
            let known = knock.token.is_some_and(|token| ContentHash::of(token.as_bytes()) == *hash);
            let owner = Caller { credential: Credential::Token(*hash), ..Caller::anybody(knock.peer) };
            return if known { Ok(owner) } else { Err(unknown()) };
        }
        let found = self.with_tokens(|tokens| {
            let found = tokens.zip(knock.token).and_then(|(tokens, shown)| tokens.find(shown, SystemTime::now()));
            (tokens.is_some(), found.cloned())
        });
        let (asks, found) = found.map_err(|error| {
            error!(error = &error as &dyn std::error::Error, "cannot read the tokens; all calls are refused");
            Status::unavailable("the coordinator cannot read its tokens; see its log")
        })?;
        match (found, &knock.certificate) {
            (Some(token), _) => Ok(Caller {
                name: token.name,
                role: token.role,
                credential: Credential::Token(token.hash),
                peer: knock.peer,
            }),
            (None, Some(name)) if knock.token.is_none() => Ok(Caller {
                name: name.clone(),
                role: Role::Worker,
                credential: Credential::Certificate,
                peer: knock.peer,
            }),
            (None, _) if asks || self.takes_certificates() => Err(unknown()),
            (None, _) => Ok(Caller::anybody(knock.peer)),
        }
    }

    /// The tokens of the folder, read again if the file has changed.
    fn with_tokens<T>(&self, use_them: impl FnOnce(Option<&Tokens>) -> T) -> Result<T, TokenError> {
        let Door::Folder { path, .. } = &self.door else { return Ok(use_them(None)) };
        let version = path.join(tokens::FILE).metadata().and_then(|file| Ok((file.modified()?, file.len()))).ok();
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if version.is_none() || cached.version != version {
            // If the file cannot be read, nobody has access, and it is read again at the next call.
            cached.version = None;
            cached.tokens = Tokens::read(path)?;
            cached.version = version;
        }
        Ok(use_them(cached.tokens.as_ref()))
    }
}

/// A refused call.
#[derive(Debug)]
struct Refused {
    /// The name of an authenticated caller without permission.
    who: Option<String>,
    /// The answer.
    status: Status,
}

#[cfg(test)]
impl Refused {
    fn code(&self) -> tonic::Code {
        self.status.code()
    }
}

/// What is known about a call before it is accepted.
struct Knock<'a> {
    path: &'a str,
    token: Option<&'a str>,
    /// The name in the client certificate.
    certificate: Option<String>,
    peer: Option<SocketAddr>,
}

impl<'a> Knock<'a> {
    fn of(request: &'a http::Request<Body>) -> Self {
        let header = request.headers().get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let extensions = request.extensions();
        let tls = extensions.get::<TlsConnectInfo<PeerInfo>>();
        let certificates = tls.and_then(TlsConnectInfo::peer_certs);
        Self {
            path: request.uri().path(),
            token: header.and_then(|value| value.strip_prefix("Bearer ")),
            certificate: certificates.and_then(|chain| chain.first().map(|own| fingerprint(own))),
            peer: peer(extensions),
        }
    }
}

/// The layer that checks access in front of the services.
#[derive(Debug, Clone)]
pub struct AccessLayer(pub Access);

impl<S> Layer<S> for AccessLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { access: self.0.clone(), inner }
    }
}

/// Services with access control.
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    access: Access,
    inner: S,
}

impl<S> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Self::Response, Self::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let knock = Knock::of(&request);
        match self.access.enter(&knock) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                Either::Left(self.inner.call(request))
            }
            Err(Refused { who, status }) => {
                let (path, peer): (String, _) = (knock.path.chars().take(120).collect(), knock.peer);
                debug!(path, ?peer, who, reason = status.message(), "refused");
                self.access.audit.refused(peer.map(|peer| peer.ip()), who.as_deref(), &path, status.message());
                Either::Right(ready(Ok(status.into_http())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use secateur_proto::DESCRIPTORS;
    use tonic::Code;

    use super::*;

    fn knock<'a>(path: &'a str, token: Option<&'a str>) -> Knock<'a> {
        Knock { path, token, certificate: None, peer: None }
    }

    fn access(folder: &std::path::Path, certificates: bool) -> Access {
        Access::new(Door::Folder { path: folder.to_owned(), certificates }, Audit::none())
    }

    fn create(folder: &std::path::Path, name: &str, role: Role, lifetime: Option<Duration>) -> String {
        Tokens::change(folder, |tokens| tokens.create(name, role, SystemTime::now(), lifetime)).expect("creates")
    }

    /// Every method of the services, as a path.
    fn methods() -> Vec<String> {
        let set = <prost_types::FileDescriptorSet as prost::Message>::decode(DESCRIPTORS).expect("descriptors");
        let services =
            set.file.iter().flat_map(|file| file.service.iter().map(move |service| (file.package(), service)));
        let paths = services.flat_map(|(package, service)| {
            service.method.iter().map(move |method| format!("/{package}.{}/{}", service.name(), method.name()))
        });
        paths.filter(|path| path.starts_with("/secateur.v1.") && !path.contains("Executor")).collect()
    }

    /// For administrators only: they destroy other people's work.
    const DESTRUCTIVE: [&str; 2] = ["/secateur.v1.SweepService/Forget", "/secateur.v1.ArtifactService/CollectGarbage"];

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
            assert!(
                matches!(admits(&method), Admits::Roles([_, ..])),
                "{method} is an administrator's alone: meant so?"
            );
        }
    }

    #[test]
    fn a_role_may_do_its_own_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let access = access(folder.path(), false);
        let token = |role: Role| create(folder.path(), role.name(), role, None);
        let [admin, submit, worker, read] = Role::ALL.map(token);
        let may = |token: &str, method: &str| {
            access
                .enter(&knock(&format!("/secateur.v1.{method}"), Some(token)))
                .map(drop)
                .map_err(|status| status.code())
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
        let access = access(folder, false);
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
        let shows = |certificates: bool, path: &str, certificate: Option<&str>, token: Option<&str>| {
            let knock = Knock { path, token, certificate: certificate.map(str::to_owned), peer: None };
            access(folder.path(), certificates).enter(&knock).map(|caller| caller.role).map_err(|status| status.code())
        };
        let attach = "/secateur.v1.WorkerService/Attach";
        assert_eq!(shows(true, attach, Some("gpu-1"), None), Ok(Role::Worker));
        assert_eq!(shows(true, attach, None, None), Err(Code::Unauthenticated));
        assert_eq!(shows(true, attach, Some("gpu-1"), Some("wrong")), Err(Code::Unauthenticated));
        let submit = "/secateur.v1.SweepService/Submit";
        assert_eq!(shows(true, submit, Some("gpu-1"), None), Err(Code::PermissionDenied));
    }

    #[test]
    fn one_token_opens_a_door_of_its_own() {
        let access = Access::new(Door::One(ContentHash::of(b"secret")), Audit::none());
        let enters = |token| access.enter(&knock("/secateur.v1.SweepService/Submit", token)).map(|caller| caller.role);
        assert_eq!(enters(Some("secret")).expect("opens"), Role::Admin);
        assert!(enters(Some("other")).is_err() && enters(None).is_err());
    }
}
