//! The interface to executors: child processes of a program, or their replacement in a simulation. It knows nothing of
//! leases.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use secateur_proto::v1::{executor_reply::Reply, executor_request::Request};

use crate::executor::process::{ExecutorOptions, ExecutorProcess, ProcessError};

/// Starts executors.
pub trait Executors: fmt::Debug + Send + Sync {
    /// Starts one.
    ///
    /// # Errors
    /// If it cannot be started.
    fn start(&self, options: &ExecutorOptions) -> Result<Box<dyn Executor>, ProcessError>;
}

/// A started executor. Dropping it ends it together with its current work.
#[async_trait]
pub trait Executor: fmt::Debug + Send {
    /// Sends a request.
    ///
    /// # Errors
    /// If it has ended.
    async fn send(&mut self, request: Request) -> Result<(), ProcessError>;

    /// Waits for the next reply.
    ///
    /// # Errors
    /// If it has ended or sent an invalid message.
    async fn receive(&mut self) -> Result<Reply, ProcessError>;

    /// Why it ended, or `None` if it has not.
    async fn ended(&mut self) -> Option<ProcessError>;

    /// The lines that it wrote to its standard error since the last call, for the logs.
    fn said(&self) -> Vec<String> {
        Vec::new()
    }

    /// The folder for its outputs until its bundle has ended, or `None` if it writes to the store itself.
    fn outputs(&self) -> Option<&Path>;
}

/// Processes of this program, which has the subcommand `executor`.
#[derive(Debug)]
pub struct Program(pub PathBuf);

impl Executors for Program {
    fn start(&self, options: &ExecutorOptions) -> Result<Box<dyn Executor>, ProcessError> {
        Ok(Box::new(ExecutorProcess::start(&self.0, options)?))
    }
}

#[async_trait]
impl Executor for ExecutorProcess {
    async fn send(&mut self, request: Request) -> Result<(), ProcessError> {
        Self::send(self, request).await
    }

    async fn receive(&mut self) -> Result<Reply, ProcessError> {
        Self::receive(self).await
    }

    async fn ended(&mut self) -> Option<ProcessError> {
        Self::ended(self).await
    }

    fn said(&self) -> Vec<String> {
        Self::said(self)
    }

    fn outputs(&self) -> Option<&Path> {
        Self::outputs(self)
    }
}
