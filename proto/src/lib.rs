//! Secateur's contract: the gRPC messages (module [`v1`]) and the validated vocabulary behind them.
//!
//! This crate does no input or output and holds no policy: it knows nothing of Burn, SQL, YAML, files or clocks.

pub mod convert;
pub mod ids;
pub mod metrics;
pub mod outcome;
pub mod spec;

/// The generated messages, clients and servers of `proto/secateur/v1`.
#[allow(
    missing_docs,
    clippy::allow_attributes_without_reason,
    clippy::large_enum_variant,
    reason = "generated; the .proto files are the documentation"
)]
pub mod v1 {
    tonic::include_proto!("secateur.v1");
}

/// The compiled `.proto` files, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Version of the messages between workers and coordinators. A coordinator rejects workers of any other version.
pub const PROTOCOL_VERSION: u32 = 7;

/// Version of what stages compute. It is part of every stage key: raise it if the same spec gives other numbers than
/// before.
pub const SEMANTICS_VERSION: u32 = 4;

/// The longest message, in bytes, that workers, coordinators and commands accept. Chunks of files have 1 MiB; the
/// longest other message is a lease of many stages.
pub const MAX_MESSAGE_LEN: usize = 16 << 20;
