//! A handler that aborts the process is dead in the end, and the other callbacks are handled.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{Delivery, SqliteStore, State, Store};
use mpesa_callbacks_tests::{Mounted, SECRET, cancelled_push};

const DIRECTORY: &str = "ABORTING_INBOX";

struct Poisoned;

#[mpesa_callbacks]
impl Poisoned {
    #[stk(max_retries = 0)]
    async fn stk(&self, _: StkCallback, ctx: &CallbackContext) {
        if ctx.key() == "poison" {
            std::process::abort();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn inbox(directory: &Path) -> Inbox {
    Inbox::builder(Poisoned)
        .store(SqliteStore::open(directory.join("inbox.db")).unwrap())
        .secret(SECRET)
        .lease(Duration::from_millis(150))
        .lease_check_interval(Duration::from_millis(30))
        .start()
        .await
        .unwrap()
}

/// The process that is taken down. On its own it does nothing.
#[tokio::test]
async fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    // All of them are there before anything is claimed, so that they are claimed together.
    let store = SqliteStore::open(Path::new(&directory).join("inbox.db")).unwrap();
    for key in std::iter::once("poison".to_owned()).chain((0..40).map(|i| format!("innocent {i}"))) {
        let delivery = Delivery::parse(&Kind::Stk, &cancelled_push(&key), SystemTime::now()).unwrap();
        store.record(&[delivery]).await.unwrap();
    }
    store.close().await.unwrap();
    let mounted = Mounted::new(inbox(Path::new(&directory)).await);
    mounted.settled().await;
}

#[tokio::test]
async fn a_handler_that_aborts_the_process_is_dead_after_its_attempts_and_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut aborted = 0;
    loop {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["process_abort::child", "--exact"])
            .env(DIRECTORY, directory.path())
            .output()
            .unwrap();
        if child.status.success() {
            break;
        }
        aborted += 1;
        assert!(aborted <= 6, "it is never given up on: {}", String::from_utf8_lossy(&child.stderr));
    }
    assert_eq!(aborted, 6, "twice beside others, three times alone that cost it nothing, and its one attempt");
    let mounted = Mounted::new(inbox(directory.path()).await);
    for entry in mounted.entries().await {
        let expected = if entry.key == "poison" { State::Dead } else { State::Done };
        assert_eq!(entry.state, expected, "{}", entry.key.as_str());
    }
}
