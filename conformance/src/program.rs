//! A whole program, tested from outside: its log contains nothing private.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::http::exchange;

/// The secret of the program, and the markers in the bodies that are sent to it.
const CANARIES: [&str; 9] = [
    "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "ws_CO_0101202612000000254711000001",
    "254711000001",
    "CANARYRCPT",
    "7654321",
    "Canaryfirst",
    "Canarylast",
    "canary-account",
    "canary-unknown",
];

/// Starts a program, sends it genuine and forged callbacks that are full of markers, and searches its
/// log for the markers.
///
/// The program mounts an inbox at `/pay`, listens on 127.0.0.1 at the port in `PORT`, takes its secret from
/// `CALLBACK_SECRET`, and logs to its standard error; `RUST_LOG` is `trace`. Set any other variable that it needs.
///
/// # Panics
/// When a marker is in the log, or a response is not the expected one.
pub fn logs_nothing_private(program: &mut Command) {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr()).expect("a port").port();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let secret = CANARIES[0];
    program.env("PORT", port.to_string()).env("CALLBACK_SECRET", secret).env("RUST_LOG", "trace");
    let mut running = program.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut stderr = running.stderr.take().expect("its standard error");
    let log = std::thread::spawn(move || {
        let mut log = Vec::new();
        stderr.read_to_end(&mut log).expect("its log");
        String::from_utf8_lossy(&log).into_owned()
    });
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(began.elapsed() < Duration::from_secs(30), "the program does not listen on {address}");
        sleep(Duration::from_millis(10));
    }
    crate::run(async move {
        for (path, body, status) in requests(secret) {
            let request = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ");
            let answer = exchange(address, format!("{request}{}\r\n\r\n{body}", body.len()).as_bytes()).await;
            assert_eq!(answer.status, status, "{path}");
        }
    });
    // Handlers run behind the answers.
    sleep(Duration::from_millis(500));
    running.kill().expect("it stops");
    running.wait().expect("it stops");
    let log = log.join().expect("its log");
    for canary in CANARIES {
        if let Some(line) = log.lines().find(|line| line.contains(canary)) {
            panic!("`{canary}` is in the log: {line}");
        }
    }
    assert!(log.contains("/pay/"), "there is no access log:\n{log}");
}

fn requests(secret: &str) -> [(String, &'static str, u16); 7] {
    const PUSH: &str = r#"{"Body":{"stkCallback":{"CheckoutRequestID":"ws_CO_0101202612000000254711000001","ResultCode":0,
        "canary-unknown":"canary-unknown","CallbackMetadata":{"Item":[{"Name":"Amount","Value":7654321.09},
        {"Name":"MpesaReceiptNumber","Value":"CANARYRCPT"},{"Name":"PhoneNumber","Value":254711000001}]}}}}"#;
    const C2B: &str = r#"{"TransID":"CANARYRCPT","TransAmount":"7654321.09","BillRefNumber":"canary-account","MSISDN":"254711000001",
        "FirstName":"Canaryfirst","LastName":"Canarylast"}"#;
    [
        (format!("/pay/{secret}/stk"), PUSH, 200),
        (format!("/pay/{secret}/stk?canary-unknown=254711000001"), PUSH, 200),
        (format!("/pay/{secret}/c2b/confirmation"), C2B, 200),
        (format!("/pay/{secret}/c2b/validation/"), C2B, 200),
        (format!("/pay/{secret}/stk"), "canary-unknown, 254711000001", 200),
        (format!("/pay/{secret}/no/such/kind"), PUSH, 404),
        (format!("/pay/{secret}0/stk"), PUSH, 404),
    ]
}
