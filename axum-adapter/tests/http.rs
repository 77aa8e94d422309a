//! The suite for adapters, over axum: served by axum itself, and by the hardened server.

use std::net::SocketAddr;

use axum::Router;
use mpesa_callbacks_core::Inbox;
use tokio::net::TcpListener;

fn app(inbox: &Inbox) -> Router {
    Router::new().nest("/pay", mpesa_callbacks_axum::router(inbox))
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

mod by_axum {
    use super::*;

    async fn serve(inbox: Inbox) -> SocketAddr {
        let (listener, address) = listen().await;
        let app = app(&inbox).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }

    mpesa_callbacks_conformance::http_tests!(serve);
}

mod hardened {
    use super::*;

    async fn serve(inbox: Inbox) -> SocketAddr {
        let (listener, address) = listen().await;
        tokio::spawn(mpesa_callbacks_serve::serve(listener, app(&inbox)).into_future());
        address
    }

    mpesa_callbacks_conformance::http_tests!(serve);
}
