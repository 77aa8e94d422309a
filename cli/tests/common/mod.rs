//! An application that a test runs beside the command.

use std::net::SocketAddr;

use axum::Router;
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::{Kind, TestInbox, axum_adapter};

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[payment]
    async fn paid(&self, _: Payment) {}
}

/// Starts an application on this machine. Returns its inbox, its address, and the base of its callback URLs.
pub(crate) async fn application() -> (TestInbox, SocketAddr, String) {
    let inbox = Inbox::for_test(Shop).await;
    let app = Router::new().nest("/pay", axum_adapter::router(&inbox));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let url =
        inbox.urls_at("https://shop.example.com/pay").expect("URLs").url(&Kind::Stk).expect("a URL").into_string();
    let base = url.trim_end_matches("/stk").replace("https://shop.example.com", &format!("http://{address}"));
    (inbox, address, base)
}
