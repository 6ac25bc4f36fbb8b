//! A network of its own: the coordinator and each worker in a network namespace, as on machines of their own, with a cable from the
//! coordinator to each worker that can be pulled out. Needs Linux, iproute2 and root.

use std::{net::Ipv4Addr, process::Command};

use super::{Network, PORT};
use crate::common::Lab;

/// The namespaces. Dropped, they are gone, and their cables with them.
pub(super) struct Namespaces {
    coordinator: String,
    workers: Vec<String>,
}

/// One end of a worker's cable: 1 is the coordinator's, 2 the worker's.
fn end(worker: usize, side: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, u8::try_from(worker).expect("are few"), side)
}

/// What the coordinator calls its end of the cable.
fn cable(worker: usize) -> String {
    format!("cable{worker}")
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let done = Command::new("ip").args(arguments).output().map_err(|error| error.to_string())?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&done.stderr).trim()))
}

impl Namespaces {
    /// For so many workers; or why there can be none on this machine.
    pub(super) fn new(workers: usize) -> Result<Self, String> {
        let name = |role: &str| format!("secateur{}{role}", std::process::id());
        let coordinator = name("c");
        ip(&["netns", "add", &coordinator])?;
        // From here on what there is goes when it is dropped.
        let mut made = Self { coordinator, workers: vec![] };
        ip(&["-n", &made.coordinator, "link", "set", "lo", "up"])?;
        for worker in 0..workers {
            let (namespace, cable) = (name(&format!("w{worker}")), cable(worker));
            ip(&["netns", "add", &namespace])?;
            made.workers.push(namespace);
            let namespace = &made.workers[worker];
            let ends = ["link", "add", &cable, "netns", &made.coordinator, "type", "veth", "peer", "name", "up0"];
            ip(&[&ends[..], &["netns", namespace]].concat())?;
            for (namespace, device, side) in [(&made.coordinator, cable.as_str(), 1), (namespace, "up0", 2)] {
                let address = format!("{}/24", end(worker, side));
                ip(&["-n", namespace, "address", "add", &address, "dev", device])?;
                ip(&["-n", namespace, "link", "set", device, "up"])?;
            }
        }
        Ok(made)
    }

    fn set(&self, worker: usize, state: &str) {
        let set = ip(&["-n", &self.coordinator, "link", "set", &cable(worker), state]);
        set.unwrap_or_else(|error| panic!("{error}"));
    }
}

fn within(namespace: &str, command: &Command) -> Command {
    let mut inside = Command::new("ip");
    // It becomes the program: the process is the same.
    inside.args(["netns", "exec", namespace]).arg(command.get_program()).args(command.get_args());
    for (variable, value) in command.get_envs() {
        match value {
            Some(value) => inside.env(variable, value),
            None => inside.env_remove(variable),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        inside.current_dir(folder);
    }
    inside
}

impl Network for Namespaces {
    fn listen(&self) -> String {
        format!("0.0.0.0:{PORT}")
    }

    fn at_home(&self) -> String {
        format!("127.0.0.1:{PORT}")
    }

    fn at_coordinator(&self, lab: &Lab, arguments: &[&str]) -> Command {
        within(&self.coordinator, &lab.secateur(arguments))
    }

    fn at_worker(&self, lab: &Lab, worker: usize, arguments: &[&str]) -> Command {
        within(&self.workers[worker], &lab.secateur(arguments))
    }

    fn coordinator_of(&self, worker: usize) -> String {
        format!("{}:{PORT}", end(worker, 1))
    }

    fn cut(&self, worker: usize) {
        self.set(worker, "down");
        self.set(worker, "up");
    }

    fn stall(&self, worker: usize) {
        self.set(worker, "down");
    }

    fn mend(&self, worker: usize) {
        self.set(worker, "up");
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for namespace in self.workers.iter().chain([&self.coordinator]) {
            // There is nobody to tell.
            let _ = ip(&["netns", "delete", namespace]);
        }
    }
}
