//! The first segment of a callback URL: a secret, a token, or neither.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use bytes::Bytes;
use mpesa_callbacks_core::store::MemoryStore;
use mpesa_callbacks_core::transactor::NoTx;
use mpesa_callbacks_core::{Inbox, Kind, MpesaCallbacks, Request, Route, Routes};
use tokio::runtime::{Builder, Runtime};

struct Shop;

impl MpesaCallbacks<NoTx> for Shop {
    fn routes(&self) -> Routes {
        Routes::new().with(Route::new(Kind::Stk)).with(Route::new(Kind::Lipia))
    }
}

struct Empty;

impl futures_core::Stream for Empty {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(None)
    }
}

const SECRET: &str = "00112233445566778899aabbccddeeff";

static SERVER: LazyLock<(Runtime, Inbox, String)> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let inbox = runtime
        .block_on(
            Inbox::builder(Shop)
                .store(MemoryStore::new())
                .secret(SECRET)
                .max_quarantined(1)
                .max_quarantined_bytes(1)
                .start(),
        )
        .expect("an inbox");
    let url = inbox.urls_at("https://shop.example.com/pay").and_then(|urls| urls.stk_for("order-123")).expect("a url");
    let token = url.as_str().split('/').nth(4).expect("a token").to_owned();
    (runtime, inbox, token)
});

/// A valid token for a push, to be damaged.
pub fn good() -> &'static str {
    &SERVER.2
}

/// Any text in place of the secret: only the secret and minted tokens are accepted.
pub fn token(segment: &[u8]) {
    let Ok(segment) = std::str::from_utf8(segment) else { return };
    let (runtime, inbox, good) = &*SERVER;
    for path in ["/stk", "/lipia", ""] {
        let url = format!("{segment}{path}");
        let (first, rest) = url.split_once('/').unwrap_or((&url, ""));
        let kind = rest.strip_suffix('/').unwrap_or(rest);
        let opens = first == SECRET && matches!(kind, "stk" | "lipia") || first == good && kind == "stk";
        let url = format!("/{url}");
        let status = runtime.block_on(inbox.receive(Request::new("POST", &url, &|_| Vec::new()), Empty)).status();
        // An accepted request has an empty body: it is quarantined, or refused because there are too many.
        assert_eq!(status != 404, opens, "{url}: {status}");
    }
}
