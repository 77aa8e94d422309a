//! An inbox mounted into an axum application.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use mpesa_callbacks::axum_adapter;
use mpesa_callbacks::store::{Entry, Filter, State};
use mpesa_callbacks::{Inbox, Kind};
use tower::ServiceExt;

/// Where the world reaches the application.
const BASE: &str = "https://shop.example.com/pay";

/// The secret of the tests' inboxes.
pub const SECRET: &str = "00112233445566778899aabbccddeeff";

/// An inbox mounted into an axum application at `/pay`.
#[derive(Clone, Debug)]
pub struct Mounted {
    /// The application.
    pub app: Router,
    /// The inbox.
    pub inbox: Inbox,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// The body.
    pub body: String,
}

impl Mounted {
    /// Mounts an inbox.
    pub fn new(inbox: Inbox) -> Mounted {
        let app = Router::new().nest("/pay", axum_adapter::router(&inbox));
        Mounted { app, inbox }
    }

    /// Posts a body to the URL of this path below the secret.
    ///
    /// # Panics
    /// When the application does not answer.
    pub async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.send("POST", &format!("/pay/{SECRET}{path}"), body).await
    }

    /// Posts a body to the URL that is minted for this kind and reference.
    ///
    /// # Panics
    /// When there is no such URL, or the application does not answer.
    pub async fn post_for(&self, kind: &Kind, reference: &str, body: impl Into<Body>) -> Answer {
        let urls = self.inbox.urls_at(BASE).expect("a base");
        let url = urls.url_for(kind, reference).expect("a kind with minted URLs").into_string();
        let path = url.strip_prefix("https://shop.example.com").expect("the base's host");
        self.send("POST", path, body).await
    }

    /// Sends a request.
    ///
    /// # Panics
    /// When the application does not answer.
    pub async fn send(&self, method: &str, url: &str, body: impl Into<Body>) -> Answer {
        let request =
            Request::builder().method(method).uri(url).header(header::CONTENT_TYPE, "application/json;charset=UTF-8");
        let response =
            self.app.clone().oneshot(request.body(body.into()).expect("a request")).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
        Answer {
            status: parts.status.as_u16(),
            content_type: parts.headers.get(header::CONTENT_TYPE).map(|value| value.to_str().expect("text").to_owned()),
            body: String::from_utf8(body.to_vec()).expect("text"),
        }
    }

    /// Waits until nothing is left to handle.
    ///
    /// # Panics
    /// When that takes longer than ten seconds.
    pub async fn settled(&self) {
        let began = Instant::now();
        loop {
            let depth = self.inbox.counts().await.expect("depth");
            if depth.ready + depth.running == 0 {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "callbacks are not handled: {depth:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until nothing but expectations is left to handle.
    ///
    /// # Panics
    /// When that takes longer than thirty seconds.
    pub async fn settled_but_expectations(&self) {
        let began = Instant::now();
        loop {
            let entries = self.entries().await;
            let is_open = |entry: &Entry| matches!(entry.state, State::Ready | State::Running);
            let open: Vec<_> = entries.iter().filter(|entry| entry.kind != Kind::Overdue && is_open(entry)).collect();
            if open.is_empty() {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "callbacks are not handled: {open:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Everything in the inbox, oldest first.
    ///
    /// # Panics
    /// When the store fails.
    pub async fn entries(&self) -> Vec<Entry> {
        let mut entries = self.inbox.list(&Filter::default().limit(10_000)).await.expect("list");
        entries.reverse();
        entries
    }
}
