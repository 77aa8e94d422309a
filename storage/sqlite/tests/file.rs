//! What is in the file, and what is no longer.

use std::path::Path;
use std::time::{Duration, SystemTime};

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::store::{Claim, Completion, Delivery, Extent, Filter, Settlement, State, Store};
use mpesa_callbacks_sqlite::SqliteStore;

/// What is recorded here, and so claimed.
const KINDS: [Kind; 3] = [Kind::Stk, Kind::C2bConfirmation, Kind::Payment];

fn confirmation(number: usize) -> Delivery {
    let body = format!(
        r#"{{"TransID":"RCPT{number:06}","TransAmount":"10.00","MSISDN":"254711{number:06}","FirstName":"Canaryname{number}"}}"#
    );
    Delivery::parse(&Kind::C2bConfirmation, body.as_bytes(), SystemTime::now()).unwrap()
}

/// Records so many callbacks and settles all but every seventh, which dies.
async fn fill(store: &SqliteStore, count: usize) {
    let mut batch: Vec<_> = (0..count).map(confirmation).collect();
    for delivery in &mut batch {
        delivery.payment = None;
    }
    store.record(&batch).await.unwrap();
    loop {
        let claimed = store.claim(&Claim::new(&KINDS, 100, Duration::from_secs(60))).await.unwrap();
        if claimed.is_empty() {
            return;
        }
        let completion =
            |id: i64| if id % 7 == 0 { Completion::Dead { error: "given up".into() } } else { Completion::Done };
        let settled: Vec<_> =
            claimed.iter().map(|one| Settlement::new(one.lease, completion(one.lease.id.number()))).collect();
        store.settle(&settled).await.unwrap();
    }
}

fn everything_in(directory: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    files.flat_map(|file| std::fs::read(file).unwrap()).collect()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn a_purge_goes_through_all_of_them_and_leaves_nothing_private_in_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("inbox.db")).unwrap();
    fill(&store, 1000).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let done = 1000 - 1000 / 7;
    assert_eq!(store.purge(Duration::ZERO, Extent::All).await.unwrap(), done);
    assert_eq!(store.purge(Duration::ZERO, Extent::All).await.unwrap(), 0);
    let dead = store.list(&Filter::default().state(State::Dead).limit(1000)).await.unwrap();
    assert_eq!(dead.len(), 1000 / 7);
    assert!(store.get(dead[0].id).await.unwrap().unwrap().body.is_some(), "what is not done keeps its body");
    for entry in dead {
        assert!(store.dismiss(entry.id).await.unwrap());
    }
    assert_eq!(store.purge(Duration::ZERO, Extent::All).await.unwrap(), 1000 / 7);
    store.close().await.unwrap();

    let bytes = everything_in(directory.path());
    assert!(!contains(&bytes, "Canaryname"), "a name is still in the file");
    // Nine digits: six of them turn up by chance among so many hexadecimal HMACs.
    assert!(!contains(&bytes, "254711000"), "a phone number is still in the file");
}

#[tokio::test]
async fn a_closed_store_leaves_one_file_and_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("inbox.db");
    let store = SqliteStore::open(&path).unwrap();
    fill(&store, 10).await;
    store.close().await.unwrap();
    let files = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(files, 1, "the write-ahead log is still there");
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.list(&Filter::default()).await.unwrap().len(), 10);
}

#[tokio::test]
async fn two_processes_on_one_file_share_the_work() {
    let directory = tempfile::tempdir().unwrap();
    let stores = [(); 2].map(|()| SqliteStore::open(directory.path().join("inbox.db")).unwrap());
    let batch: Vec<_> = (0..100).map(confirmation).collect();
    let recording = stores.clone().map(|store| {
        let batch = batch.clone();
        tokio::spawn(async move {
            let mut firsts = 0;
            for delivery in batch {
                let recorded = store.record(&[delivery]).await.unwrap();
                firsts += usize::from(recorded[0].verdict == mpesa_callbacks_core::store::Verdict::First);
            }
            firsts
        })
    });
    let mut firsts = 0;
    for recording in recording {
        firsts += recording.await.unwrap();
    }
    assert_eq!(firsts, 100, "each was first once");
    let mut claimed = Vec::new();
    for store in stores.iter().cycle().take(20) {
        claimed.extend(
            store
                .claim(&Claim::new(&KINDS, 20, Duration::from_secs(60)))
                .await
                .unwrap()
                .into_iter()
                .map(|one| one.lease.id),
        );
    }
    claimed.sort_unstable();
    claimed.dedup();
    assert_eq!(claimed.len(), 200, "a hundred confirmations and their payments");
}
