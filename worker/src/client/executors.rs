//! What a worker asks of executors, whatever they are: child processes of a program, or what a simulation has in their place. It
//! knows nothing of leases.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use secateur_proto::v1::{executor_reply::Reply, executor_request::Request};

use crate::executor::process::{ExecutorOptions, ExecutorProcess, ProcessError};

/// Where executors come from.
pub trait Executors: fmt::Debug + Send + Sync {
    /// Starts one.
    ///
    /// # Errors
    /// If it cannot be started.
    fn start(&self, options: &ExecutorOptions) -> Result<Box<dyn Executor>, ProcessError>;
}

/// An executor that was started. Dropping it ends it, and what it is doing.
#[async_trait]
pub trait Executor: fmt::Debug + Send {
    /// Asks for something.
    ///
    /// # Errors
    /// If it has ended.
    async fn send(&mut self, request: Request) -> Result<(), ProcessError>;

    /// The next reply.
    ///
    /// # Errors
    /// If it has ended or speaks nonsense.
    async fn receive(&mut self) -> Result<Reply, ProcessError>;

    /// How it ended, if it has.
    async fn ended(&mut self) -> Option<ProcessError>;

    /// The lines that it said of its own since this was asked last, for whoever reads the logs.
    fn said(&self) -> Vec<String> {
        Vec::new()
    }

    /// The folder in which it leaves what it makes, until its bundle has ended; nothing: in the store itself.
    fn outputs(&self) -> Option<&Path>;
}

/// Processes of this program, which has the verb `executor`.
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
