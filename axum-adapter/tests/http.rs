//! The suite for adapters, over axum.

use std::net::SocketAddr;

use axum::Router;
use mpesa_callbacks_core::Inbox;

async fn serve(inbox: Inbox) -> SocketAddr {
    let app = Router::new().nest("/pay", mpesa_callbacks_axum::router(&inbox));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await });
    address
}

mpesa_callbacks_conformance::http_tests!(serve);
