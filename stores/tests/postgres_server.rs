//! PostgreSQL beyond the contract: several processes, servers that forget, servers that die.
#![cfg(feature = "postgres")]

use std::time::{Duration, SystemTime};

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::store::{Ending, Received, Recorded, Settled, Settlement, Store, StoreError, Verdict};
use mpesa_callbacks_stores::postgres::PostgresStore;
use mpesa_callbacks_test_servers::Postgres;
use sqlx::{Connection, PgConnection};

async fn database(server: &Postgres) -> String {
    let (name, url) = server.next_database();
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    url
}

fn push(key: usize, code: usize, words: usize) -> Received {
    let body = format!(
        r#"{{"Body":{{"stkCallback":{{"CheckoutRequestID":"k{key}","ResultCode":{code},"ResultDesc":"in {words} words"}}}}}}"#
    );
    Received::parse(&Kind::Stk, body.as_bytes(), SystemTime::now()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_that_start_at_once_share_one_schema() {
    let Some(server) = Postgres::shared() else { return };
    let url = database(server).await;
    let starting: Vec<_> = (0..8)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { PostgresStore::connect(&url).await.map(drop) })
        })
        .collect();
    for started in starting {
        started.await.unwrap().unwrap();
    }
}

/// Two meanings in two spellings each, by three processes, in batches that overlap: one first, one conflict, two variants a key.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_processes_judge_as_one() {
    const KEYS: usize = 60;
    let Some(server) = Postgres::shared() else { return };
    let url = database(server).await;
    let mut racing = Vec::new();
    for process in 0..3 {
        let store = PostgresStore::connect(&url).await.unwrap();
        for task in 0..4 {
            let store = store.clone();
            racing.push(tokio::spawn(async move {
                let mut verdicts = Vec::new();
                for round in 0..4 {
                    let start = (process * 7 + task * 13 + round * 29) % KEYS;
                    let keys = (0..KEYS).map(|at| (start + at) % KEYS);
                    let batch: Vec<_> = keys.map(|key| push(key, (task + round) % 2, (process + round) % 2)).collect();
                    for batch in batch.chunks(25) {
                        let recorded = store.record(batch).await.unwrap();
                        verdicts.extend(recorded.into_iter().map(|recorded| recorded.verdict));
                    }
                }
                verdicts
            }));
        }
    }
    let mut verdicts = Vec::new();
    for racer in racing {
        verdicts.extend(racer.await.unwrap());
    }
    let count = |verdict| verdicts.iter().filter(|other| **other == verdict).count();
    assert_eq!(verdicts.len(), 3 * 4 * 4 * KEYS);
    assert_eq!(
        (count(Verdict::First), count(Verdict::Conflict), count(Verdict::Variant)),
        (KEYS, KEYS, 2 * KEYS),
        "and everything else repeats"
    );
}

#[tokio::test]
async fn a_server_that_forgets_what_it_confirmed_is_refused() {
    for (setting, name) in [("fsync=off", "fsync"), ("synchronous_commit=off", "synchronous_commit")] {
        let Some(server) = Postgres::start(&[setting]) else { return };
        let refused = PostgresStore::connect(&server.url()).await.unwrap_err();
        assert!(matches!(refused, StoreError::NotDurable { setting, .. } if setting == name), "{refused}");
    }
}

/// Repetitions come while their keys become unreadable: they are repetitions all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_purged_at_this_moment_is_recognised() {
    let Some(server) = Postgres::shared() else { return };
    let url = database(server).await;
    let (store, other) = (PostgresStore::connect(&url).await.unwrap(), PostgresStore::connect(&url).await.unwrap());
    let all: Vec<_> = (0..1500).map(|key| push(key, 0, 0)).collect();
    store.record(&all).await.unwrap();
    let claimed = store.claim(2000, Duration::from_secs(60)).await.unwrap();
    let done: Vec<_> = claimed.iter().map(|one| Settlement::new(one.lease, Ending::Done)).collect();
    store.settle(&done).await.unwrap();
    let purging = tokio::spawn(async move { other.purge(Duration::ZERO).await.unwrap() });
    for batch in all.iter().rev().collect::<Vec<_>>().chunks(10) {
        let batch: Vec<_> = batch.iter().map(|received| (*received).clone()).collect();
        let recorded = store.record(&batch).await.unwrap();
        assert!(recorded.iter().all(|recorded| recorded.verdict == Verdict::Duplicate), "{recorded:?}");
    }
    assert_eq!(purging.await.unwrap(), 1500);
}

/// A key that changed its name while somebody looked for it would be found under neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn recording_and_purging_wait_for_one_another() {
    const LOCK: i64 = 0x4d50_4350;
    let Some(server) = Postgres::shared() else { return };
    let url = database(server).await;
    let store = PostgresStore::connect(&url).await.unwrap();
    store.record(&[push(1, 0, 0)]).await.unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    for (lock, is_shared) in
        [("SELECT pg_advisory_xact_lock($1)", false), ("SELECT pg_advisory_xact_lock_shared($1)", true)]
    {
        let mut tx = connection.begin().await.unwrap();
        sqlx::query(lock).bind(LOCK).execute(&mut *tx).await.unwrap();
        let (recording, purging) = (store.clone(), store.clone());
        let recording = tokio::spawn(async move { recording.record(&[push(1, 0, 0)]).await.map(drop) });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(recording.is_finished(), is_shared);
        let purging = tokio::spawn(async move { purging.purge(Duration::ZERO).await.map(drop) });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!purging.is_finished());
        tx.commit().await.unwrap();
        recording.await.unwrap().unwrap();
        purging.await.unwrap().unwrap();
    }
}

/// JSON may have a NUL in a text, and a handler's error too; PostgreSQL's texts may not.
#[tokio::test]
async fn a_nul_in_a_text_is_no_reason_to_lose_a_callback() {
    let Some(server) = Postgres::shared() else { return };
    let store = PostgresStore::connect(&database(server).await).await.unwrap();
    let body = r#"{"Body":{"stkCallback":{"CheckoutRequestID":"k\u0000","ResultCode":1032}}}"#;
    let received = Received::parse(&Kind::Stk, body.as_bytes(), SystemTime::now()).unwrap();
    let batch = [received.clone(), push(1, 0, 0)];
    let verdicts = |recorded: Vec<Recorded>| recorded.iter().map(|recorded| recorded.verdict).collect::<Vec<_>>();
    assert_eq!(verdicts(store.record(&batch).await.unwrap()), [Verdict::First, Verdict::First]);
    assert_eq!(verdicts(store.record(&batch).await.unwrap()), [Verdict::Duplicate, Verdict::Duplicate]);
    let claimed = store.claim(10, Duration::from_secs(10)).await.unwrap();
    assert_eq!(claimed[0].body.as_bytes(), body.as_bytes());
    let ending = Ending::Retry { after: Duration::MAX, error: "nul: \0".into() };
    let settled = store.settle(&[Settlement::new(claimed[0].lease, ending)]).await.unwrap();
    assert_eq!(settled, [Settled::Written]);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_clear_error() {
    let error = PostgresStore::connect("postgres://nobody@127.0.0.1:1/nothing").await.unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
}

/// Connections are cut in the middle of everything: what was answered for is there, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_that_are_cut_lose_nothing_and_double_nothing() {
    let Some(server) = Postgres::shared() else { return };
    let url = database(server).await;
    let store = PostgresStore::connect(&url).await.unwrap();
    let cutting = tokio::spawn({
        let url = url.clone();
        async move {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            loop {
                let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                           WHERE datname = current_database() AND pid <> pg_backend_pid()";
                sqlx::query(cut).execute(&mut connection).await.unwrap();
                tokio::time::sleep(Duration::from_millis(7)).await;
            }
        }
    });
    let mut recorded = 0;
    for key in 0..400 {
        // Whoever hears an error tries again, as a spool would; the answer may then be that it is known.
        while store.record(&[push(key, 0, 0)]).await.is_err() {}
        recorded += 1;
    }
    cutting.abort();
    let _ = cutting.await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let (rows, keys): (i64, i64) =
        sqlx::query_as("SELECT count(*), count(DISTINCT key) FROM mpesa_callbacks.callback WHERE kind = 'stk'")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!((rows, keys), (recorded, recorded));
}
