//! With few files, silent connections keep out neither callbacks nor the files of the application. In a process of its own, because the
//! limit is the process's.
#![cfg(unix)]

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn the_limit_of_open_files_is_raised_or_respected() {
    // Both ends of each connection are in this process, so the limit that it gets must be below twice their number.
    rlimit::setrlimit(rlimit::Resource::NOFILE, 200, 600).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/", get(async || "here"));
    let serving = mpesa_callbacks_serve::serve(listener, app).head_timeout(Duration::from_secs(1));
    tokio::spawn(serving.into_future());
    let exchange = async || {
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    };
    assert!(exchange().await.ends_with("here"));
    assert_eq!(rlimit::Resource::NOFILE.get().unwrap(), (600, 600), "raised as far as it may be");
    let mut silent = Vec::new();
    for _ in 0..250 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    assert!(exchange().await.ends_with("here"));
    assert!(std::fs::File::open("/dev/null").is_ok(), "and the application can open its files");
}
