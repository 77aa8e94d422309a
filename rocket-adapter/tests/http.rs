//! The suite for adapters, over Rocket.

mod common;

use std::net::SocketAddr;

use mpesa_callbacks_core::Inbox;

async fn serve(inbox: Inbox) -> SocketAddr {
    let (config, address) = common::config(2);
    let rocket = rocket::custom(config)
        .mount("/pay", mpesa_callbacks_rocket::routes(&inbox))
        .attach(mpesa_callbacks_rocket::InboxFairing::new(&inbox));
    tokio::spawn(rocket.launch());
    common::until_it_listens(address).await;
    address
}

mpesa_callbacks_conformance::http_tests!(serve);
