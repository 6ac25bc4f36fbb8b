//! Who may do what: roles, tokens, certificates, and the log of what was done. It knows the names of methods, and nothing of sweeps,
//! stages or the command line.

mod access;
mod audit;
pub mod certificates;
mod grants;
pub mod tokens;

use std::{fmt, net::SocketAddr};

use secateur_proto::ids::ContentHash;
use serde::{Deserialize, Serialize};

pub use self::{
    access::{Access, AccessLayer, Door},
    audit::Audit,
    grants::{Grants, Session},
};

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Admin,
    /// Submit and cancel sweeps, and all that `read` may.
    Submit,
    /// Train for the coordinator, with the files that its leases need.
    Worker,
    /// Look at sweeps, reports and workers, and fetch the nets of reports; no data.
    Read,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Submit, Self::Worker, Self::Read];

    /// Its name, in tokens too.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Submit => "submit",
            Self::Worker => "worker",
            Self::Read => "read",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a caller came in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// Nothing: the door stood open.
    None,
    /// The token of that hash.
    Token(ContentHash),
    /// A certificate.
    Certificate,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// That of the token or of the certificate.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// What it came in with.
    pub credential: Credential,
    /// From where, if known.
    pub peer: Option<SocketAddr>,
}

impl Caller {
    /// Whoever calls a coordinator that asks nobody who they are.
    #[must_use]
    pub fn anybody(peer: Option<SocketAddr>) -> Self {
        Self { name: "anybody".to_owned(), role: Role::Admin, credential: Credential::None, peer }
    }

    /// Of a request that came through the [`AccessLayer`]: nobody else gets that far.
    #[must_use]
    pub fn of<T>(request: &tonic::Request<T>) -> Self {
        let nobody = || Self { role: Role::Read, ..Self::anybody(None) };
        request.extensions().get::<Self>().cloned().unwrap_or_else(nobody)
    }
}
