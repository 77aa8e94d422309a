//! Where deliveries wait while the store is away.

use std::time::{Duration, SystemTime};

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::store::{Spool, SpoolId, Spooled, StoreError};
use mpesa_callbacks_sqlite::{SqliteSpool, SqliteStore};

fn delivery(number: u64) -> Spooled {
    let body = format!(r#"{{"TransID":"R{number}","padding":"{}"}}"#, "x".repeat(900));
    let mut spooled = Spooled::new(
        Kind::C2bValidation,
        body.into_bytes().into(),
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + number),
    );
    spooled.client_ip = Some("196.201.214.200".parse().unwrap());
    spooled.reference = Some("order-1".to_owned().into());
    spooled.decision = Some(r#"{"ResultCode":"0"}"#.to_owned());
    spooled
}

#[tokio::test]
async fn what_was_put_is_there_for_the_next_process_whole_and_oldest_first() {
    let directory = tempfile::tempdir().unwrap();
    let spool = SqliteSpool::open(directory.path()).unwrap();
    let put = delivery(1);
    spool.put(&[put.clone(), delivery(2)]).await.unwrap();
    spool.put(&[delivery(3)]).await.unwrap();
    spool.close().await.unwrap();
    assert!(matches!(spool.put(&[delivery(4)]).await, Err(StoreError::Closed)));

    let spool = SqliteSpool::open(directory.path()).unwrap();
    let depth = spool.depth().await.unwrap();
    assert_eq!((depth.deliveries, depth.oldest), (3, Some(delivery(1).received_at)));
    let oldest = spool.oldest(SpoolId::default(), 2).await.unwrap();
    let [(first, one), (second, _)] = &oldest[..] else { panic!("{}", oldest.len()) };
    let asked = delivery(1);
    assert_eq!(one.delivery_id, put.delivery_id);
    assert_eq!(one.came_to, asked.came_to);
    assert_eq!(one.body, asked.body);
    assert_eq!((one.received_at, one.client_ip), (asked.received_at, asked.client_ip));
    assert_eq!((&one.reference, &one.decision), (&asked.reference, &asked.decision));
    spool.remove(&[*first]).await.unwrap();
    let rest = spool.oldest(SpoolId::default(), 10).await.unwrap();
    assert_eq!(rest[0].0, *second);
    assert_eq!(spool.oldest(*second, 10).await.unwrap()[0].1.body, delivery(3).body);
    spool.remove(&[rest[0].0, rest[1].0]).await.unwrap();
    assert_eq!(spool.depth().await.unwrap().deliveries, 0);
}

#[tokio::test]
async fn a_directory_has_one_owner() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spool");
    let spool = SqliteSpool::open(&path).unwrap();
    let refused = SqliteSpool::open(&path).unwrap_err();
    assert!(std::error::Error::source(&refused).unwrap().to_string().contains("another process"), "{refused:?}");
    spool.close().await.unwrap();
    SqliteSpool::open(&path).unwrap();
}

#[tokio::test]
async fn a_full_spool_says_so_and_takes_more_once_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let spool = SqliteSpool::open_with_budget(directory.path(), 1024 * 1024).unwrap();
    let mut put = 0;
    let full = loop {
        match spool.put(&[delivery(put)]).await {
            Ok(()) => put += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, StoreError::Unavailable(_)), "{full:?}");
    assert!((500..1100).contains(&put), "{put} of 1 KiB in 1 MiB");
    assert_eq!(spool.depth().await.unwrap().deliveries, put);
    let size: u64 = std::fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap().metadata().unwrap().len()).sum();
    assert!(size < 8 * 1024 * 1024, "{size} bytes");
    let oldest = spool.oldest(SpoolId::default(), 100).await.unwrap();
    spool.remove(&oldest.iter().map(|(id, _)| *id).collect::<Vec<_>>()).await.unwrap();
    spool.put(&[delivery(put)]).await.unwrap();
}

#[tokio::test]
async fn a_store_is_not_a_spool() {
    let directory = tempfile::tempdir().unwrap();
    SqliteStore::open(directory.path().join("spool.db")).unwrap();
    assert!(matches!(SqliteSpool::open(directory.path()), Err(StoreError::Damaged { .. })));
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_reads_the_files_and_what_was_replayed_is_gone_from_them() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spool");
    let spool = SqliteSpool::open(&path).unwrap();
    let mut canary = delivery(1);
    canary.body = br#"{"FirstName":"Canaryname"}"#.to_vec().into();
    spool.put(&[canary]).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::metadata(path.join("spool.db")).unwrap().permissions().mode() & 0o777, 0o600);
    let (id, _) = spool.oldest(SpoolId::default(), 1).await.unwrap().remove(0);
    spool.remove(&[id]).await.unwrap();
    // The write-ahead log is emptied behind the answer, and behind what is written with that; what comes then waits for it.
    spool.remove(&[]).await.unwrap();
    spool.remove(&[]).await.unwrap();
    for file in std::fs::read_dir(&path).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(10).any(|window| window == b"Canaryname"));
    }
}
