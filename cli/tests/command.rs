//! The command as people run it, against applications that run.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Redirect};
use axum::routing::post;
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{Filter, State};
use mpesa_callbacks::{IpAllowlist, Kind, TestInbox, axum_adapter};
use mpesa_callbacks_test_servers::Running;
use serde_json::{Value, json};

/// Longer than anything here takes, also on a machine that has much else to do.
const LONG: Duration = Duration::from_secs(60);

fn daraja(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_daraja")).args(arguments).stdin(Stdio::null()).output().expect("it runs")
}

fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn codes_and_answers_are_explained() {
    let wrong_password =
        r#"{"requestId":"1","errorCode":"500.001.1001","errorMessage":"[MerchantValidate] - Wrong credentials"}"#;
    let spoiled = r#"{"requestId":"1","errorCode":"400.002.02","errorMessage":"Bad Request - Invalid CallBackURL"}"#;
    let query = r#"{"ResponseCode":"0","CheckoutRequestID":"ws_CO_1","ResultCode":"0","ResultDesc":"x"}"#;
    let callback = r#"{"Body":{"stkCallback":{"MerchantRequestID":"1","CheckoutRequestID":"ws_CO_1","ResultCode":1032,"ResultDesc":"x"}}}"#;
    for (what, says) in [
        ("1037", "unknown: a late success is possible"),
        ("1037", "254700001037"),
        ("0", "all kinds"),
        ("500.001.1001", "6 meanings"),
        (wrong_password, "base64(BusinessShortCode + passkey + Timestamp)"),
        (spoiled, "callback URL"),
        (query, "receipt   a query does not have it"),
        (callback, "the customer cancelled"),
        (r#"{"CheckoutRequestID":"ws_CO_1","ResponseCode":"0"}"#, "with the id ws_CO_1"),
        (r#"{"ResultCode":"1032"}"#, "the customer cancelled"),
        (r#"{"access_token":"x","expires_in":"3599"}"#, "an hour"),
    ] {
        let output = daraja(&["explain", what]);
        assert!(output.status.success() && printed(&output).contains(says), "{what}: {}", printed(&output));
    }
    for (what, says) in [
        ("7777", "no list"),
        ("500.9", "no list"),
        ("{", "not JSON"),
        (r#"{"a":1}"#, "neither"),
        ("nonsense", "neither a code"),
    ] {
        let output = daraja(&["explain", what]);
        assert_eq!(output.status.code(), Some(2), "{what}");
        assert!(printed(&output).contains(says), "{what}: {}", printed(&output));
    }
}

#[derive(Clone, Debug)]
struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[payment]
    async fn paid(&self, _: Payment) {}

    #[c2b_validation]
    async fn check(&self, _: C2bValidation) -> Validation {
        Validation::accept()
    }
}

/// A shop with our inbox, and paths of another program beside it.
async fn open() -> (TestInbox, SocketAddr) {
    let inbox = Inbox::for_test(Shop).await;
    let app = Router::new()
        .nest("/pay", axum_adapter::router(&inbox))
        .route("/html", post(|| async { Html("<p>Thank you") }))
        .route("/moved", post(|| async { Redirect::permanent("/pay") }));
    (inbox, serve(app).await)
}

/// The base of the callback URLs.
fn base(inbox: &TestInbox, address: SocketAddr) -> String {
    let urls = inbox.urls_at("https://shop.example.com/pay").expect("URLs");
    let url = urls.url(&Kind::Stk).expect("a URL").into_string();
    url.trim_end_matches("/stk").replace("https://shop.example.com", &format!("http://{address}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_is_sent_and_its_response_judged() {
    let (inbox, address) = open().await;
    let base = base(&inbox, address);
    let sent = daraja(&[
        "send",
        "c2b_confirmation",
        "--to",
        &base,
        "--amount",
        "1500",
        "--account",
        "order-1",
        "--times",
        "2",
    ]);
    assert!(sent.status.success(), "{}", printed(&sent));
    assert_eq!(printed(&sent).matches("what Daraja waits for").count(), 2, "{}", printed(&sent));
    let secret = base.rsplit('/').next().expect("a secret");
    assert!(!printed(&sent).contains(secret), "the secret is printed: {}", printed(&sent));
    assert!(daraja(&["send", "c2b_validation", "--to", &base]).status.success());
    assert!(daraja(&["send", "stk", "--to", &base, "--code", "1032"]).status.success());
    inbox.idle(LONG).await;
    let payments = inbox.list(&Filter::default().kind(Kind::Payment)).await.expect("a list");
    assert_eq!(payments.len(), 1, "twice is once");
    assert!(inbox.list(&Filter::default().state(State::Quarantined)).await.expect("a list").is_empty());

    for (url, code, says) in [
        (format!("http://{address}/pay/0123456789abcdef0123456789abcdef/stk"), 1, "the secret is wrong"),
        (format!("http://{address}/html"), 1, "not JSON"),
        (format!("http://{address}/moved"), 1, "redirects"),
        ("http://127.0.0.1:1/stk".to_owned(), 2, "no response"),
        ("shop.example.com/stk".to_owned(), 2, "begins with http"),
    ] {
        let sent = daraja(&["send", "stk", "--url", &url]);
        assert_eq!(sent.status.code(), Some(code), "{url}: {}", printed(&sent));
        assert!(printed(&sent).contains(says), "{url}: {}", printed(&sent));
    }
}

/// Sends a push as a client would.
fn push(daraja: &str, url: &str) -> Value {
    let token = format!("{daraja}/oauth/v1/generate?grant_type=client_credentials");
    let token = ureq::get(token).header("authorization", "Basic a2V5OnNlY3JldA==").call();
    let token = token.expect("a token").body_mut().read_to_string().expect("text");
    let token: Value = serde_json::from_str(&token).expect("JSON");
    let password = "MTc0Mzc5YmZiMjc5ZjlhYTliZGJjZjE1OGU5N2RkNzFhNDY3Y2QyZTBjODkzMDU5YjEwZjc4ZTZiNzJhZGExZWQyYzkxOTIwMjYwMTAxMTIwMDAw";
    let body = json!({
        "BusinessShortCode": "174379", "Password": password, "Timestamp": "20260101120000", "Amount": 100,
        "TransactionType": "CustomerPayBillOnline", "PartyA": "254708374149", "PartyB": "174379",
        "PhoneNumber": "254708374149", "CallBackURL": url, "AccountReference": "order-1", "TransactionDesc": "An order",
    });
    let sent = ureq::post(format!("{daraja}/mpesa/stkpush/v1/processrequest"))
        .header("authorization", format!("Bearer {}", token["access_token"].as_str().expect("a token")))
        .content_type("application/json")
        .send(body.to_string());
    let text = sent.expect("an answer").body_mut().read_to_string().expect("text");
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_played_recorded_and_replayed() {
    let (inbox, address) = open().await;
    let directory = tempfile::tempdir().expect("a directory");
    let record = directory.path().join("record.jsonl");
    let mut command = Command::new(env!("CARGO_BIN_EXE_daraja"));
    command.args(["dev", "--listen", "127.0.0.1:0", "--answer", "auto", "--fault", "duplicate", "--seed", "7"]);
    command.args(["--forward-to", &address.to_string()]).arg("--record").arg(&record);
    let mut simulator = Running::start(command.stdout(Stdio::piped()));
    let mut lines = BufReader::new(simulator.stdout.take().expect("a pipe")).lines();
    let first = lines.next().expect("a line").expect("text");
    let daraja_url = first.split_whitespace().find(|word| word.starts_with("http://")).expect("its URL").to_owned();
    assert!(first.contains("seed 7") && first.contains("not Safaricom's"), "{first}");

    let url = inbox.urls_at("https://shop.example.com/pay").expect("URLs").stk_for("order-1").expect("a URL");
    let url = url.as_str().replace("shop", "mpesa");
    assert_eq!(push(&daraja_url, &url)["ResponseCode"], "0");
    let mut seen = String::new();
    while seen.matches("<-- stk").count() < 2 {
        seen += &format!("{}\n", lines.next().expect("more lines").expect("text"));
    }
    for says in
        ["--> mpesa/stkpush/v1/processrequest", "KES 100   order-1", "it spells `mpesa`", "acknowledged", "again"]
    {
        assert!(seen.contains(says), "{says}: {seen}");
    }
    assert!(!seen.contains(&url), "the secret is printed: {seen}");
    interrupt(&simulator);
    let rest: Vec<String> = lines.map(|line| line.expect("text")).collect();
    assert!(rest.concat().contains("2 callbacks: 2 acknowledged."), "{rest:?}");

    let replayed =
        daraja(&["replay", &record.display().to_string(), "--to", &format!("http://{address}"), "--reverse"]);
    assert!(replayed.status.success(), "{}", printed(&replayed));
    assert_eq!(printed(&replayed).matches("what Daraja waits for").count(), 2, "{}", printed(&replayed));
    inbox.idle(LONG).await;
    let entries = inbox.list(&Filter::default().kind(Kind::Stk)).await.expect("a list");
    assert_eq!((entries.len(), entries[0].seen), (1, 4), "the same bytes, four times");
    // The record is of a public host, which is not called by accident.
    let refused = daraja(&["replay", &record.display().to_string()]);
    assert!(
        refused.status.code() == Some(2) && printed(&refused).contains("mpesa.example.com"),
        "{}",
        printed(&refused)
    );
    let none = daraja(&["replay", &record.display().to_string(), "--number", "99"]);
    assert!(none.status.code() == Some(2) && printed(&none).contains("no such callback"), "{}", printed(&none));
}

/// As Ctrl-C does.
fn interrupt(child: &Child) {
    let began = Instant::now();
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.expect("kill").success() && began.elapsed() < LONG);
}

#[test]
fn completions_and_the_manual_are_printed() {
    let script = daraja(&["completions", "bash"]);
    assert!(script.status.success() && printed(&script).contains("--forward-to"), "{}", printed(&script));
    let manual = daraja(&["man"]);
    for says in [".TH", "daraja doctor", "forward\\-to"] {
        assert!(manual.status.success() && printed(&manual).contains(says), "{says}: {}", printed(&manual));
    }
}

#[test]
fn faults_are_listed_and_wrong_options_are_refused() {
    let listed = daraja(&["dev", "--fault", "help"]);
    assert!(listed.status.success() && printed(&listed).contains("timeout-then-success"), "{}", printed(&listed));
    let directory = tempfile::tempdir().expect("a directory");
    let rules = directory.path().join("rules.toml");
    std::fs::File::create(&rules).and_then(|mut file| file.write_all(b"[[rule]]\nfault = 1")).expect("a file");
    for (options, says) in [
        (vec!["--fault", "sunday"], "--fault help"),
        (vec!["--fault", "lost", "--fault", "late"], "exclude each other"),
        (vec!["--forward-to", "localhost"], "has no port"),
        (vec!["--credentials", "key"], "KEY:SECRET"),
        (vec!["--rules", rules.to_str().expect("text")], "rules.toml"),
        (vec!["--rules", "/nowhere.toml"], "cannot read /nowhere.toml"),
    ] {
        let refused = daraja(&[&["dev", "--listen", "127.0.0.1:0"], &options[..]].concat());
        assert_eq!(refused.status.code(), Some(2), "{options:?}: {}", printed(&refused));
        assert!(printed(&refused).contains(says), "{options:?}: {}", printed(&refused));
    }
}

/// Ids of the findings that keep callbacks out or are odd. A server of a test is neither public nor https.
fn findings(url: &str) -> (Vec<String>, bool) {
    let output = daraja(&["doctor", "--json", url]);
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let findings = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    let ids = findings
        .filter(|finding| finding["severity"] != "ok")
        .map(|finding| finding["id"].as_str().expect("an id").to_owned())
        .filter(|id| id != "https" && id != "host");
    (ids.collect(), printed(&output).contains("00112233445566778899aabbccddeeff"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_one_defect_in_each_server_and_leaves_no_row() {
    use axum::routing::any;

    let (inbox, address) = open().await;
    let good = format!("{}/stk", base(&inbox, address));
    assert_eq!(findings(&good), (vec![], false), "a good one");
    let seen = printed(&daraja(&["doctor", &good]));
    for says in ["the store takes a write", "it sees 127.0.0.1, without trusted proxies", "60 KiB arrive whole"] {
        assert!(seen.contains(says), "{says}: {seen}");
    }
    assert!(inbox.list(&Filter::default()).await.expect("a list").is_empty(), "the doctor left a row");

    let path = "pay/00112233445566778899aabbccddeeff/stk";
    let old_clock = [("date", "Thu, 01 Jan 2026 09:00:00 GMT")];
    let status_419 = StatusCode::from_u16(419).expect("a status");
    let servers: [(&str, Router); 10] = [
        // Laravel's answer to a form without its token.
        ("method", Router::new().fallback(any(move || async move { status_419 }))),
        ("method", Router::new().fallback(any(|| async { Html("<p>Welcome") }))),
        (
            "time",
            Router::new().fallback(any(|method: axum::http::Method| async move {
                if method == "GET" {
                    tokio::time::sleep(Duration::from_millis(2100)).await;
                    return StatusCode::METHOD_NOT_ALLOWED;
                }
                StatusCode::NOT_FOUND
            })),
        ),
        ("redirect", Router::new().fallback(any(|| async { Redirect::permanent("https://www.example.com/") }))),
        ("method", Router::new()),
        ("method", Router::new().fallback(any(|| async { StatusCode::FORBIDDEN }))),
        ("method", Router::new().fallback(any(|| async { (StatusCode::NOT_FOUND, Html("<p>Not here")) }))),
        ("method", Router::new().fallback(any(|| async { StatusCode::BAD_GATEWAY }))),
        ("secret", Router::new().route("/pay/{secret}/stk", post(|| async { "{}" }))),
        (
            "clock",
            Router::new().fallback(any(move |method: axum::http::Method| async move {
                let status = if method == "GET" { StatusCode::METHOD_NOT_ALLOWED } else { StatusCode::NOT_FOUND };
                (status, old_clock)
            })),
        ),
    ];
    for (id, app) in servers {
        let address = serve(app).await;
        let (found, is_printed) = findings(&format!("http://{address}/{path}"));
        // Whoever refuses everything refuses a wrong secret in another way, too.
        let found: Vec<&str> =
            found.iter().map(String::as_str).filter(|found| *found == id || *found != "secret").collect();
        assert_eq!((&found[..], is_printed), (&[id][..], false));
    }
    assert_eq!(
        findings("http://127.0.0.1:1/pay/00112233445566778899aabbccddeeff/stk"),
        (vec!["connect".to_owned()], false)
    );
    assert_eq!(findings("http://no-such-host.invalid/pay/00112233445566778899aabbccddeeff/stk").0, ["dns"]);
}

/// What only the inbox itself knows, by its probe.
#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_sees_from_inside_what_keeps_callbacks_out() {
    // A proxy that the inbox does not know of, so that the list refuses everybody.
    let listed = Inbox::builder(Shop).ip_allowlist(IpAllowlist::safaricom()).start_for_test().await;
    let address = serve(Router::new().nest("/pay", axum_adapter::router(&listed))).await;
    assert_eq!(findings(&format!("{}/stk", base(&listed, address))).0, ["method", "source"]);

    // A proxy that passes small bodies only.
    let (inbox, _) = open().await;
    let small = from_fn(|request: Request, next: Next| async move {
        let length = request.headers().get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: u64| length > 8192) {
            return StatusCode::PAYLOAD_TOO_LARGE.into_response();
        }
        next.run(request).await
    });
    let address = serve(Router::new().nest("/pay", axum_adapter::router(&inbox)).layer(small)).await;
    assert_eq!(findings(&format!("{}/stk", base(&inbox, address))).0, ["post"]);

    // One that cuts them off, and one that compresses them.
    let cut = from_fn(|request: Request, next: Next| async move {
        let (mut parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
        parts.headers.remove("content-length");
        next.run(Request::from_parts(parts, body.slice(..body.len().min(8192)).into())).await
    });
    let compress = from_fn(|mut request: Request, next: Next| async move {
        request.headers_mut().insert("content-encoding", "gzip".parse().expect("a value"));
        next.run(request).await
    });
    let app = Router::new().nest("/pay", axum_adapter::router(&inbox)).layer(cut);
    assert_eq!(findings(&format!("{}/stk", base(&inbox, serve(app).await))).0, ["post"]);
    let app = Router::new().nest("/pay", axum_adapter::router(&inbox)).layer(compress);
    assert_eq!(findings(&format!("{}/stk", base(&inbox, serve(app).await))).0, ["post"]);

    // A store that is gone.
    inbox.shutdown(LONG).await.expect("it ends");
    assert_eq!(findings(&format!("{}/stk", base(&inbox, address))).0, ["inside", "post"]);
}

async fn serve(app: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[test]
fn the_doctor_reads_urls_from_standard_input() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daraja"));
    command.args(["doctor", "--offline", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut doctor = command.spawn().expect("it runs");
    let urls = "stk    https://shop.example.com/pay/00112233445566778899aabbccddeeff/stk\n\
                ratiba https://shop.example.com/mpesa/00112233445566778899aabbccddeeff/ratiba\n";
    doctor.stdin.take().expect("a pipe").write_all(urls.as_bytes()).expect("it reads");
    let output = doctor.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    let text = printed(&output);
    assert!(text.contains("FAULT word") && text.contains("1 fault,") && !text.contains("00112233"), "{text}");
    assert!(!Command::new(env!("CARGO_BIN_EXE_daraja")).args(["doctor"]).output().expect("it runs").status.success());
}
