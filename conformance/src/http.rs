//! The behaviours of an adapter, over real sockets: the same responses, byte for byte, in every framework.
//!
//! ```no_run
//! use std::net::SocketAddr;
//! use mpesa_callbacks_core::Inbox;
//!
//! /// Mounts the inbox at `/pay`, serves it on a free port of 127.0.0.1, and returns the address.
//! async fn serve(inbox: Inbox) -> SocketAddr {
//!     # std::future::pending().await
//!     // axum::serve(…), HttpServer::new(…), rocket::custom(…)
//! }
//!
//! mpesa_callbacks_conformance::http_tests!(serve);
//! # fn main() {}
//! ```

mod client;

mod everything;

mod probe;

mod senders;

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::{Duration, Instant};

use mpesa_callbacks_core::store::{Entry, Filter, MemoryStore, State, Verdict};
use mpesa_callbacks_core::transactor::NoTransactor;
use mpesa_callbacks_core::{Inbox, InboxBuilder, Kind};
use tokio::time::sleep;

pub use self::client::{Answer, exchange};
use self::client::{post, request};
use self::everything::Everything;
pub use self::probe::*;
pub use self::senders::*;
use crate::fixtures;

/// Mounts the inbox at `/pay`, serves it on a free port of 127.0.0.1, and returns the address.
pub type Serve = dyn Fn(Inbox) -> Pin<Box<dyn Future<Output = SocketAddr>>>;

const SECRET: &str = "00112233445566778899aabbccddeeff";

/// The first bytes of a body that then stops. Rocket 0.5 itself waits for the first 14 bytes, so no
/// response is possible before them.
const FIRST_BYTES: &str = "{                   ";

/// Duration of the handler for the account `slow`.
const SLOW: Duration = Duration::from_millis(150);

/// Timeout of a body in these tests.
const BODY_DEADLINE: Duration = Duration::from_millis(400);

type Builder = InboxBuilder<Everything, NoTransactor>;

struct Served {
    address: SocketAddr,
    inbox: Inbox,
}

impl Served {
    async fn new(serve: &Serve) -> Served {
        Served::with(serve, |builder| builder).await
    }

    async fn with(serve: &Serve, configure: impl FnOnce(Builder) -> Builder) -> Served {
        let builder =
            Inbox::builder(Everything).store(MemoryStore::new()).secret(SECRET).body_timeout(BODY_DEADLINE).sandbox();
        let inbox = configure(builder).start().await.expect("an inbox");
        Served { address: serve(inbox.clone()).await, inbox }
    }

    async fn post(&self, path: &str, body: &[u8]) -> Answer {
        exchange(self.address, &post(&format!("/pay/{SECRET}{path}"), body)).await
    }

    async fn entries(&self) -> Vec<Entry> {
        let mut entries = self.inbox.list(&Filter::default().limit(1000)).await.expect("list");
        entries.retain(|entry| entry.kind != Kind::Payment);
        entries.reverse();
        entries
    }
}

fn push(key: &str) -> Vec<u8> {
    format!(r#"{{"Body":{{"stkCallback":{{"CheckoutRequestID":"{key}","ResultCode":1032}}}}}}"#).into_bytes()
}

fn acknowledged(body: &str) -> Answer {
    let content_type = if body.starts_with('{') { "application/json" } else { "text/plain" };
    Answer { status: 200, content_type: Some(content_type.into()), allow: None, retry_after: None, body: body.into() }
}

fn refused(status: u16) -> Answer {
    let allow = (status == 405).then(|| "POST".to_owned());
    Answer { status, content_type: None, allow, retry_after: None, body: Vec::new() }
}

const STK: &str = r#"{"ResultCode":0,"ResultDesc":"Success"}"#;

/// Each fixture is posted to the URL of its kind. Status, content type and body
/// of the response are exactly those that its sender expects.
pub async fn every_kind_is_acknowledged_byte_for_byte(serve: &Serve) {
    let served = Served::new(serve).await;
    let result = r#"{"ResponseCode":"00000000","ResponseDesc":"success"}"#;
    for (path, fixture, expected) in [
        ("/stk", "stk/success-docs3.json", STK),
        ("/c2b/validation", "c2b_validation/sandbox-600610.json", r#"{"ResultCode":"0","ResultDesc":"Accepted"}"#),
        ("/c2b/validation", "c2b_validation/portal-2017.json", r#"{"ResultCode":"C2B00012","ResultDesc":"Rejected"}"#),
        ("/c2b/confirmation", "c2b_confirmation/docs3-masked.json", STK),
        ("/b2c/result", "b2c_result/success-docs3.json", result),
        ("/b2c/timeout", "timeouts/result-envelope-int.json", result),
        ("/b2b/result", "b2b_result/paybill-success-docs2.json", result),
        ("/b2b/timeout", "timeouts/result-envelope-buygoods.json", result),
        ("/tax/result", "tax_remittance_result/success-fixture.json", result),
        ("/tax/timeout", "timeouts/result-envelope-deno.json", result),
        ("/status/result", "transaction_status_result/success-docs3.json", result),
        ("/status/timeout", "timeouts/result-envelope-status.json", result),
        ("/balance/result", "account_balance_result/success-docs3.json", result),
        ("/balance/timeout", "timeouts/result-envelope-string-code.json", result),
        ("/reversal/result", "reversal_result/success-docs3.json", result),
        ("/reversal/timeout", "timeouts/unwrapped-string-code.json", result),
        ("/b2b-express", "b2b_express/success-docs2.json", STK),
        ("/ratiba", "ratiba/success-all-uppercase.json", STK),
        ("/bill-manager", "bill_manager/payment-docs2.json", r#"{"resmsg":"Success","rescode":"200"}"#),
        ("/lipia", "aggregator/lipia-success.json", "ok"),
        ("/payhero", "aggregator/payhero-v3-success.json", "thanks"),
        ("/stk", "invalid/stk-success-missing-comma-seed003.json", STK),
    ] {
        let answer = served.post(path, &fixtures::body(fixture)).await;
        assert_eq!(answer, acknowledged(expected), "{fixture} at {path}");
    }
    let quarantined = served.inbox.counts().await.expect("depth").quarantined;
    assert_eq!(quarantined, 1);
}

/// First, duplicate, variant and conflict are acknowledged alike, and recorded
/// with their verdicts.
pub async fn verdicts_do_not_change_the_acknowledgement(serve: &Serve) {
    let served = Served::new(serve).await;
    let spaced = String::from_utf8(push("k")).expect("text").replace(':', " : ");
    let other = String::from_utf8(push("k")).expect("text").replace("1032", "0");
    for body in [&push("k")[..], &push("k"), spaced.as_bytes(), other.as_bytes()] {
        assert_eq!(served.post("/stk", body).await, acknowledged(STK));
    }
    let verdicts: Vec<_> = served.entries().await.iter().map(|entry| (entry.verdict, entry.seen)).collect();
    assert_eq!(verdicts, [(Verdict::First, 2), (Verdict::Variant, 1), (Verdict::Conflict, 1)]);
}

/// A wrong secret and an unknown path get the same 404 with an empty body, for
/// any method.
pub async fn a_wrong_secret_is_an_unknown_path(serve: &Serve) {
    let served = Served::new(serve).await;
    let wrong = "ffeeddccbbaa99887766554433221100";
    for path in [
        format!("/pay/{wrong}/stk"),
        format!("/pay/{SECRET}/no/such/kind"),
        format!("/pay/{SECRET}/STK"),
        format!("/pay/{}/stk", &SECRET[1..]),
        format!("/pay/{SECRET}/stk/stk"),
        format!("/pay/%30{}/stk", &SECRET[1..]),
        "/pay/stk".to_owned(),
        format!("/pay/x/{SECRET}/stk"),
    ] {
        for method in ["POST", "GET", "PUT"] {
            let answer = exchange(served.address, &request(method, &path, &[], &push("k"))).await;
            assert_eq!(answer, refused(404), "{method} {path}");
        }
    }
    assert!(served.entries().await.is_empty());
}

/// Methods other than POST get 405 with `Allow: POST`.
pub async fn other_methods_are_not_allowed(serve: &Serve) {
    let served = Served::new(serve).await;
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"] {
        let answer = exchange(served.address, &request(method, &format!("/pay/{SECRET}/stk"), &[], &[])).await;
        assert_eq!(answer, refused(405), "{method}");
    }
}

/// A trailing slash and a query change nothing.
pub async fn a_trailing_slash_is_the_same_url(serve: &Serve) {
    let served = Served::new(serve).await;
    for path in ["/stk", "/stk/", "/stk?a=b", "/stk/?a=b"] {
        assert_eq!(served.post(path, &push("k")).await, acknowledged(STK), "{path}");
    }
    assert_eq!(served.entries().await[0].seen, 4);
}

/// The content type is ignored: Daraja sends `application/json;charset=UTF-8`,
/// some relays send none.
pub async fn any_content_type_is_accepted(serve: &Serve) {
    let served = Served::new(serve).await;
    let path = format!("/pay/{SECRET}/stk");
    for content_type in [
        "application/json;charset=UTF-8",
        "application/json",
        "text/xml",
        "application/x-www-form-urlencoded",
        "nonsense",
    ] {
        let bytes = request("POST", &path, &[("content-type", content_type)], &push(content_type));
        assert_eq!(exchange(served.address, &bytes).await, acknowledged(STK), "{content_type}");
    }
    assert_eq!(exchange(served.address, &request("POST", &path, &[], &push("none"))).await, acknowledged(STK));
    assert_eq!(served.entries().await.len(), 6);
}

/// A body with `Transfer-Encoding: chunked` is read like any other.
pub async fn a_chunked_body_is_read(serve: &Serve) {
    let served = Served::new(serve).await;
    let mut bytes = format!(
        "POST /pay/{SECRET}/stk HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    )
    .into_bytes();
    for piece in push("chunked").chunks(9) {
        bytes.extend(format!("{:x}\r\n", piece.len()).bytes());
        bytes.extend(piece);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    assert_eq!(exchange(served.address, &bytes).await, acknowledged(STK));
    assert_eq!(served.entries().await[0].key, "chunked");
}

/// A body that is too large gets 413: by its `Content-Length` before it is
/// read, or by its bytes if it has none.
pub async fn a_large_body_is_refused(serve: &Serve) {
    let served = Served::new(serve).await;
    let promised = format!(
        "POST /pay/{SECRET}/stk HTTP/1.1\r\nhost: x\r\ncontent-length: 1073741824\r\nconnection: close\r\n\r\n{FIRST_BYTES}"
    );
    assert_eq!(exchange(served.address, promised.as_bytes()).await, refused(413));
    let mut chunked = format!(
        "POST /pay/{SECRET}/stk HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    )
    .into_bytes();
    for _ in 0..70 {
        chunked.extend(b"400\r\n");
        chunked.extend([b' '; 1024]);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    assert_eq!(exchange(served.address, &chunked).await, refused(413));
    let mut fits = push("fits");
    fits.resize(64 * 1024, b' ');
    assert_eq!(served.post("/stk", &fits).await, acknowledged(STK));
}

/// A compressed body gets 415. Nothing is decompressed, because a small body
/// could become large.
pub async fn a_compressed_body_is_refused(serve: &Serve) {
    let served = Served::new(serve).await;
    let path = format!("/pay/{SECRET}/stk");
    for encoding in ["gzip", "br", "deflate, gzip"] {
        let bytes = request("POST", &path, &[("content-encoding", encoding)], b"\x1f\x8b\x08 whatever");
        assert_eq!(exchange(served.address, &bytes).await, refused(415), "{encoding}");
    }
    let bytes = request("POST", &path, &[("content-encoding", "identity")], &push("k"));
    assert_eq!(exchange(served.address, &bytes).await, acknowledged(STK));
}

/// Broken and hostile bodies are acknowledged and stored unchanged.
pub async fn an_unparsable_body_is_stored_unchanged(serve: &Serve) {
    let served = Served::new(serve).await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)).into_bytes();
    let bodies: [&[u8]; 9] = [
        b"",
        &deep,
        br#"{"Body":{"stkCallback":{"CheckoutRequestID":"a","CheckoutRequestID":"b","ResultCode":0}}}"#,
        b"{\"Body\":{\"stkCallback\":{\"CheckoutRequestID\":\"\xff\xfe\"}}}",
        br#"{"Body":{"stkCallback":{"CheckoutRequestID":"\ud800","ResultCode":0}}}"#,
        b"\0\0\0\0",
        b"<xml/>",
        b"null",
        br#"{"Body":{"stkCallback":{"CheckoutRequestID":"a""#,
    ];
    for (i, body) in bodies.into_iter().enumerate() {
        assert_eq!(served.post("/stk", body).await, acknowledged(STK), "body {i}");
    }
    let entries = served.entries().await;
    assert_eq!(entries.len(), bodies.len());
    for (entry, body) in entries.iter().zip(bodies) {
        assert_eq!(entry.state, State::Quarantined);
        let kept = served.inbox.get(entry.id).await.expect("get").expect("there").body.expect("a body");
        assert_eq!(kept.as_bytes(), body);
    }
    let marked = [b"\xef\xbb\xbf", &push("bom")[..]].concat();
    assert_eq!(served.post("/stk", &marked).await, acknowledged(STK));
    assert_eq!(served.entries().await.last().expect("one").key, "bom");
}

/// A body that arrives too slowly gets 408.
pub async fn a_slow_body_times_out(serve: &Serve) {
    let served = Served::new(serve).await;
    let began = Instant::now();
    let head = format!(
        "POST /pay/{SECRET}/stk HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\nconnection: close\r\n\r\n{FIRST_BYTES}"
    );
    let answer = exchange(served.address, head.as_bytes()).await;
    assert_eq!(answer, refused(408));
    assert!(began.elapsed() >= BODY_DEADLINE && began.elapsed() < BODY_DEADLINE * 10, "{:?}", began.elapsed());
}

/// A client that disconnects in the middle of the body is ignored. One that
/// disconnects after the body changes nothing: the callback is recorded and
/// handled.
pub async fn a_disconnect_after_the_body_changes_nothing(serve: &Serve) {
    let served = Served::new(serve).await;
    let path = format!("/pay/{SECRET}/c2b/validation");
    // The handler takes a while over this account.
    let question = |id: &str| format!(r#"{{"TransID":"{id}","TransAmount":"10","BillRefNumber":"slow"}}"#).into_bytes();
    for i in 0..20 {
        let whole = post(&path, &question(&format!("whole {i}")));
        client::send_and_hang_up(served.address, &whole, SLOW / 3).await;
        let part = post(&path, &question(&format!("part {i}")));
        client::send_and_hang_up(served.address, &part[..part.len() - 5], Duration::ZERO).await;
    }
    let began = Instant::now();
    while served.entries().await.len() < 20 {
        assert!(began.elapsed() < Duration::from_secs(10), "{} of 20 are there", served.entries().await.len());
        sleep(Duration::from_millis(5)).await;
    }
    sleep(BODY_DEADLINE * 2).await;
    let entries = served.entries().await;
    assert_eq!(entries.len(), 20);
    assert!(entries.iter().all(|entry| entry.key.as_str().starts_with("whole")));
}

/// Without trusted proxies the client IP is that of the connection, and
/// forwarded headers are ignored.
pub async fn the_client_ip_is_that_of_the_connection(serve: &Serve) {
    let served = Served::new(serve).await;
    let path = format!("/pay/{SECRET}/stk");
    let headers = [
        ("x-forwarded-for", "196.201.214.200"),
        ("x-real-ip", "196.201.214.200"),
        ("forwarded", "for=196.201.214.200"),
    ];
    exchange(served.address, &request("POST", &path, &headers, &push("k"))).await;
    assert_eq!(served.entries().await[0].client_ip, Some(served.address.ip()));
}

/// After `shutdown` the response is 503, and nothing is recorded.
pub async fn a_closed_inbox_acknowledges_nothing(serve: &Serve) {
    let served = Served::new(serve).await;
    served.inbox.shutdown(Duration::from_secs(1)).await.expect("shutdown");
    let expected = Answer { retry_after: Some("5".into()), ..refused(503) };
    assert_eq!(served.post("/stk", &push("k")).await, expected);
}
