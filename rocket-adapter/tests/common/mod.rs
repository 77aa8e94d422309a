//! Serving over a real socket.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use rocket::Config;

/// A configuration on a free port, and its address. Rocket 0.5 takes no listener, and does not tell the port that it got.
pub(crate) fn config(grace_seconds: u32) -> (Config, SocketAddr) {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr()).unwrap();
    let shutdown = rocket::config::Shutdown { ctrlc: false, grace: grace_seconds, ..Default::default() };
    let config = Config {
        address: address.ip(),
        port: address.port(),
        shutdown,
        log_level: rocket::config::LogLevel::Off,
        ..Config::debug_default()
    };
    (config, address)
}

/// Waits until a server listens.
pub(crate) async fn until_it_listens(address: SocketAddr) {
    while tokio::net::TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
