//! An inbox in memory, to which a test delivers callbacks.

use std::fmt;
use std::ops::Deref;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_core::Stream;

use crate::Kind;
use crate::access::Request;
use crate::handler::{InboxHandle, MpesaCallbacks, Rejection, Validation};
use crate::inbox::{Inbox, InboxBuilder};
use crate::process::Backoff;
use crate::receive::Acknowledgement;
use crate::store::MemoryStore;
use crate::transactor::Transactor;

const SECRET: &str = "00112233445566778899aabbccddeeff";

/// An [`Inbox`] on the memory store, and deliveries to it without a web server. Feature `test-util`.
///
/// A delivery takes the whole way of a real one: it is authenticated, parsed, recorded,
/// acknowledged and handled in the background. Everything else is the inbox's own API, like
/// [`list`](Inbox::list) and [`expect_callback`](Inbox::expect_callback).
///
/// ```
/// use mpesa_callbacks_core::payload::StkCallback;
/// use mpesa_callbacks_core::store::{Filter, State};
/// use mpesa_callbacks_core::{HandlerArgs, HandlerFuture, Inbox, Kind, MpesaCallbacks, Route, Routes};
/// # use std::time::Duration;
///
/// struct Shop;
///
/// impl MpesaCallbacks for Shop {
///     // `#[mpesa_callbacks]` writes this.
///     # fn routes(&self) -> Routes { Routes::new().with(Route::new(Kind::Stk)) }
///     # fn stk<'a>(&'a self, _: StkCallback, _: HandlerArgs<'a, mpesa_callbacks_core::transactor::NoTx>) -> HandlerFuture<'a> {
///     #     Box::pin(async { Ok(()) })
///     # }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let inbox = Inbox::for_test(Shop).await;
/// inbox.deliver(&Kind::Stk, StkCallback::sample()).await;
/// inbox.deliver(&Kind::Stk, StkCallback::sample()).await; // a duplicate
/// inbox.deliver(&Kind::Stk, StkCallback::sample().failed("1032")).await; // a contradiction
/// inbox.idle(Duration::from_secs(5)).await;
/// assert_eq!(inbox.list(&Filter::default().state(State::Held)).await.unwrap().len(), 1);
/// # }
/// ```
pub struct TestInbox {
    inbox: Inbox,
}

impl Inbox {
    /// Starts an inbox for a test of these handlers: on the memory store, with short back-off, and
    /// without waiting for counterparts. Feature `test-util`.
    ///
    /// # Panics
    /// When it does not start, with the error in the message.
    pub async fn for_test<H: MpesaCallbacks + 'static>(handler: H) -> TestInbox {
        Inbox::builder(handler)
            .backoff(Backoff::new(Duration::from_millis(5), Duration::from_millis(50)))
            .counterpart_timeout(Duration::ZERO)
            .start_for_test()
            .await
    }
}

impl<H, L> InboxBuilder<H, L> {
    /// Starts an inbox for a test, with these options, transactor and clock, on the memory store.
    /// Feature `test-util`.
    ///
    /// # Panics
    /// When it does not start, with the error in the message.
    #[allow(clippy::panic, reason = "a test wants to know")]
    pub async fn start_for_test(self) -> TestInbox
    where
        H: MpesaCallbacks<L::Tx> + 'static,
        L: Transactor,
    {
        let store = MemoryStore::with_clock(self.options.clock.clone());
        let started = self.store(store).secret(SECRET).start().await;
        match started {
            Ok(inbox) => TestInbox { inbox },
            Err(error) => panic!("the inbox does not start: {error}"),
        }
    }
}

impl TestInbox {
    pub(super) fn handle(&self) -> (InboxHandle, SystemTime) {
        (self.inbox.handle(), self.inbox.engine().recorder.clock.now())
    }

    /// Posts a body to the URL of this kind, and returns the acknowledgement.
    ///
    /// # Panics
    /// When the handlers have no URL for this kind.
    #[allow(clippy::panic, reason = "a test wants to know")]
    pub async fn deliver(&self, kind: &Kind, body: impl Into<Vec<u8>>) -> Acknowledgement {
        let path = self.inbox.routes().find(|(known, _)| *known == kind).map(|(_, path)| format!("/{SECRET}{path}"));
        let Some(path) = path else { panic!("`{kind}` has no handler with a URL") };
        self.post(&path, body.into()).await
    }

    /// Posts a body to the per-payment URL of this reference.
    ///
    /// # Panics
    /// When there is no such URL.
    #[allow(clippy::panic, reason = "a test wants to know")]
    pub async fn deliver_for(&self, kind: &Kind, reference: &str, body: impl Into<Vec<u8>>) -> Acknowledgement {
        let urls = self.inbox.urls_at(BASE).and_then(|urls| urls.url_for(kind, reference));
        match urls {
            Ok(url) => self.post(url.as_str().trim_start_matches(BASE), body.into()).await,
            Err(error) => panic!("no URL of `{kind}` for `{reference}`: {error}"),
        }
    }

    /// Delivers a validation request, and returns the answer that M-Pesa gets.
    ///
    /// # Panics
    /// When validations are not handled, or refused.
    #[allow(clippy::panic, reason = "a test wants to know")]
    pub async fn validate(&self, body: impl Into<Vec<u8>>) -> Validation {
        let answer = self.deliver(&Kind::C2bValidation, body).await;
        match validation(&answer) {
            Some(validation) => validation,
            None => panic!("no validation: {} {}", answer.status(), answer.body()),
        }
    }

    async fn post(&self, path: &str, body: Vec<u8>) -> Acknowledgement {
        let headers = |_: &str| Vec::new();
        let request = Request::new("POST", path, &headers);
        self.inbox.receive(request, Once(Some(body.into()))).await
    }
}

const BASE: &str = "https://shop.example.com";

fn validation(answer: &Acknowledgement) -> Option<Validation> {
    let body: serde_json::Value = serde_json::from_str(answer.body()).ok()?;
    let validation = match body.get("ResultCode")?.as_str()? {
        "0" => Validation::accept(),
        code => {
            let rejections = [
                Rejection::InvalidMsisdn,
                Rejection::InvalidAccountNumber,
                Rejection::InvalidAmount,
                Rejection::InvalidKycDetails,
                Rejection::InvalidShortcode,
                Rejection::Other,
            ];
            Validation::reject(rejections.into_iter().find(|rejection| rejection.code() == code)?)
        }
    };
    match body.get("ThirdPartyTransID").and_then(serde_json::Value::as_str) {
        Some(id) => Some(validation.with_third_party_trans_id(id)),
        None => Some(validation),
    }
}

/// A body in one piece.
struct Once(Option<Bytes>);

impl Stream for Once {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.take().map(Ok))
    }
}

impl Deref for TestInbox {
    type Target = Inbox;

    fn deref(&self) -> &Inbox {
        &self.inbox
    }
}

impl fmt::Debug for TestInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inbox.fmt(f)
    }
}
