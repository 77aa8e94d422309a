//! No body, phone number, name, amount, key or secret gets into logs, metrics, errors or `Debug`, at any level.
//!
//! Everything that could give something away has a canary in it; then everything that was put out is searched for them.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics_util::debugging::DebuggingRecorder;
use mpesa_callbacks::Backoff;
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{Filter, SqliteStore};
use mpesa_callbacks::transactor::SqlxTransactor;
use mpesa_callbacks_tests::{CapturedLog, Mounted, SECRET};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

/// The canaries: each is in some member of some body below, and nowhere else.
const CANARIES: [&str; 16] = [
    SECRET,
    "ws_CO_0101202612000000254711000001",
    "254711000001",
    "254711000002",
    "CANARYRCPT",
    "7654321.09",
    "7654321",
    "Canaryfirst",
    "Canarymiddle",
    "Canarylast",
    "canary-account",
    "canary-reason",
    "canary-credential",
    "canary-unknown",
    "canary-error",
    "canary-conversation",
];

#[derive(Default)]
struct Leaky {
    debug: Arc<Mutex<String>>,
}

impl Leaky {
    fn show(&self, callback: &dyn std::fmt::Debug, ctx: &CallbackContext) {
        self.debug.lock().unwrap().push_str(&format!("{callback:?} {ctx:?}"));
    }
}

#[mpesa_callbacks]
impl Leaky {
    #[stk(max_retries = 1)]
    async fn stk(&self, callback: StkCallback, ctx: &CallbackContext, tx: &mut SqliteTx) -> Result<(), String> {
        self.show(&callback, ctx);
        sqlx::query("INSERT INTO effect (key) VALUES (?)").bind(ctx.key()).execute(&mut **tx).await.unwrap();
        if callback.outcome().is_success() { Ok(()) } else { Err(format!("canary-error {}", ctx.key())) }
    }

    #[c2b_validation]
    async fn check(&self, request: C2bValidation, ctx: &CallbackContext) -> Result<Validation, String> {
        self.show(&request, ctx);
        Err("canary-error".into())
    }

    #[c2b_confirmation]
    async fn c2b(&self, callback: C2bConfirmation, ctx: &CallbackContext) {
        self.show(&callback, ctx);
    }

    #[payment]
    async fn paid(&self, payment: Payment, ctx: &CallbackContext) {
        self.show(&payment, ctx);
    }

    #[b2c_result]
    async fn b2c(&self, result: B2cResult, ctx: &CallbackContext) {
        self.show(&result, ctx);
    }

    #[b2c_timeout]
    async fn unsure(&self, timeout: QueueTimeout, ctx: &CallbackContext) {
        self.show(&timeout, ctx);
    }

    #[status_result]
    async fn status(&self, result: StatusResult, ctx: &CallbackContext) {
        self.show(&result, ctx);
    }

    #[status_timeout]
    async fn no_status(&self, timeout: QueueTimeout, ctx: &CallbackContext) {
        self.show(&timeout, ctx);
    }

    #[on_conflict]
    async fn conflict(&self, ctx: &CallbackContext) {
        self.show(&(), ctx);
    }
}

fn push(code: u32, desc: &str) -> String {
    format!(
        r#"{{"Body":{{"stkCallback":{{"MerchantRequestID":"m","CheckoutRequestID":"ws_CO_0101202612000000254711000001","ResultCode":{code},
        "ResultDesc":"{desc}","canary-unknown":"canary-unknown","CallbackMetadata":{{"Item":[{{"Name":"Amount","Value":7654321.09}},
        {{"Name":"MpesaReceiptNumber","Value":"CANARYRCPT"}},{{"Name":"PhoneNumber","Value":254711000001}},
        {{"Name":"Balance","Value":7654321.09}}]}}}}}}}}"#
    )
}

const C2B: &str = r#"{"TransID":"CANARYRCPT","TransAmount":"7654321.09","BillRefNumber":"canary-account","MSISDN":"254711000002",
    "OrgAccountBalance":"7654321.09","FirstName":"Canaryfirst","MiddleName":"Canarymiddle","LastName":"Canarylast"}"#;
const B2C: &str = r#"{"Result":{"ResultType":0,"ResultCode":0,"OriginatorConversationID":"canary-conversation","TransactionID":"CANARYRCPT",
    "ResultParameters":{"ResultParameter":[{"Key":"TransactionAmount","Value":7654321.09},
    {"Key":"ReceiverPartyPublicName","Value":"254711000001 - Canaryfirst Canarylast"}]}}}"#;
const ECHO: &str = r#"{"InitiatorName":"canary-credential","SecurityCredential":"canary-credential","CommandID":"BusinessPayment",
    "Amount":7654321,"PartyB":"254711000001","OriginatorConversationID":"canary-conversation"}"#;

/// Set for the process that captures all output: it has one subscriber and one recorder.
const CAPTURING: &str = "CAPTURE_ALL_OUTPUT";

#[test]
fn nothing_private_gets_out() {
    let capturing = Command::new(std::env::current_exe().unwrap())
        .args(["log_redaction::capturing", "--exact"])
        .env(CAPTURING, "1")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&capturing.stdout), String::from_utf8_lossy(&capturing.stderr));
    assert!(capturing.status.success() && out.contains("1 passed"), "{out}\n{err}");
}

/// The process that captures all output. On its own it does nothing.
#[tokio::test]
async fn capturing() {
    if std::env::var_os(CAPTURING).is_none() {
        return;
    }
    let output = CapturedLog::default();
    let writer = output.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().unwrap();

    let directory = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(directory.path().join("shop.db")).create_if_missing(true);
    let pool = SqlitePoolOptions::new().connect_with(options).await.unwrap();
    sqlx::raw_sql("CREATE TABLE effect (key TEXT)").execute(&pool).await.unwrap();
    let leaky = Leaky::default();
    let shown = leaky.debug.clone();
    let builder = Inbox::builder(leaky)
        .store(SqliteStore::open(directory.path().join("inbox.db")).unwrap())
        .transactor(SqlxTransactor::new(pool.clone()))
        .secret(SECRET)
        .backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(2)));
    let mut debug = format!("{builder:?}");
    let inbox = builder.start().await.unwrap();
    let mounted = Mounted::new(inbox.clone());
    debug += &format!("{inbox:?} {mounted:?}");

    // Over a real socket, so that the server's own logs are there too.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/pay", listener.local_addr().unwrap());
    let service = mounted.app.clone().into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    let post = async |url: String, body: String| {
        let send = move || {
            let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
            agent.post(&url).send(body).unwrap().status().as_u16()
        };
        tokio::task::spawn_blocking(send).await.unwrap()
    };
    for (path, body) in [
        ("/stk", push(0, "canary-reason")),
        ("/stk", push(0, "canary-reason")),
        ("/stk", push(0, "canary-reason in other words")),
        ("/stk", push(1032, "canary-reason")),
        ("/stk", push(1032, "canary-reason").replace("ws_CO_", "ws_CO_canary-account")),
        ("/stk", push(0, "canary-reason").replace("]}", "")),
        ("/stk", push(0, "canary-reason").replace("7654321.09", "\"7654321.09 KES\"")),
        ("/c2b/validation", C2B.to_owned()),
        ("/c2b/confirmation", C2B.to_owned()),
        ("/c2b/confirmation", C2B.replace("7654321.09\"", "7654321.09\",\"TransAmount\":\"1\"")),
        ("/b2c/result", B2C.to_owned()),
        ("/b2c/timeout", ECHO.to_owned()),
        ("/status/result", B2C.replace("TransactionAmount", "Amount")),
        ("/status/timeout", ECHO.replace('}', "")),
    ] {
        assert_eq!(post(format!("{base}/{SECRET}{path}"), body).await, 200, "{path}");
    }
    assert_eq!(post(format!("{base}/{SECRET}/no/such/path"), push(0, "")).await, 404);
    assert_eq!(post(format!("{base}/{SECRET}0/stk"), push(0, "")).await, 404);
    mounted.settled().await;

    for entry in mounted.inbox.list(&Filter::default()).await.unwrap() {
        debug += &format!("{entry:?} {:?}", mounted.inbox.get(entry.id).await.unwrap());
        // The error of a handler is shown on request only.
        if let Some(error) = entry.error {
            assert!(!error.as_str().contains(SECRET));
        }
    }
    pool.close().await;
    post(format!("{base}/{SECRET}/stk"), push(0, "").replace("ws_CO_", "ws_CO_canary-account-2")).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    mounted.inbox.shutdown(Duration::from_secs(1)).await.unwrap();
    post(format!("{base}/{SECRET}/stk"), push(0, "").replace("ws_CO_", "ws_CO_canary-account-3")).await;

    let logs = output.text();
    let metrics = format!("{:?}", snapshotter.snapshot().into_vec());
    debug += &shown.lock().unwrap();
    assert!(debug.contains("StkCallback") && debug.contains("Payment"));
    assert!(
        logs.contains("it is held") && logs.contains("a handler failed") && logs.contains("a body cannot be parsed"),
        "{logs}"
    );
    assert!(metrics.contains("mpesa_callbacks_recorded_total"), "{metrics}");
    for canary in CANARIES {
        // The debugging recorder shows bodies' lengths as numbers only; still, look for all of them.
        for (place, text) in [("the logs", &logs), ("the metrics", &metrics), ("Debug", &debug)] {
            // M-Pesa's own ids and texts are not personal, and help with debugging.
            let names_nobody = matches!(canary, "CANARYRCPT" | "canary-conversation" | "canary-reason");
            if place == "Debug" && names_nobody {
                continue;
            }
            if let Some(at) = text.find(canary) {
                let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
                panic!("`{canary}` is in {place}: {}", &text[start..(at + 200).min(text.len())]);
            }
        }
    }
}
