//! An inbox that starts and stops with its server.

use std::sync::Arc;

use mpesa_callbacks_core::store::{Filter, MemoryStore, State as Stage, Store, StoreError};
use mpesa_callbacks_core::{HandlerArgs, HandlerFuture, Inbox, Kind, MpesaCallbacks, Route, Routes};
use rocket::local::asynchronous::Client;
use rocket::{Config, State, get, routes};

const SECRET: &str = "00112233445566778899aabbccddeeff";
const PUSH: &str = r#"{"Body":{"stkCallback":{"CheckoutRequestID":"k","ResultCode":1032}}}"#;

struct Shop;

impl MpesaCallbacks for Shop {
    fn routes(&self) -> Routes {
        Routes::new().with(Route::new(Kind::Stk))
    }

    fn stk<'a>(
        &'a self,
        _: mpesa_callbacks_core::payload::StkCallback,
        _: HandlerArgs<'a, mpesa_callbacks_core::transactor::NoTx>,
    ) -> HandlerFuture<'a> {
        Box::pin(async {
            rocket::tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            Ok(())
        })
    }
}

#[get("/waiting")]
async fn waiting(inbox: &State<Inbox>) -> String {
    inbox.list(&Filter::default()).await.unwrap().len().to_string()
}

fn config() -> Config {
    Config { log_level: rocket::config::LogLevel::Off, ..Config::debug_default() }
}

#[rocket::async_test]
async fn it_starts_with_the_server_is_managed_and_is_drained() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let shared = store.clone();
    let starting = async { Inbox::builder(Shop).store(shared).secret(SECRET).start().await };
    let rocket = rocket::custom(config())
        .attach(mpesa_callbacks_rocket::InboxFairing::starting("/pay", starting))
        .mount("/", routes![waiting]);
    let client = Client::untracked(rocket).await.unwrap();
    let answer = client.post(format!("/pay/{SECRET}/stk")).body(PUSH).dispatch().await;
    assert_eq!(answer.into_string().await.unwrap(), r#"{"ResultCode":0,"ResultDesc":"Success"}"#);
    assert_eq!(client.get("/waiting").dispatch().await.into_string().await.unwrap(), "1");
    let inbox = client.rocket().state::<Inbox>().unwrap().clone();
    while inbox.list(&Filter::default().state(Stage::Running)).await.unwrap().is_empty() {
        rocket::tokio::task::yield_now().await;
    }
    client.rocket().shutdown().notify();
    client.terminate().await;
    // What was running ended, and the store was closed.
    assert!(matches!(store.counts().await, Err(StoreError::Closed)));
}

#[rocket::async_test]
async fn what_cannot_start_does_not_launch() {
    let starting = async { Inbox::builder(Shop).store(MemoryStore::new()).secret("short").start().await };
    let rocket = rocket::custom(config()).attach(mpesa_callbacks_rocket::InboxFairing::starting("/pay", starting));
    let error = rocket.ignite().await.unwrap_err();
    assert!(matches!(error.kind(), rocket::error::ErrorKind::FailedFairings(_)));
}
