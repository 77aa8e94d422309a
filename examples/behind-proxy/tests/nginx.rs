//! The example with a real nginx in front, with the configuration that stands beside it.
//!
//! Uses the nginx of `NGINX`, or the one in `PATH`; without one, the test prints so and passes.

#![cfg(target_os = "linux")] // the only one on which all of 127.0.0.0/8 is ours

use std::net::{Ipv4Addr, SocketAddr, TcpStream as Probe};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use mpesa_callbacks_test_servers::{Running, free_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

const SECRET: &str = "00112233445566778899aabbccddeeff";
const PUSH: &str = r#"{"Body":{"stkCallback":{"CheckoutRequestID":"k","ResultCode":1032}}}"#;

fn run(command: &mut Command, port: u16) -> Running {
    let running = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    let began = Instant::now();
    while Probe::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "{command:?} does not listen on {port}");
        thread::sleep(Duration::from_millis(10));
    }
    running
}

/// nginx with the example's configuration, other ports put in.
fn nginx(program: &str, directory: &Path, listens: u16, application: u16) -> Running {
    let configuration = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/nginx.conf")).unwrap();
    let configuration = configuration.replace("8080", &listens.to_string()).replace("3000", &application.to_string());
    fs::write(directory.join("nginx.conf"), configuration).unwrap();
    let mut nginx = Command::new(program);
    nginx.arg("-p").arg(directory).arg("-c").arg(directory.join("nginx.conf")).args(["-e", "stderr"]);
    run(&mut nginx, listens)
}

/// Posts from this address of the loopback network, and returns the status.
async fn post(from: [u8; 4], port: u16, path: &str, headers: &str) -> u16 {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    let mut stream = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{PUSH}",
        PUSH.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

const SAFARICOM: [u8; 4] = [127, 0, 0, 9];
const SOMEBODY: [u8; 4] = [127, 0, 0, 66];
const NGINX: [u8; 4] = [127, 0, 0, 1];

#[tokio::test]
async fn behind_nginx_the_source_is_who_spoke_to_nginx() {
    let program = env::var("NGINX").unwrap_or_else(|_| "nginx".to_owned());
    if Command::new(&program).arg("-v").stderr(Stdio::null()).status().is_err() {
        mpesa_callbacks_test_servers::skip("there is no nginx; name one in NGINX");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (application, front) = (free_port(), free_port());
    let mut example = Command::new(env!("CARGO_BIN_EXE_behind-proxy"));
    example.env("PORT", application.to_string()).env("CALLBACK_SECRET", SECRET).env("SOURCES", "127.0.0.9");
    let _example = run(example.env("INBOX", directory.path().join("inbox.db")), application);
    let _nginx = nginx(&program, directory.path(), front, application);
    let path = format!("/pay/{SECRET}/stk");
    let forged = "x-forwarded-for: 127.0.0.9\r\nforwarded: for=127.0.0.9\r\n";

    // Through nginx, listed addresses are accepted, and a client cannot claim one with a header.
    assert_eq!(post(SAFARICOM, front, &path, "").await, 200);
    assert_eq!(post(SAFARICOM, front, &path, "x-forwarded-for: 127.0.0.66\r\n").await, 200);
    assert_eq!(post(SOMEBODY, front, &path, "").await, 403);
    assert_eq!(post(SOMEBODY, front, &path, forged).await, 403);
    assert_eq!(post(SOMEBODY, front, "/pay/wrong/stk", forged).await, 404);
    // Past nginx, the client IP is that of the connection; nginx itself always sends the header.
    assert_eq!(post(SOMEBODY, application, &path, forged).await, 403);
    assert_eq!(post(NGINX, application, &path, "").await, 403);

    let log = fs::read_to_string(directory.path().join("access.log")).unwrap();
    assert!(log.contains("127.0.0.9 POST /pay/-/stk 200"), "{log}");
    assert!(!log.contains(SECRET), "{log}");
}
