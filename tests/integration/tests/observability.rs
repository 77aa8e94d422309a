//! Logs and metrics that an operator waits for.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{Delivery, MemoryStore, Store};
use mpesa_callbacks::{Clock, Kind};
use mpesa_callbacks_tests::{CapturedLog, SECRET, until};

struct ConfirmationsOnly;

#[mpesa_callbacks]
impl ConfirmationsOnly {
    #[c2b_confirmation]
    async fn confirmed(&self, _: C2bConfirmation) {}
}

/// The machine's clock, ten minutes later: as if the process had run for so long.
#[derive(Debug)]
struct TenMinutesLater;

impl Clock for TenMinutesLater {
    fn now(&self) -> SystemTime {
        SystemTime::now() + Duration::from_mins(10)
    }
}

fn overdue_seconds(snapshotter: &Snapshotter, kind: &str) -> Option<f64> {
    let is_asked = |key: &metrics::Key| {
        key.name() == "mpesa_callbacks_oldest_due_seconds"
            && key.labels().any(|label| (label.key(), label.value()) == ("kind", kind))
    };
    snapshotter.snapshot().into_vec().into_iter().find_map(|(key, _, _, value)| match value {
        DebugValue::Gauge(seconds) if is_asked(key.key()) => Some(seconds.into_inner()),
        _ => None,
    })
}

/// A push that no process here handles: a metric and a log line show it, with its kind.
#[tokio::test]
async fn a_kind_that_no_process_handles_is_reported_after_a_while() {
    let log = CapturedLog::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _measuring = metrics::set_default_local_recorder(&recorder);

    let store = Arc::new(MemoryStore::new());
    let body = br#"{"Body":{"stkCallback":{"CheckoutRequestID":"k","ResultCode":1032,"ResultDesc":"cancelled"}}}"#;
    store.record(&[Delivery::parse(&Kind::Stk, body, SystemTime::now()).unwrap()]).await.unwrap();
    let builder = Inbox::builder(ConfirmationsOnly).name("shop").secret(SECRET).store(store);
    let inbox = builder.clock(Arc::new(TenMinutesLater)).start().await.unwrap();

    until("it is reported", async || log.text().contains("of a kind that this process does not handle")).await;
    let text = log.text();
    let line = text.lines().find(|line| line.contains("does not handle")).expect("just seen");
    assert!(line.contains("WARN") && line.contains("kind=stk") && line.contains("callbacks=1"), "{line}");
    let overdue = overdue_seconds(&snapshotter, "stk").expect("the gauge is set");
    assert!((590.0..700.0).contains(&overdue), "{overdue}");
    inbox.shutdown(Duration::from_secs(5)).await.unwrap();
}
