//! Access control: authenticates and authorises every call before a service handles it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use futures::future::{Either, Ready, ready};
use secateur_proto::ids::ContentHash;
use secateur_worker::{causes::with_causes, connection::USER_HEADER};
use time::OffsetDateTime;
use tonic::{Status, body::Body, codegen::http, transport::server::TlsConnectInfo};
use tower::{Layer, Service};
use tracing::{debug, error};

use crate::connections::{PeerInfo, peer};

use super::{
    Audit, Caller, Credential, Role,
    certificates::fingerprint,
    revoked::{self, Revoked, RevokedError},
    tokens::{self, Found, TokenError, Tokens},
};

/// The maximum length of a user's name.
const LONGEST_USER: usize = 64;

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
    /// With the tokens in a coordinator's folder, or with worker certificates.
    Folder {
        /// The folder.
        path: PathBuf,
        /// Whether everybody has access until there is a token.
        open: bool,
    },
    /// With a single token, which permits everything.
    One(ContentHash),
}

/// A file of a folder as last read.
#[derive(Debug, Default)]
struct Cached<T> {
    /// The modification time and size of the file.
    version: Option<(SystemTime, u64)>,
    content: T,
}

impl<T> Cached<T> {
    /// The content, read again if the file has changed.
    fn fresh<E>(&mut self, file: &Path, read: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        let version = file.metadata().and_then(|file| Ok((file.modified()?, file.len()))).ok();
        if version.is_none() || self.version != version {
            // If the file cannot be read, nobody has access, and it is read again at the next call.
            self.version = None;
            self.content = read()?;
            self.version = version;
        }
        Ok(&self.content)
    }
}

/// Authenticates and authorises callers.
#[derive(Debug, Clone)]
pub struct Access {
    door: Door,
    /// The coordinator, which strange tokens are told.
    coordinator: Arc<str>,
    tokens: Arc<Mutex<Cached<Option<Tokens>>>>,
    revoked: Arc<Mutex<Cached<Revoked>>>,
    audit: Audit,
}

impl Access {
    /// Uses the `door` of `coordinator`. Refused callers are written to `audit`.
    #[must_use]
    pub fn new(door: Door, coordinator: &str, audit: Audit) -> Self {
        Self { door, coordinator: coordinator.into(), tokens: Arc::default(), revoked: Arc::default(), audit }
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
                matches!(tokens.find_hash(hash, SystemTime::now()), Found::Valid(_))
            }
            (Credential::Certificate, _) => !self.is_revoked(&caller.name).unwrap_or(true),
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
                return Status::unauthenticated(match caller.credential {
                    Credential::Certificate => "the certificate of this call was revoked",
                    Credential::Token(_) | Credential::None => "the token of this call was revoked or has expired",
                });
            }
        }
    }

    const fn is_open(&self) -> bool {
        matches!(self.door, Door::Folder { open: true, .. })
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
            let own = &*self.coordinator;
            Status::unauthenticated(match knock.token {
                Some(token) => match tokens::coordinator_of(token).filter(|other| *other != own) {
                    Some(other) => format!(
                        "this is coordinator {own}, and the token is for coordinator {other}: use that one's address, or a token of this one"
                    ),
                    None => "unknown token: it was revoked or belongs to another coordinator; `secateur token create` creates one".to_owned(),
                },
                None => "this coordinator requires a token: pass --token-file or set SECATEUR_TOKEN; `secateur token create` creates one".to_owned(),
            })
        };
        let anybody = || match knock.user {
            Some(user) => Caller { name: user.to_owned(), ..Caller::anybody(knock.peer) },
            None => Caller::anybody(knock.peer),
        };
        if let Door::One(hash) = &self.door {
            let known = knock.token.is_some_and(|token| ContentHash::of(token.as_bytes()) == *hash);
            let owner = Caller { credential: Credential::Token(*hash), ..anybody() };
            return if known { Ok(owner) } else { Err(unknown()) };
        }
        let found = self.with_tokens(|tokens| {
            let found =
                match tokens.zip(knock.token).map(|(tokens, shown)| (tokens.find(shown, SystemTime::now()), shown)) {
                    Some((Found::Valid(token), shown)) => Some(Ok(Caller {
                        name: token.name.clone(),
                        role: token.role,
                        credential: Credential::Token(ContentHash::of(shown.as_bytes())),
                        peer: knock.peer,
                    })),
                    Some((Found::Expired(token, end), _)) => Some(Err(Status::unauthenticated(format!(
                        "the token {name} expired on {}: `secateur token rotate {name} --expires TIME` replaces it",
                        day(end),
                        name = token.name
                    )))),
                    Some((Found::Unknown, _)) | None => None,
                };
            (tokens.is_some(), found)
        });
        let (asks, found) = found.map_err(|error| unreadable(&error))?;
        match (found, &knock.certificate) {
            (Some(found), _) => found,
            (None, Some(name)) if knock.token.is_none() => {
                if self.is_revoked(name).map_err(|error| unreadable(&error))? {
                    return Err(Status::unauthenticated(
                        "the certificate was revoked: `secateur cert issue --client NAME` makes another one",
                    ));
                }
                Ok(Caller {
                    name: name.clone(),
                    role: Role::Worker,
                    credential: Credential::Certificate,
                    peer: knock.peer,
                })
            }
            (None, _) if asks || !self.is_open() => Err(unknown()),
            (None, _) => Ok(anybody()),
        }
    }

    /// The tokens of the folder, read again if the file has changed.
    fn with_tokens<T>(&self, use_them: impl FnOnce(Option<&Tokens>) -> T) -> Result<T, TokenError> {
        let Door::Folder { path, .. } = &self.door else { return Ok(use_them(None)) };
        let mut cached = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(use_them(cached.fresh(&path.join(tokens::FILE), || Tokens::read(path))?.as_ref()))
    }

    /// Whether the certificate of that name is revoked.
    fn is_revoked(&self, name: &str) -> Result<bool, RevokedError> {
        let Door::Folder { path, .. } = &self.door else { return Ok(false) };
        let mut cached = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(cached.fresh(&path.join(revoked::FILE), || Revoked::read(path))?.holds(name))
    }
}

/// What a caller reads whose credential cannot be checked.
fn unreadable(error: &dyn std::error::Error) -> Status {
    error!(error = with_causes(error), "cannot read who has access; all calls are refused");
    Status::unavailable("the coordinator cannot read its tokens; see its log")
}

/// The day of so many seconds since 1970, in UTC.
fn day(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    moment.map_or_else(|| "an unknown day".to_owned(), |moment| moment.date().to_string())
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
    /// What the caller says who it is.
    user: Option<&'a str>,
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
            user: claimed_user(request.headers()),
            peer: peer(extensions),
        }
    }
}

/// The name in the header of the user, if it is fit to be written down.
fn claimed_user(headers: &http::HeaderMap) -> Option<&str> {
    let name = headers.get(USER_HEADER)?.to_str().ok()?;
    let is_fit = !name.is_empty() && name.len() <= LONGEST_USER && name.bytes().all(|byte| byte.is_ascii_graphic());
    is_fit.then_some(name)
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
mod tests;
