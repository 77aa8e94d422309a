//! The journal detects every fault.

use std::path::PathBuf;
use std::time::Duration;

use chaos::check::{Findings, check, settled};
use chaos::deliveries::{Delivery, Meaning, deliveries};
use chaos::fleet::{Fleet, Manner};
use chaos::journal::{Heard, Journal};
use chaos::load::send;
use chaos::place::Place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_lost_doubled_or_made_up_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::Sqlite(directory.path().to_owned());
    place.prepare().await.unwrap();
    let lease = Duration::from_secs(5);
    let manner = Manner { place: place.clone(), lease, spools: None, flags: vec!["--good"] };
    let program = PathBuf::from(env!("CARGO_BIN_EXE_chaos"));
    let fleet = Fleet::start(program, manner, 1).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let (all, journal) = (deliveries(200, &mut random), Journal::new(202));
    tokio::task::block_in_place(|| send(&fleet, &journal, &all, None, &mut random, |_| Ok(()))).unwrap();
    let store = place.store().await.unwrap();
    settled(&*store, Duration::from_mins(1)).await.unwrap();
    drop(fleet);
    let judged = async || check(&place, &*store, &journal).await.unwrap();
    let clean = judged().await;
    assert!(clean.is_clean() && clean.callbacks >= 200 && clean.held > 0, "{clean}");

    // An acknowledgement of something that is not there.
    journal.note(Delivery { number: 200, meaning: Meaning::Paid }, Heard::Status(200), Duration::ZERO);
    assert_eq!(judged().await, Findings { lost: 1, ..clean });

    let effects = place.sqlite().await.unwrap();
    let says_one_thing = |number: &usize| {
        all.iter().filter(|delivery| delivery.number == *number).all(|delivery| delivery.meaning == Meaning::Paid)
    };
    let usual =
        |at: usize| (0..200).filter(says_one_thing).nth(at).map(|number| Delivery { number, meaning: Meaning::Paid });
    let spoil = async |sql: &'static str, delivery: Option<Delivery>| {
        sqlx::query(sql).bind(delivery.unwrap().receipt()).execute(&effects).await.unwrap();
    };
    spoil("INSERT INTO effect (receipt) VALUES (?)", usual(0)).await;
    assert_eq!(judged().await, Findings { lost: 1, doubled: 1, ..clean });
    spoil("DELETE FROM effect WHERE receipt = ?", usual(1)).await;
    assert_eq!(judged().await, Findings { lost: 1, doubled: 1, unapplied: 1, ..clean });
    // A callback that was never sent.
    spoil("INSERT INTO effect (receipt) VALUES (?)", Some(Delivery { number: 201, meaning: Meaning::Paid })).await;
    assert_eq!(judged().await, Findings { lost: 1, doubled: 2, unapplied: 1, ..clean });
    // A row that was counted more often than it was sent.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(directory.path().join("inbox.db"));
    let inbox = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let seen = "UPDATE callback SET seen = seen + 5 WHERE receipt = ?";
    sqlx::query(seen).bind(usual(2).unwrap().receipt()).execute(&inbox).await.unwrap();
    assert_eq!(judged().await, Findings { lost: 1, doubled: 2, unapplied: 1, misclassified: 1, ..clean });
    // An update that was taken for a first.
    let first =
        "UPDATE callback SET verdict = 0 WHERE id = (SELECT min(id) FROM callback WHERE verdict = 5 AND kind = 'stk')";
    assert_eq!(sqlx::query(first).execute(&inbox).await.unwrap().rows_affected(), 1, "some are updated");
    assert_eq!(judged().await, Findings { lost: 1, doubled: 2, unapplied: 1, misclassified: 2, ..clean });
}
