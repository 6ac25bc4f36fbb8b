//! The worker of Secateur: prepares data, trains and prunes bundles of nets, and serves a coordinator with it.
//!
//! Burn is named in this crate alone, and its backends in [`device`] alone. The crate knows nothing of sweeps, schedules, SQL or
//! reports: it does the stages that it is handed.
//!
//! Without the feature `train` only what a coordinator needs is there: [`data`], [`mod@import`], [`store`], [`transfer`], and
//! what [`prune`] knows of criteria.

pub mod arguments;
pub mod causes;
pub mod configuration;
pub mod connection;
pub mod data;
pub mod direct;
pub mod export;
pub mod http;
pub mod import;
pub mod logging;
pub mod metrics;
pub mod net;
mod onnx;
pub mod pem;
pub mod private;
pub mod prune;
pub mod quantize;
pub mod random;
pub mod scores;
pub mod serve;
pub mod signals;
pub mod store;
pub mod table_file;
pub mod tensors;
pub mod threads;
pub mod time_limit;
pub mod transfer;

#[cfg(feature = "train")]
pub mod cache;
#[cfg(feature = "train")]
pub mod cli;
#[cfg(feature = "train")]
pub mod client;
#[cfg(feature = "train")]
pub mod device;
#[cfg(feature = "train")]
pub mod device_probe;
#[cfg(feature = "train")]
pub mod executor;
#[cfg(feature = "train")]
pub mod measure;
#[cfg(feature = "train")]
pub mod reference;
#[cfg(feature = "train")]
pub mod train;
