//! Security: roles, tokens, certificates, and the audit log. It knows names of methods, but no sweeps, stages or
//! command line.

mod access;
mod audit;
pub mod authority;
pub mod certificates;
pub mod expiry;
mod file;
mod grants;
pub mod revoked;
pub mod tls;
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
    /// Submit and cancel sweeps, and everything that `read` may do.
    Submit,
    /// Train for the coordinator, and read the files that its leases need.
    Worker,
    /// Read sweeps, reports and workers, and download published nets, but no data.
    Read,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Submit, Self::Worker, Self::Read];

    /// Its name, also in tokens.
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

/// How a caller authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// Not at all: access was open.
    None,
    /// The token of that hash.
    Token(ContentHash),
    /// A certificate.
    Certificate,
}

/// The name of a caller without one.
const NOBODY: &str = "anybody";

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The name of the token or certificate. Without either, the name that the caller said.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// How it authenticated.
    pub credential: Credential,
    /// Its address, if known.
    pub peer: Option<SocketAddr>,
}

impl Caller {
    /// The caller if access is open.
    #[must_use]
    pub fn anybody(peer: Option<SocketAddr>) -> Self {
        Self { name: NOBODY.to_owned(), role: Role::Admin, credential: Credential::None, peer }
    }

    /// Whether it neither authenticated nor said a name.
    #[must_use]
    pub fn is_nameless(&self) -> bool {
        self.name == NOBODY
    }

    /// The caller of a request that passed the [`AccessLayer`]; services get no others.
    #[must_use]
    pub fn of<T>(request: &tonic::Request<T>) -> Self {
        let nobody = || Self { role: Role::Read, ..Self::anybody(None) };
        request.extensions().get::<Self>().cloned().unwrap_or_else(nobody)
    }
}
