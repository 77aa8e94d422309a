//! Requests byte by byte, which no well-behaved client would send.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// An answer, as far as it matters: status, body, and the headers that belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code of the response.
    pub status: u16,
    /// The header `Content-Type` of the response.
    pub content_type: Option<String>,
    /// The header `Allow` of the response.
    pub allow: Option<String>,
    /// The header `Retry-After` of the response.
    pub retry_after: Option<String>,
    /// The body of the response.
    pub body: Vec<u8>,
}

/// A request of one connection.
pub(super) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend(format!("{name}: {value}\r\n").bytes());
    }
    if method == "POST" || !body.is_empty() {
        bytes.extend(format!("content-length: {}\r\n", body.len()).bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(body);
    bytes
}

pub(super) fn post(path: &str, body: &[u8]) -> Vec<u8> {
    request("POST", path, &[("content-type", "application/json;charset=UTF-8")], body)
}

/// Sends these bytes, and reads until the server closes.
///
/// # Panics
/// When there is no answer within ten seconds, or it is not HTTP.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    // A server may answer and close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => answer.extend_from_slice(&buffer[..count]),
            }
            if is_whole(&answer) {
                return;
            }
        }
    };
    timeout(Duration::from_secs(10), read).await.expect("an answer within ten seconds");
    parse(&answer)
}

/// Sends these bytes, waits, and closes without having read an answer.
pub(super) async fn send_and_hang_up(address: SocketAddr, bytes: &[u8], after: Duration) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(bytes).await.expect("to send");
    sleep(after).await;
    // The server may have closed first.
    let _ = stream.shutdown().await;
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let length =
        header(&String::from_utf8_lossy(&answer[..end]), "content-length").and_then(|length| length.parse().ok());
    length.is_some_and(|length: usize| answer.len() >= end + 4 + length)
}

fn parse(answer: &[u8]) -> Answer {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer in HTTP");
    let head = String::from_utf8(answer[..end].to_vec()).expect("a head in ASCII");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let body = answer[end + 4..].to_vec();
    let header = |name| header(&head, name);
    Answer {
        status,
        content_type: header("content-type"),
        allow: header("allow"),
        retry_after: header("retry-after"),
        body,
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    let (_, value) = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .find(|(other, _)| other.eq_ignore_ascii_case(name))?;
    Some(value.trim().to_owned())
}
