//! The probe over real sockets: it reports what arrives, and stores nothing.

use std::time::{Duration, Instant};

use mpesa_callbacks_core::IpAllowlist;
use serde_json::Value;
use tokio::time::sleep;

use super::client::{Answer, exchange, request};
use super::{SECRET, Serve, Served, refused};

/// Longer than a busy machine takes.
const LONG: Duration = Duration::from_secs(30);

/// `GET` and `POST` of `<mount>/<secret>/probe` report what the inbox sees. The
/// allowlist is reported and not applied. A second request within a second gets 503.
pub async fn the_probe_reports_what_arrives_and_stores_nothing(serve: &Serve) {
    let served = Served::with(serve, |builder| builder.ip_allowlist(IpAllowlist::new(["192.0.2.1"]))).await;
    let probe = format!("/pay/{SECRET}/probe");
    let body = vec![b'x'; 60 * 1024];
    for (method, body) in [("GET", &[][..]), ("POST", &body)] {
        let answer = probed(&served, &request(method, &probe, &[], body)).await;
        let seen: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(answer.content_type.as_deref(), Some("application/json"));
        assert_eq!(seen["body"]["bytes"], body.len(), "{seen}");
        assert_eq!(seen["sender"]["client_ip"], "127.0.0.1", "{seen}");
        assert_eq!((&seen["sender"]["listed"], &seen["sender"]["report_only"]), (&false.into(), &false.into()));
        assert_eq!((&seen["kinds"]["stk"], &seen["store"]["takes_writes"]), (&"/stk".into(), &true.into()), "{seen}");
        assert!(!seen.to_string().contains(SECRET));
    }
    let get = request("GET", &probe, &[], &[]);
    let ask = || exchange(served.address, &get);
    let (a, b, c) = tokio::join!(ask(), ask(), ask());
    assert!([a, b, c].iter().any(|answer| answer.status == 503), "three at once");
    for (method, path) in [
        ("GET", format!("/pay/{}/probe", "0".repeat(32))),
        ("GET", format!("/pay/{SECRET}/probe/probe")),
        ("GET", format!("/pay/{SECRET}/Probe")),
        ("PUT", probe.clone()),
    ] {
        let answer = exchange(served.address, &request(method, &path, &[], &[])).await;
        assert!(matches!(answer.status, 403 | 404), "{method} {path}: {answer:?}");
    }
    assert!(served.entries().await.is_empty());

    let silent = Served::with(serve, |builder| builder.probe(false)).await;
    assert_eq!(exchange(silent.address, &request("GET", &probe, &[], &[])).await, refused(404));
}

/// Repeats a request that comes too soon.
async fn probed(served: &Served, request: &[u8]) -> Answer {
    let began = Instant::now();
    loop {
        let answer = exchange(served.address, request).await;
        if answer.status == 200 {
            return answer;
        }
        assert!(answer.status == 503 && began.elapsed() < LONG, "{answer:?}");
        sleep(Duration::from_millis(100)).await;
    }
}
