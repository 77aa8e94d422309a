//! Programs that a test starts.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command};

/// A program that is killed when the test ends.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts it.
    ///
    /// # Panics
    /// When there is no such program.
    pub fn start(command: &mut Command) -> Running {
        match command.spawn() {
            Ok(child) => Running(child),
            Err(error) => panic!("{command:?} does not start: {error}"),
        }
    }
}

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns a port of 127.0.0.1 on which nothing listens.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
    free.expect("a port").port()
}
