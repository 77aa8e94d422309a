//! The instructions of guides to M-Pesa callbacks, and the command that does each here. The table in `docs/guide.md` lists
//! the same.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use mpesa_callbacks::Kind;
use mpesa_callbacks::store::Filter;
use mpesa_callbacks_test_servers::Running;

use self::common::application;

const LONG: Duration = Duration::from_secs(60);

fn daraja(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_daraja")).args(arguments).stdin(Stdio::null()).output().expect("it runs")
}

fn says(arguments: &[&str], text: &str) {
    let output = daraja(arguments);
    let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(printed.contains(text), "{arguments:?} does not say {text}: {printed}");
}

/// "Install ngrok and use its URL", "the URL changes with every restart: update it".
#[tokio::test(flavor = "multi_thread")]
async fn use_a_tunnel_for_local_development() {
    let (inbox, address, base) = application().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_daraja"));
    command.args(["dev", "--listen", "127.0.0.1:0", "--answer", "auto", "--forward-to", &address.to_string()]);
    let mut simulator = Running::start(command.stdout(Stdio::piped()));
    let mut lines = BufReader::new(simulator.stdout.take().expect("a pipe")).lines();
    let first = lines.next().expect("a line").expect("text");
    let url = first.split_whitespace().find(|word| word.starts_with("http://")).expect("its URL").to_owned();
    // The page of the simulator sends a push to the public URL, which need not be reachable.
    let public = base.replace(&format!("http://{address}"), "https%3A%2F%2Fshop.example.com");
    let form = format!("phone=254708374149&amount=5&account=order-1&callback_url={public}%2Fstk");
    let pushed = tokio::task::spawn_blocking(move || {
        ureq::post(format!("{url}/_/forms/push")).content_type("application/x-www-form-urlencoded").send(form)
    });
    assert_eq!(pushed.await.expect("a task").expect("an answer").status(), 200);
    for line in lines.map_while(Result::ok) {
        if line.contains("<-- stk") {
            assert!(line.contains("acknowledged"), "{line}");
            break;
        }
    }
    inbox.idle(LONG).await;
    assert_eq!(inbox.list(&Filter::default().kind(Kind::Payment)).await.expect("a list").len(), 1);
}

/// "Is the URL reachable from outside?", "is the certificate valid?", "is HTTPS on?", "which middleware blocks it?", "is the
/// handler fast?", "look into the server's log".
#[tokio::test(flavor = "multi_thread")]
async fn check_the_url_the_certificate_and_the_server() {
    let (_inbox, _, base) = application().await;
    let url = format!("{base}/stk");
    for text in
        ["connect", "a GET is answered 405", "ms at worst", "the store takes a write", "production takes https only"]
    {
        says(&["doctor", &url], text);
    }
    // `tests/tls.rs` has servers with certificates.
    says(&["doctor", "https://127.0.0.1:1/pay/00112233445566778899aabbccddeeff/stk"], "FAULT connect");
    says(&["doctor", "--offline", "https://a.ngrok.io/pay/00112233445566778899aabbccddeeff/stk"], "tester");
    // The portal cannot be seen from outside, and that is said.
    says(&["doctor", "--offline", &url], "Safaricom's network and portal");
}

/// "Send a sample to your endpoint with Postman", "use the portal's callback inspector".
#[tokio::test(flavor = "multi_thread")]
async fn test_the_endpoint_with_sample_data() {
    let (_inbox, _, base) = application().await;
    for kind in ["stk", "c2b_confirmation", "c2b_validation"] {
        let expected = if kind == "c2b_validation" { "no handler of this kind" } else { "what Daraja waits for" };
        says(&["send", kind, "--to", &base], expected);
    }
}

/// "M-Pesa may send the same callback twice: be idempotent."
#[tokio::test(flavor = "multi_thread")]
async fn handle_the_same_callback_once() {
    let (inbox, _, base) = application().await;
    says(&["send", "stk", "--to", &base, "--times", "3"], "again, with the same bytes");
    inbox.idle(LONG).await;
    assert_eq!(inbox.list(&Filter::default().kind(Kind::Payment)).await.expect("a list").len(), 1);
}

/// "Check the response to the push: no callback comes unless its `ResponseCode` is 0", "look up the result code".
#[test]
fn check_the_response_to_the_request_and_the_code() {
    let refused = r#"{"requestId":"1","errorCode":"400.002.02","errorMessage":"Bad Request - Invalid CallBackURL"}"#;
    says(&["explain", refused], "does not accept the callback URL");
    says(&["explain", r#"{"ResponseCode":"1","ResponseDescription":"x"}"#], "no callback follows");
    says(&["explain", r#"{"ResponseCode":"0","CheckoutRequestID":"ws_CO_1"}"#], "reported by a callback");
    says(&["explain", "1032"], "the customer cancelled");
}
