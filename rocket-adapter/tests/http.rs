//! The suite for adapters, over Rocket.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use mpesa_callbacks_core::Inbox;
use rocket::Config;

async fn serve(inbox: Inbox) -> SocketAddr {
    // Rocket 0.5 does not take a listener, and cannot be asked for the port it got.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let shutdown = rocket::config::Shutdown { ctrlc: false, ..Default::default() };
    let config = Config {
        address: Ipv4Addr::LOCALHOST.into(),
        port,
        shutdown,
        log_level: rocket::config::LogLevel::Off,
        ..Config::debug_default()
    };
    let rocket = rocket::custom(config)
        .mount("/pay", mpesa_callbacks_rocket::routes(&inbox))
        .attach(mpesa_callbacks_rocket::fairing(&inbox));
    tokio::spawn(rocket.launch());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    while tokio::net::TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    address
}

mpesa_callbacks_conformance::http_tests!(serve);
