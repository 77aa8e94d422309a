//! `kill -9` of PostgreSQL in the middle of a load: what was acknowledged is there, once.
//!
//! `KILLS=1000` makes the run longer; the seed is printed, and `SEED=…` repeats when it is killed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::store::{Delivery, Store, Verdict};
use mpesa_callbacks_postgres::PostgresStore;
use mpesa_callbacks_test_servers::Postgres;
use sqlx::{Connection, PgConnection};

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn push(number: u64) -> Delivery {
    let body = format!(
        r#"{{"Body":{{"stkCallback":{{"CheckoutRequestID":"ws_CO_{number:09}","ResultCode":0,"CallbackMetadata":{{"Item":[
        {{"Name":"Amount","Value":10}},{{"Name":"MpesaReceiptNumber","Value":"R{number:09}"}}]}}}}}}}}"#
    );
    Delivery::parse(&Kind::Stk, body.as_bytes(), SystemTime::now()).unwrap()
}

/// What the client knows.
#[derive(Default)]
struct Journal {
    next: AtomicU64,
    acknowledged: Mutex<HashSet<u64>>,
    stop: AtomicBool,
}

/// Records until told to stop; after an error, the same again, as often as it takes.
async fn send(store: PostgresStore, journal: Arc<Journal>) {
    while !journal.stop.load(Ordering::Relaxed) {
        let numbers: Vec<u64> = (0..8).map(|_| journal.next.fetch_add(1, Ordering::Relaxed)).collect();
        let batch: Vec<_> = numbers.iter().map(|number| push(*number)).collect();
        match store.record(&batch).await {
            Ok(recorded) => {
                // What a commit whose answer was lost had written is found again.
                let is_known = |verdict| matches!(verdict, Verdict::First | Verdict::Duplicate);
                assert!(recorded.iter().all(|recorded| is_known(recorded.verdict)), "{recorded:?}");
                journal.acknowledged.lock().unwrap().extend(numbers);
            }
            // Nobody was told anything: whether it is there does not matter.
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_in_the_middle_of_a_load_the_server_loses_nothing_and_doubles_nothing() {
    let (kills, seed) = (number("KILLS", 20), number("SEED", 20_261_121));
    println!("KILLS={kills} SEED={seed}");
    let Some(mut server) = Postgres::start(&[]) else { return };
    let url = server.url();
    let store = PostgresStore::connect(&url).await.unwrap();
    let journal = Arc::new(Journal::default());
    let senders: Vec<_> = (0..6).map(|_| tokio::spawn(send(store.clone(), journal.clone()))).collect();
    let mut random = seed | 1;
    for _ in 0..kills {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        tokio::time::sleep(Duration::from_millis(50 + random % 250)).await;
        server = tokio::task::spawn_blocking(move || {
            server.kill_and_restart();
            server
        })
        .await
        .unwrap();
    }
    journal.stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }

    let mut connection = PgConnection::connect(&url).await.unwrap();
    let keys = async |connection: &mut PgConnection, kind: &str| -> Vec<String> {
        let keys =
            "SELECT key FROM mpesa_callbacks.callback JOIN mpesa_callbacks.body ON callback_id = id WHERE kind = $1";
        sqlx::query_scalar(keys).bind(kind).fetch_all(connection).await.unwrap()
    };
    let (pushes, payments) = (keys(&mut connection, "stk").await, keys(&mut connection, "payment").await);
    let there: HashSet<&str> = pushes.iter().map(String::as_str).collect();
    let paid: HashSet<&str> = payments.iter().map(String::as_str).collect();
    let acknowledged = journal.acknowledged.lock().unwrap();
    let lost = acknowledged.iter().filter(|number| {
        !there.contains(format!("ws_CO_{number:09}").as_str()) || !paid.contains(format!("R{number:09}").as_str())
    });
    let (lost, doubled) = (lost.count(), pushes.len() - there.len() + payments.len() - paid.len());
    println!("{} acknowledged, {} there, {lost} lost, {doubled} doubled", acknowledged.len(), pushes.len());
    assert!(acknowledged.len() > 100, "the load was too small to show anything");
    assert_eq!((lost, doubled, payments.len()), (0, 0, pushes.len()));
}
