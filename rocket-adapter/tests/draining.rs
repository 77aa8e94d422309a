//! Requests in progress when the server is told to stop are acknowledged.

mod common;

use std::sync::Arc;

use mpesa_callbacks_core::payload::StkCallback;
use mpesa_callbacks_core::store::MemoryStore;
use mpesa_callbacks_core::{HandlerArgs, HandlerFuture, Inbox, Kind, MpesaCallbacks, Route, Routes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

const SECRET: &str = "00112233445566778899aabbccddeeff";

struct Shop(Arc<Semaphore>);

impl MpesaCallbacks for Shop {
    fn routes(&self) -> Routes {
        Routes::new().with(Route::new(Kind::Stk))
    }

    fn stk<'a>(
        &'a self,
        _: StkCallback,
        _: HandlerArgs<'a, mpesa_callbacks_core::transactor::NoTx>,
    ) -> HandlerFuture<'a> {
        Box::pin(async {
            self.0.add_permits(1);
            Ok(())
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_whose_bodies_come_after_the_signal_are_acknowledged() {
    let handled = Arc::new(Semaphore::new(0));
    let inbox = Inbox::builder(Shop(handled.clone())).store(MemoryStore::new()).secret(SECRET).start().await.unwrap();
    let (config, address) = common::config(5);
    let rocket = rocket::custom(config)
        .mount("/pay", mpesa_callbacks_rocket::routes(&inbox))
        .attach(mpesa_callbacks_rocket::InboxFairing::new(&inbox));
    let rocket = rocket.ignite().await.unwrap();
    let stop = rocket.shutdown();
    let serving = tokio::spawn(rocket.launch());
    common::until_it_listens(address).await;
    let mut requests = Vec::new();
    for number in 0..20 {
        let body = format!(r#"{{"Body":{{"stkCallback":{{"CheckoutRequestID":"k{number}","ResultCode":1032}}}}}}"#);
        let head = format!(
            "POST /pay/{SECRET}/stk HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
            body.len()
        );
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(head.as_bytes()).await.unwrap();
        // Rocket has read the head once it asks for the body; a connection that it has not read from is idle to it.
        let mut asked = [0; 25];
        connection.read_exact(&mut asked).await.unwrap();
        assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
        // Of half of them a part has come, too: those are under way in the inbox.
        let (now, later) = body.split_at(if number % 2 == 0 { 0 } else { 20 });
        connection.write_all(now.as_bytes()).await.unwrap();
        requests.push((connection, later.to_owned()));
    }
    stop.notify();
    for (connection, later) in &mut requests {
        connection.write_all(later.as_bytes()).await.unwrap();
    }
    for (mut connection, _) in requests {
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    serving.await.unwrap().unwrap();
    assert_eq!(handled.available_permits(), 20, "and handled, before the inbox was closed");
}
