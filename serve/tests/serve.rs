//! The hardened server: what it gives up on, and what it does not.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use mpesa_callbacks_serve::Serve;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

const HEAD: Duration = Duration::from_millis(200);
const IDLE: Duration = Duration::from_millis(1500);

/// More than fits into the buffers of a connection.
const LARGE: usize = 20_000_000;

/// What the timing of two processes may differ by.
const SLACK: Duration = Duration::from_millis(50);

fn app() -> Router {
    let who = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() };
    let slow = || async {
        sleep(Duration::from_millis(400)).await;
        "done"
    };
    // One byte now, and one later than any deadline.
    let streaming = || async {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Bytes>();
        tokio::spawn(async move {
            for byte in ["a", "b"] {
                sender.send(byte.into()).unwrap();
                sleep(IDLE * 4 / 3).await;
            }
        });
        Body::from_stream(Chunks(receiver))
    };
    // Answers first, and reads later.
    let later = |body: Body| async move {
        tokio::spawn(axum::body::to_bytes(body, 100));
        axum::http::StatusCode::ACCEPTED
    };
    let large = || async { "x".repeat(LARGE) };
    Router::new()
        .route("/later", post(later))
        .route("/large", get(large))
        .route("/", get(who))
        .route("/slow", get(slow))
        .route("/stream", get(streaming))
}

struct Chunks(tokio::sync::mpsc::UnboundedReceiver<Bytes>);

impl futures_core::Stream for Chunks {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(Ok))
    }
}

async fn served<F>(configure: impl FnOnce(Serve<std::future::Pending<()>>) -> F) -> SocketAddr
where
    F: IntoFuture<Output = std::io::Result<()>>,
    F::IntoFuture: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = mpesa_callbacks_serve::serve(listener, app()).head_timeout(HEAD).idle_timeout(IDLE);
    tokio::spawn(configure(server).into_future());
    address
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// Reads one answer with a `content-length`.
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.windows(4).any(|window| window == b"\r\n\r\n") {
        text.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(text).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    head + &String::from_utf8(body).unwrap()
}

/// How long until the server closes.
async fn closed_after(stream: &mut TcpStream) -> Duration {
    let began = Instant::now();
    let mut rest = Vec::new();
    let _ = timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.expect("the server closes");
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    began.elapsed()
}

#[tokio::test]
async fn the_application_hears_who_sends() {
    let mut stream = connect(served(|server| server).await).await;
    stream.write_all(REQUEST).await.unwrap();
    assert!(answer(&mut stream).await.ends_with(&stream.local_addr().unwrap().to_string()));
}

#[tokio::test]
async fn a_client_that_says_nothing_or_dribbles_its_head_is_given_up_on() {
    let address = served(|server| server).await;
    let silent = closed_after(&mut connect(address).await).await;
    assert!(silent >= HEAD && silent < HEAD * 5, "{silent:?}");

    let mut dribbling = connect(address).await;
    let began = Instant::now();
    for byte in b"GET / HTTP/1.1\r\nx: ".iter().chain(std::iter::repeat(&b'y')) {
        if dribbling.write_all(&[*byte]).await.is_err() {
            break;
        }
        assert!(began.elapsed() < HEAD * 10, "a head may dribble for ever");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() >= HEAD);
}

#[tokio::test]
async fn a_connection_may_idle_longer_than_a_head_may_take() {
    let mut stream = connect(served(|server| server).await).await;
    for _ in 0..2 {
        stream.write_all(REQUEST).await.unwrap();
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
        sleep(IDLE * 2 / 3).await;
    }
    stream.write_all(REQUEST).await.unwrap();
    answer(&mut stream).await;
    let idled = closed_after(&mut stream).await;
    assert!(idled + SLACK >= IDLE && idled < IDLE * 4, "{idled:?}");
    // Also behind an answer that took longer than a head may.
    let mut stream = connect(served(|server| server).await).await;
    stream.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    answer(&mut stream).await;
    let idled = closed_after(&mut stream).await;
    assert!(idled + SLACK >= IDLE && idled < IDLE * 4, "{idled:?}");
    // The second head has its deadline too.
    let mut stream = connect(served(|server| server).await).await;
    stream.write_all(REQUEST).await.unwrap();
    answer(&mut stream).await;
    stream.write_all(b"GET").await.unwrap();
    let waited = closed_after(&mut stream).await;
    assert!(waited + SLACK >= HEAD && waited < IDLE, "{waited:?}");
}

#[tokio::test]
async fn an_answer_may_take_and_stream_as_long_as_it_likes() {
    let address = served(|server| server).await;
    let mut stream = connect(address).await;
    stream.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(answer(&mut stream).await.ends_with("done"));
    let mut stream = connect(address).await;
    stream.write_all(b"GET /stream HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut all = String::new();
    timeout(Duration::from_secs(20), stream.read_to_string(&mut all)).await.unwrap().unwrap();
    assert!(all.contains("\r\na\r\n") && all.contains("\r\nb\r\n") && all.ends_with("0\r\n\r\n"), "{all}");
}

#[tokio::test]
async fn an_answer_may_be_read_as_slowly_as_the_client_likes() {
    // Without room to stay, too: what is still being written is not cut off.
    for kept in [0, 10] {
        let mut stream = connect(served(|server| server.max_keep_alive(kept).idle_timeout(HEAD)).await).await;
        stream.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        sleep(HEAD * 4).await;
        assert_eq!(answer(&mut stream).await.split_once("\r\n\r\n").unwrap().1.len(), LARGE);
        assert!(closed_after(&mut stream).await < HEAD * 4);
    }
}

#[tokio::test]
async fn one_connection_too_many_waits_for_room() {
    let address = served(|server| server.max_connections(2)).await;
    let silent = [connect(address).await, connect(address).await];
    sleep(Duration::from_millis(50)).await;
    let mut stream = connect(address).await;
    stream.write_all(REQUEST).await.unwrap();
    let early = timeout(HEAD / 3, stream.readable()).await;
    assert!(early.is_err(), "there was no room");
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
    drop(silent);
}

#[tokio::test]
async fn one_kept_connection_too_many_is_closed_behind_its_answer() {
    let address = served(|server| server.max_keep_alive(1)).await;
    let (mut kept, mut closed) = (connect(address).await, connect(address).await);
    kept.write_all(REQUEST).await.unwrap();
    assert!(answer(&mut kept).await.starts_with("HTTP/1.1 200"));
    sleep(Duration::from_millis(50)).await;
    closed.write_all(REQUEST).await.unwrap();
    assert!(answer(&mut closed).await.contains("connection: close"));
    assert!(closed_after(&mut closed).await < HEAD / 2, "at once, not by a deadline");
    for _ in 0..3 {
        kept.write_all(REQUEST).await.unwrap();
        assert!(answer(&mut kept).await.starts_with("HTTP/1.1 200"));
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn requests_may_come_in_one_piece_or_byte_by_byte() {
    let address = served(|server| server).await;
    let mut pipelined = connect(address).await;
    pipelined.write_all(&REQUEST.repeat(3)).await.unwrap();
    for _ in 0..3 {
        assert!(answer(&mut pipelined).await.starts_with("HTTP/1.1 200"));
    }
    let mut slow = connect(address).await;
    slow.set_nodelay(true).unwrap();
    for byte in b"GET / HTTP/1.1\nhost: x\n\n" {
        slow.write_all(&[*byte]).await.unwrap();
        sleep(Duration::from_millis(1)).await;
    }
    assert!(answer(&mut slow).await.starts_with("HTTP/1.1 200"));
    let mut large = connect(address).await;
    large.write_all(b"POST /later HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n").await.unwrap();
    assert!(answer(&mut large).await.starts_with("HTTP/1.1 202"));
    for byte in b"body" {
        sleep(HEAD / 2).await;
        large.write_all(&[*byte]).await.unwrap();
    }
    large.write_all(REQUEST).await.unwrap();
    assert!(answer(&mut large).await.starts_with("HTTP/1.1 200"));
    let mut large = connect(address).await;
    large.write_all(format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(40_000)).as_bytes()).await.unwrap();
    assert!(answer(&mut large).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_stop_ends_requests_and_closes_what_idles() {
    let (stop, stopped) = oneshot::channel::<()>();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = mpesa_callbacks_serve::serve(listener, app())
        .with_graceful_shutdown(async { stopped.await.unwrap() })
        .into_future();
    let server = tokio::spawn(server);
    let (mut slow, mut idle, mut silent) = (connect(address).await, connect(address).await, connect(address).await);
    idle.write_all(REQUEST).await.unwrap();
    answer(&mut idle).await;
    slow.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(100)).await;
    stop.send(()).unwrap();
    assert!(answer(&mut slow).await.ends_with("done"));
    for (what, stream) in [("idle", &mut idle), ("silent", &mut silent)] {
        let closed = closed_after(stream).await;
        assert!(closed < Duration::from_secs(1), "{what} {closed:?}");
    }
    timeout(Duration::from_secs(2), server).await.expect("it stops").unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
