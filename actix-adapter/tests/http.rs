//! The suite for adapters, over actix-web with two workers.

use std::net::SocketAddr;
use std::sync::mpsc;

use actix_web::{App, HttpServer, web};
use mpesa_callbacks_core::Inbox;

#[allow(clippy::unused_async, reason = "the suite awaits it")]
async fn serve(inbox: Inbox) -> SocketAddr {
    let (told, address) = mpsc::channel();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let app =
                move || App::new().service(web::scope("/pay").configure(mpesa_callbacks_actix::configure(&inbox)));
            let server = HttpServer::new(app).workers(2).disable_signals().bind("127.0.0.1:0").unwrap();
            told.send(server.addrs()[0]).unwrap();
            server.run().await
        })
    });
    address.recv().unwrap()
}

mpesa_callbacks_conformance::http_tests!(serve);
