//! A network for whoever may make no other: a TCP proxy for each worker, which can close its connections or hold back what they carry.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use super::{Network, PORT};
use crate::common::{Lab, loopback};

/// The proxies, and where the coordinator is.
pub(super) struct Wires {
    coordinator: SocketAddr,
    wires: Vec<Wire>,
}

/// The wire between a worker and the coordinator.
struct Wire {
    address: String,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    stalls: Arc<AtomicBool>,
}

impl Wires {
    /// For so many workers.
    pub(super) fn new(workers: usize) -> Self {
        let coordinator = SocketAddr::from((loopback(), PORT));
        Self { coordinator, wires: (0..workers).map(|_| Wire::to(coordinator)).collect() }
    }
}

impl Network for Wires {
    fn listen(&self) -> String {
        self.coordinator.to_string()
    }

    fn at_home(&self) -> String {
        self.coordinator.to_string()
    }

    fn at_coordinator(&self, lab: &Lab, arguments: &[&str]) -> Command {
        lab.secateur(arguments)
    }

    fn at_worker(&self, lab: &Lab, _: usize, arguments: &[&str]) -> Command {
        lab.secateur(arguments)
    }

    fn coordinator_of(&self, worker: usize) -> String {
        self.wires[worker].address.clone()
    }

    fn cut(&self, worker: usize) {
        let mut connections = self.wires[worker].connections.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in connections.drain(..) {
            // The other half may have closed it.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    fn stall(&self, worker: usize) {
        self.wires[worker].stalls.store(true, Ordering::Relaxed);
    }

    fn mend(&self, worker: usize) {
        self.wires[worker].stalls.store(false, Ordering::Relaxed);
    }
}

impl Wire {
    fn to(coordinator: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let connections = Arc::new(Mutex::new(vec![]));
        let stalls = Arc::new(AtomicBool::new(false));
        let (kept, stalled) = (Arc::clone(&connections), Arc::clone(&stalls));
        thread::spawn(move || {
            for near in listener.incoming() {
                let Ok(near) = near else { return };
                // Nobody is there while the coordinator is down: the near end is closed then, as by a machine that refuses.
                let Ok(far) = TcpStream::connect(coordinator) else { continue };
                let copy = |stream: &TcpStream| stream.try_clone().expect("a handle");
                kept.lock().unwrap_or_else(PoisonError::into_inner).extend([copy(&near), copy(&far)]);
                pour(copy(&near), copy(&far), Arc::clone(&stalled));
                pour(far, near, Arc::clone(&stalled));
            }
        });
        Self { address, connections, stalls }
    }
}

fn pour(mut from: TcpStream, mut to: TcpStream, stalled: Arc<AtomicBool>) {
    thread::spawn(move || {
        let mut bytes = [0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            while stalled.load(Ordering::Relaxed) {
                thread::park_timeout(std::time::Duration::from_millis(5));
            }
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
