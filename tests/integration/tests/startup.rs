//! Bad use gets a clear error at the start.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{MemoryStore, SqliteSpool, SqliteStore, StoreError};
use mpesa_callbacks::transactor::{BeginOutcome, IdempotencyKey, SqlxTransactor, Transactor, TransactorError};
use mpesa_callbacks::{HandlerArgs, HandlerFuture, MpesaCallbacks, Route, Routes, StartError};
use mpesa_callbacks_tests::SECRET;

struct Quiet;

#[mpesa_callbacks]
impl Quiet {
    #[stk]
    async fn stk(&self, _: StkCallback) {}
}

fn said(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += ": ";
        text += &error.to_string();
        source = error.source();
    }
    text
}

#[tokio::test]
async fn an_inbox_without_a_store_or_a_secret_does_not_start() {
    let error = Inbox::builder(Quiet).secret(SECRET).start().await.unwrap_err();
    assert!(error.to_string().contains(".store("), "{error}");
    let error = Inbox::builder(Quiet).store(MemoryStore::new()).start().await.unwrap_err();
    assert!(error.to_string().contains("openssl rand -hex 16"), "{error}");
}

#[tokio::test]
async fn a_secret_that_can_be_guessed_does_not_start() {
    for (secret, words) in [
        ("letmein", "too short"),
        ("0123456789abcdef", "too short"),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "not drawn at random"),
        ("0123456789abcdef/0123456789abcdef", "do not survive in a URL"),
        ("Zp3vRk9LwMPESAfJhGd-_x7Q", "`mpesa`"),
    ] {
        let error = Inbox::builder(Quiet).store(MemoryStore::new()).secret(secret).start().await.unwrap_err();
        assert!(error.to_string().contains(words), "{secret}: {error}");
        assert!(!error.to_string().contains(secret), "the secret is in the error");
    }
}

#[tokio::test]
async fn numbers_that_would_stop_everything_do_not_start() {
    let error = Inbox::builder(Quiet)
        .store(MemoryStore::new())
        .secret(SECRET)
        .max_concurrent_handlers(0)
        .start()
        .await
        .unwrap_err();
    assert!(matches!(error, StartError::InvalidOption { option: "max_concurrent_handlers", .. }));
}

#[tokio::test]
async fn durations_without_end_do_not_start() {
    let builder = Inbox::builder(Quiet).store(MemoryStore::new()).secret(SECRET);
    let error = builder.lease(std::time::Duration::MAX).start().await.unwrap_err();
    assert!(matches!(error, StartError::InvalidOption { option: "lease", .. }));
}

#[tokio::test]
async fn a_transaction_without_a_ledger_does_not_start() {
    let routes = Routes::new().with(Route::new(Kind::Stk).transactional());
    let error = Inbox::builder(ByHand(routes)).store(MemoryStore::new()).secret(SECRET).start().await.unwrap_err();
    assert!(error.to_string().contains(".transactor("), "{error}");
}

#[tokio::test]
async fn a_ledger_that_a_power_cut_could_empty_does_not_start() {
    use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(directory.path().join("shop.db")).create_if_missing(true);
    let pool = SqlitePoolOptions::new().connect_with(options.synchronous(SqliteSynchronous::Normal)).await.unwrap();
    let builder = Inbox::builder(Quiet).store(MemoryStore::new()).secret(SECRET).transactor(SqlxTransactor::new(pool));
    let error = builder.start().await.unwrap_err();
    assert!(said(&error).contains("synchronous is 1, and must be 2"), "{}", said(&error));
}

struct ByHand(Routes);

impl<Tx: Send> MpesaCallbacks<Tx> for ByHand {
    fn routes(&self) -> Routes {
        self.0.clone()
    }

    fn stk<'a>(&'a self, _: StkCallback, _: HandlerArgs<'a, Tx>) -> HandlerFuture<'a> {
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test]
async fn routes_written_by_hand_are_checked() {
    let stk = || Route::new(Kind::Stk);
    for (routes, words) in [
        (Routes::new(), "has no handlers"),
        (Routes::new().with(stk()).with(stk()), "two handlers for `stk`"),
        (Routes::new().with(stk().path("/sqlserver")), "`sql`"),
    ] {
        let error = Inbox::builder(ByHand(routes)).store(MemoryStore::new()).secret(SECRET).start().await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_database_that_cannot_be_opened_says_which_and_why() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("no/such/directory/inbox.db");
    let error = SqliteStore::open(&missing).unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
    assert!(said(&error).contains("no/such/directory"), "{}", said(&error));
    assert!(SqliteStore::open(directory.path()).is_err(), "a directory is no database");
}

#[test]
fn a_file_that_is_no_database_or_somebody_elses_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("text.db");
    std::fs::write(&text, "this is not a database, it is a text of some length".repeat(100)).unwrap();
    let error = SqliteStore::open(&text).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");

    let foreign = directory.path().join("foreign.db");
    sqlite(&foreign, "CREATE TABLE orders (id INTEGER)");
    let error = SqliteStore::open(&foreign).unwrap_err();
    assert!(error.to_string().contains("another application's database"), "{error}");
}

#[test]
fn a_damaged_file_is_recognised() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("inbox.db");
    drop(SqliteStore::open(&path).unwrap());
    std::thread::sleep(std::time::Duration::from_millis(50));
    sqlite(&path, "PRAGMA wal_checkpoint(TRUNCATE)");
    let mut bytes = std::fs::read(&path).unwrap();
    let page = 4096;
    assert!(bytes.len() > 3 * page);
    bytes[2 * page..3 * page].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("restore it from a backup"), "{error}");
}

#[test]
fn a_newer_schema_is_refused_with_both_versions() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("inbox.db");
    drop(SqliteStore::open(&path).unwrap());
    sqlite(&path, "PRAGMA user_version = 99");
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::NewerSchema { found: 99, .. }), "{error}");
    assert!(error.to_string().contains("upgrade the library"), "{error}");
}

#[test]
fn a_database_is_opened_again_and_by_two_processes_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("inbox.db");
    let openers: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || SqliteStore::open(&path).map(|_| ()))
        })
        .collect();
    for opener in openers {
        opener.join().unwrap().unwrap();
    }
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o077, 0, "others can read it: {mode:o}");
    }
}

/// Runs a statement on a database file, as another program would.
fn sqlite(path: &std::path::Path, statement: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (path, statement) = (path.to_owned(), statement.to_owned());
    runtime.block_on(async move {
        use sqlx::ConnectOptions;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        sqlx::Connection::close(connection).await.unwrap();
    });
}

#[derive(Clone, Default)]
struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_public_url_that_daraja_would_not_take_is_a_warning_at_the_start() {
    for (url, words) in [
        ("https://shop.example.com/pay", None),
        ("http://abc.ngrok.io/pay", Some("it is not `https`")),
        ("https://192.168.1.10/mpesa", Some("it spells `mpesa`")),
    ] {
        let lines = Lines::default();
        let written = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || written.clone()).finish();
        let told = tracing::subscriber::set_default(subscriber);
        let inbox = Inbox::builder(Quiet).store(MemoryStore::new()).secret(SECRET).public_url(url).start().await;
        assert!(inbox.is_ok(), "it is a warning only");
        drop(told);
        let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        match words {
            None => assert!(!log.contains("WARN"), "{log}"),
            Some(words) => assert!(log.contains("WARN") && log.contains(words) && !log.contains(SECRET), "{log}"),
        }
    }
}

/// A transactor whose database stops answering, at once or after the first call.
#[derive(Debug)]
struct Silent {
    is_refusing: AtomicBool,
}

#[async_trait]
impl Transactor for Silent {
    type Tx = ();

    async fn prepare(&self) -> Result<(), TransactorError> {
        match self.is_refusing.swap(false, Ordering::SeqCst) {
            true => Err(TransactorError::Unavailable("it is away".into())),
            false => std::future::pending().await,
        }
    }

    async fn begin(&self, _: &IdempotencyKey) -> Result<BeginOutcome<()>, TransactorError> {
        std::future::pending().await
    }

    async fn add_key(&self, (): &mut (), _: &IdempotencyKey) -> Result<bool, TransactorError> {
        Ok(true)
    }

    async fn commit(&self, (): ()) -> Result<(), TransactorError> {
        Ok(())
    }

    async fn rollback(&self, (): ()) -> Result<(), TransactorError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_transactor_that_never_answers_is_an_error_at_the_start() {
    let silent = Silent { is_refusing: AtomicBool::new(false) };
    let starting = Inbox::builder(Quiet).store(MemoryStore::new()).secret(SECRET).transactor(silent).start();
    let error = tokio::time::timeout(Duration::from_hours(1), starting).await.expect("an answer").unwrap_err();
    assert!(said(&error).contains("did not answer"), "{}", said(&error));
}

#[tokio::test]
async fn a_transactor_that_never_answers_does_not_delay_a_shutdown() {
    let directory = tempfile::tempdir().unwrap();
    let inbox = Inbox::builder(Quiet)
        .store(MemoryStore::new())
        .secret(SECRET)
        .spool(SqliteSpool::open(directory.path().join("spool.db")).unwrap())
        .transactor(Silent { is_refusing: AtomicBool::new(true) })
        .start()
        .await
        .unwrap();
    // It is prepared again after a second, and does not answer.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let closing = tokio::time::timeout(Duration::from_secs(15), inbox.shutdown(Duration::from_secs(1)));
    closing.await.expect("it ends").unwrap();
}
