//! PostgreSQL beyond the contract: several processes, servers that forget, servers that die.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::store::{
    Claim, Completion, Delivery, Extent, Filter, Recorded, SettleResult, Settlement, Store, StoreError, Verdict,
};
use mpesa_callbacks_postgres::PostgresStore;
use mpesa_callbacks_test_servers::{Postgres, Proxy};
use sqlx::{Connection, PgConnection};

/// What is recorded here, and so claimed.
const KINDS: [Kind; 3] = [Kind::Stk, Kind::C2bConfirmation, Kind::Payment];

async fn database(server: &Postgres) -> String {
    let (name, url) = server.next_database();
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    url
}

fn push(key: usize, code: usize, words: usize) -> Delivery {
    let body = format!(
        r#"{{"Body":{{"stkCallback":{{"CheckoutRequestID":"k{key}","ResultCode":{code},"ResultDesc":"in {words} words"}}}}}}"#
    );
    Delivery::parse(&Kind::Stk, body.as_bytes(), SystemTime::now()).unwrap()
}

/// The same, received later.
fn again(delivery: &Delivery) -> Delivery {
    Delivery::parse(&delivery.kind, delivery.body(), SystemTime::now()).unwrap()
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

/// Records, and again after a lock timeout, which a busy machine may reach. Recording again is safe.
async fn record(store: &PostgresStore, batch: &[Delivery]) -> Vec<Recorded> {
    loop {
        match store.record(batch).await {
            Err(StoreError::Unavailable(_)) => {}
            recorded => return recorded.unwrap(),
        }
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
                        let recorded = record(&store, batch).await;
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

/// Callbacks come again while they are handled: nobody waits in a circle, which would take the server a second to see.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_settled_at_this_moment_may_come_again() {
    let Some(server) = Postgres::shared() else { return };
    let url = database(server).await;
    let (store, other) = (PostgresStore::connect(&url).await.unwrap(), PostgresStore::connect(&url).await.unwrap());
    let all: Vec<_> = (0..256).map(|key| push(key, 1032, 0)).collect();
    store.record(&all).await.unwrap();
    let handling = tokio::spawn(async move {
        loop {
            let mut claimed = other.claim(&Claim::new(&KINDS, 64, Duration::from_mins(1))).await.unwrap();
            if claimed.is_empty() {
                return;
            }
            // As they happen to end.
            claimed.reverse();
            let leases: Vec<_> = claimed.iter().map(|one| one.lease).collect();
            for _ in 0..50 {
                let renewed = other.renew(&leases, Duration::from_mins(1)).await.unwrap();
                assert!(renewed.iter().all(|renewed| *renewed));
            }
            let done: Vec<_> = leases.iter().map(|lease| Settlement::new(*lease, Completion::Done)).collect();
            other.settle(&done).await.unwrap();
        }
    });
    let all = Arc::new(all);
    let repeating: Vec<_> = (0..3)
        .map(|task| {
            let (store, all) = (store.clone(), all.clone());
            tokio::spawn(async move {
                for _ in 0..50 {
                    let batch: Vec<_> = all.iter().skip(task).map(again).collect();
                    let recorded = record(&store, &batch).await;
                    assert!(recorded.iter().all(|recorded| recorded.verdict == Verdict::Duplicate), "{recorded:?}");
                }
            })
        })
        .collect();
    for repeating in repeating {
        repeating.await.unwrap();
    }
    handling.await.unwrap();
    store.close().await.unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    // What a server process counts is told when it ends, at the latest.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let circles = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let circles: i64 = sqlx::query_scalar(circles).fetch_one(&mut connection).await.unwrap();
    assert_eq!(circles, 0);
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
    let all: Vec<_> = (0..1500).map(|key| push(key, 1032, 0)).collect();
    store.record(&all).await.unwrap();
    let claimed = store.claim(&Claim::new(&KINDS, 2000, Duration::from_mins(1))).await.unwrap();
    let done: Vec<_> = claimed.iter().map(|one| Settlement::new(one.lease, Completion::Done)).collect();
    store.settle(&done).await.unwrap();
    let purging = tokio::spawn(async move { other.purge(Duration::ZERO, Extent::All).await.unwrap() });
    for batch in all.iter().rev().collect::<Vec<_>>().chunks(10) {
        let batch: Vec<_> = batch.iter().map(|delivery| again(delivery)).collect();
        let recorded = store.record(&batch).await.unwrap();
        assert!(recorded.iter().all(|recorded| recorded.verdict == Verdict::Duplicate), "{recorded:?}");
    }
    assert_eq!(purging.await.unwrap(), 1500);
}

/// A key that changed its name while somebody waited for it is found under the other name.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_waits_for_a_purge_finds_what_was_purged() {
    let Some(server) = Postgres::shared() else { return };
    let url = database(server).await;
    let store = PostgresStore::connect(&url).await.unwrap();
    let id = store.record(&[push(1, 1032, 0)]).await.unwrap()[0].id;
    let claimed = store.claim(&Claim::new(&KINDS, 1, Duration::from_mins(1))).await.unwrap();
    store.settle(&[Settlement::new(claimed[0].lease, Completion::Done)]).await.unwrap();
    let lock = "SELECT 1 FROM mpesa_callbacks.callback WHERE id = $1 FOR UPDATE";
    // Somebody has the row; the purge waits for them, and the repetition for the purge.
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let mut tx = connection.begin().await.unwrap();
    sqlx::query(lock).bind(id.number()).execute(&mut *tx).await.unwrap();
    let (purging, recording) = (store.clone(), store.clone());
    let purging = tokio::spawn(async move { purging.purge(Duration::ZERO, Extent::All).await.unwrap() });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let recording = tokio::spawn(async move { recording.record(&[push(1, 1032, 0)]).await.unwrap()[0].verdict });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!purging.is_finished() && !recording.is_finished());
    tx.commit().await.unwrap();
    assert_eq!((purging.await.unwrap(), recording.await.unwrap()), (1, Verdict::Duplicate));
}

/// A machine that is lost in the middle keeps its locks for hours. Its own keys wait; nobody else does, and nobody for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_machine_holds_up_its_own_keys_alone_and_not_for_ever() {
    let Some(server) = Postgres::shared() else { return };
    let url = database(server).await;
    let store = PostgresStore::connect(&url).await.unwrap();
    let id = store.record(&[push(1, 1032, 0)]).await.unwrap()[0].id;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let mut lost = connection.begin().await.unwrap();
    let lock = "SELECT 1 FROM mpesa_callbacks.callback WHERE id = $1 FOR UPDATE";
    sqlx::query(lock).bind(id.number()).execute(&mut *lost).await.unwrap();
    assert_eq!(store.record(&[push(2, 1032, 0)]).await.unwrap()[0].verdict, Verdict::First);
    let held = tokio::time::timeout(Duration::from_secs(8), store.record(&[push(1, 1032, 0)])).await.unwrap();
    assert!(matches!(held, Err(StoreError::Unavailable(_))), "{held:?}");
}

/// A receipt that no index takes is refused for itself, and takes nobody with it.
#[tokio::test]
async fn a_receipt_that_is_too_long_is_refused_and_not_an_outage() {
    let Some(server) = Postgres::shared() else { return };
    let store = PostgresStore::connect(&database(server).await).await.unwrap();
    let mut delivery = push(1, 1032, 0);
    let mut random = 1_u64;
    let mut letter = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'a' + u8::try_from((random >> 33) % 26).unwrap())
    };
    delivery.receipt = Some((0..9000).map(|_| letter()).collect());
    assert!(matches!(store.record(&[delivery]).await, Err(StoreError::Refused(_))));
}

/// Two spellings of one contradiction, under a key of its own, of a receipt that is known: one conflict, one variant.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_claims_to_a_receipt_are_judged_one_after_the_other() {
    let Some(server) = Postgres::shared() else { return };
    let url = database(server).await;
    let paid = |key: &str, receipt: usize, words: &str| {
        let body = format!(
            r#"{{"Body":{{"stkCallback":{{"CheckoutRequestID":"{key}","ResultCode":0,"ResultDesc":"{words}","CallbackMetadata":{{"Item":[
            {{"Name":"Amount","Value":10}},{{"Name":"MpesaReceiptNumber","Value":"R{receipt}"}}]}}}}}}}}"#
        );
        Delivery::parse(&Kind::Stk, body.as_bytes(), SystemTime::now()).unwrap()
    };
    let stores = [PostgresStore::connect(&url).await.unwrap(), PostgresStore::connect(&url).await.unwrap()];
    for round in 0..40 {
        stores[0].record(&[paid(&format!("owner {round}"), round, "")]).await.unwrap();
        let [one, other] = [0, 1].map(|at| {
            let (store, claim) = (stores[at].clone(), paid(&format!("claim {round}"), round, &format!("words {at}")));
            tokio::spawn(async move { record(&store, &[claim]).await[0].verdict })
        });
        let mut verdicts = [one.await.unwrap(), other.await.unwrap()];
        verdicts.sort_unstable();
        assert_eq!(verdicts, [Verdict::Variant, Verdict::Conflict], "round {round}");
    }
}

/// JSON may have a NUL in a text, and a handler's error too; PostgreSQL's texts may not.
#[tokio::test]
async fn a_nul_in_a_text_is_no_reason_to_lose_a_callback() {
    let Some(server) = Postgres::shared() else { return };
    let store = PostgresStore::connect(&database(server).await).await.unwrap();
    let body = r#"{"Body":{"stkCallback":{"CheckoutRequestID":"k\u0000","ResultCode":1032}}}"#;
    let delivery = Delivery::parse(&Kind::Stk, body.as_bytes(), SystemTime::now()).unwrap();
    // To PostgreSQL its key is this one's, too: a batch of both is taken at once.
    let replaced = body.replace(r"\u0000", "\u{fffd}");
    let replaced = Delivery::parse(&Kind::Stk, replaced.as_bytes(), SystemTime::now()).unwrap();
    let batch = [delivery.clone(), push(1, 1032, 0), replaced];
    let verdicts = |recorded: Vec<Recorded>| recorded.iter().map(|recorded| recorded.verdict).collect::<Vec<_>>();
    assert_eq!(verdicts(store.record(&batch).await.unwrap()), [Verdict::First, Verdict::First, Verdict::Variant]);
    let batch = batch.each_ref().map(again);
    assert_eq!(verdicts(store.record(&batch).await.unwrap()), [Verdict::Duplicate; 3]);
    let mut claimed = store.claim(&Claim::new(&KINDS, 10, Duration::from_secs(10))).await.unwrap();
    claimed.retain(|claimed| claimed.body.as_bytes() == body.as_bytes());
    assert_eq!(claimed.len(), 1, "its body is as it came");
    let completion = Completion::Retry { after: Duration::MAX, error: "nul: \0".into() };
    let settled = store.settle(&[Settlement::new(claimed[0].lease, completion)]).await.unwrap();
    assert_eq!(settled, [SettleResult::Written]);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_clear_error() {
    let error = PostgresStore::connect("postgres://nobody@127.0.0.1:1/nothing").await.unwrap_err();
    let StoreError::Open { source, .. } = error else { panic!("{error}") };
    assert!(source.to_string().contains("refused"), "{source}");
}

/// Connections are cut in the middle of everything: what was answered for is there, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_that_are_cut_lose_nothing_and_double_nothing() {
    let Some(server) = Postgres::shared() else { return };
    let url = database(server).await;
    let store = PostgresStore::connect(&url).await.unwrap();
    // Cut about as often as one is connected and used: on a slow machine, less often, or nothing would ever be done.
    let began = Instant::now();
    PgConnection::connect(&url).await.unwrap().close().await.unwrap();
    store.record(&[push(0, 1032, 0)]).await.unwrap();
    let pause = began.elapsed().max(Duration::from_millis(7));
    let all_cuts = Arc::new(AtomicU64::new(0));
    let cutting = tokio::spawn({
        let (url, cuts) = (url.clone(), all_cuts.clone());
        async move {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            loop {
                let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                           WHERE datname = current_database() AND pid <> pg_backend_pid()";
                cuts.fetch_add(
                    sqlx::query(cut).execute(&mut connection).await.unwrap().rows_affected(),
                    Ordering::Relaxed,
                );
                tokio::time::sleep(pause).await;
            }
        }
    });
    let mut recorded = 0;
    for key in 0..400 {
        // Whoever hears an error tries again, as a spool would; the answer may then be that it is known.
        while store.record(&[push(key, 1032, 0)]).await.is_err() {}
        recorded += 1;
    }
    cutting.abort();
    let _ = cutting.await;
    assert!(all_cuts.load(Ordering::Relaxed) > 20, "too few connections were cut to show anything");
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let (rows, keys): (i64, i64) =
        sqlx::query_as("SELECT count(*), count(DISTINCT key) FROM mpesa_callbacks.callback WHERE kind = 'stk'")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!((rows, keys), (recorded, recorded));
}

/// The server commits and the answer gets lost: what was found the first time stands, and is no duplicate of itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_whose_answer_was_lost_is_told_as_what_it_was() {
    let Some(server) = Postgres::shared() else { return };
    let url = database(server).await;
    let proxy = Proxy::before(server.port()).await;
    let url = url.replace(&server.port().to_string(), &proxy.port().to_string());
    let store = PostgresStore::connect(&url).await.unwrap();
    let verdicts = async |batch: &[Delivery]| -> Vec<Verdict> {
        proxy.cut_commits(1);
        let recorded = store.record(batch).await.unwrap();
        assert_eq!(proxy.left(), 0, "nothing was cut");
        recorded.iter().map(|recorded| recorded.verdict).collect()
    };
    assert_eq!(verdicts(&[push(1, 0, 0), push(2, 0, 0)]).await, [Verdict::First, Verdict::First]);
    assert_eq!(verdicts(&[push(1, 1, 0), push(2, 0, 0)]).await, [Verdict::Conflict, Verdict::Duplicate]);
    let entries = store.list(&Filter::default()).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.seen).collect::<Vec<_>>(), [1, 2, 1]);
}

#[tokio::test]
async fn a_database_without_room_for_every_text_is_refused() {
    let Some(server) = Postgres::shared() else { return };
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    let create = "CREATE DATABASE in_ascii ENCODING 'SQL_ASCII' TEMPLATE template0";
    sqlx::query(create).execute(&mut connection).await.unwrap();
    let refused = PostgresStore::connect(&server.url().replace("/postgres", "/in_ascii")).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Encoding { found, .. } if found == "SQL_ASCII"), "{refused}");
}

/// A process that is busy tells the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_one_process_announces_the_others_hear() {
    let Some(server) = Postgres::shared() else { return };
    let url = database(server).await;
    let busy = PostgresStore::connect(&url).await.unwrap();
    let idle = PostgresStore::connect(&url).await.unwrap().listening_at(&url).unwrap();
    // Whoever begins to listen looks once.
    idle.notified().await;
    for _ in 0..3 {
        for _ in 0..100 {
            busy.notify_peers();
        }
        tokio::time::timeout(Duration::from_secs(20), idle.notified()).await.expect("to hear it");
    }
    idle.close().await.unwrap();
}

/// Nothing is there when it starts, and everything once the server is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lazy_store_opens_when_the_server_is_there() {
    let Some(server) = Postgres::shared() else { return };
    let url = database(server).await;
    let proxy = Proxy::before(server.port()).await;
    proxy.cut_off(true);
    let store =
        PostgresStore::connect_lazy(&url.replace(&server.port().to_string(), &proxy.port().to_string())).unwrap();
    assert!(matches!(store.record(&[push(1, 1032, 0)]).await, Err(StoreError::Unavailable(_))));
    proxy.cut_off(false);
    assert_eq!(store.record(&[push(1, 1032, 0)]).await.unwrap()[0].verdict, Verdict::First);
    assert!(PostgresStore::connect_lazy("no url").is_err());
}
