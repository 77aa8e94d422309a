//! On a full disk nothing is acknowledged that is not stored, and service resumes when there is room.

use std::path::Path;

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::SqliteStore;
use mpesa_callbacks_tests::{Mounted, SECRET, Tmpfs};

struct Quiet;

#[mpesa_callbacks]
impl Quiet {
    #[stk]
    async fn stk(&self, _: StkCallback) {}
}

fn push(number: usize) -> Vec<u8> {
    let padding = "x".repeat(4000);
    format!(
        r#"{{"Body":{{"stkCallback":{{"CheckoutRequestID":"k{number}","ResultCode":1,"ResultDesc":"{padding}"}}}}}}"#
    )
    .into_bytes()
}

async fn inbox(directory: &Path) -> Inbox {
    let store = SqliteStore::open(directory.join("inbox.db")).unwrap();
    Inbox::builder(Quiet).store(store).secret(SECRET).start().await.unwrap()
}

#[tokio::test]
async fn what_does_not_fit_on_the_disk_is_not_acknowledged() {
    let Some(disk) = Tmpfs::mount(2 << 20) else { return };
    disk.fill_all_but(3 << 19);
    let mounted = Mounted::new(inbox(disk.path()).await);
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    for number in 0..1000 {
        match mounted.post("/stk", push(number)).await.status {
            200 => acknowledged.push(number),
            503 => refused += 1,
            status => panic!("{status}"),
        }
    }
    assert!(refused > 500, "the disk did not fill up: {refused} were refused");
    assert!(!acknowledged.is_empty());

    disk.make_room();
    let mut resumed = false;
    for number in 1000..1010 {
        if mounted.post("/stk", push(number)).await.status == 200 {
            acknowledged.push(number);
            resumed = true;
        }
    }
    assert!(resumed, "there is room again, and nothing is taken");
    mounted.inbox.shutdown(std::time::Duration::from_secs(5)).await.unwrap();

    let mounted = Mounted::new(inbox(disk.path()).await);
    let stored: Vec<_> = mounted.entries().await.iter().map(|entry| entry.key.as_str().to_owned()).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|number| !stored.contains(&format!("k{number}"))).collect();
    assert!(lost.is_empty(), "acknowledged and not there: {lost:?}");
}
