//! The common mistakes of applications that receive M-Pesa's callbacks, one test each: copy those that you fear.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{Filter, State};
use mpesa_callbacks::{Environment, Kind, lint_url};
use mpesa_callbacks_daraja::{Daraja, Fault, Push};
use serde_json::json;
use shop::{Daraja as Client, Merchant, Options};
use testing::{LONG, PUBLIC_URL, TestShop, options};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

const PHONE: &str = "254712345678";
const PUSH: &str = "/mpesa/stkpush/v1/processrequest";

/// Production refuses it when the push is sent, and so does the simulator: the order is not left open.
#[tokio::test]
async fn http_instead_of_https() -> anyhow::Result<()> {
    let daraja = Daraja::builder().production().start().await?;
    let directory = tempfile::tempdir()?;
    let url = "http://shop.example.com/pay";
    let shop = TestShop::start_behind(&daraja, directory.path(), url, |app| app).await?;

    let refused = shop.checkout.buy(PHONE, 50).await.expect_err("production takes only https");
    assert!(format!("{refused:#}").contains("Invalid CallBackURL"), "{refused:#}");
    assert_eq!(shop.checkout.orders.list().await?[0].status, "cancelled");
    // Without `.sandbox()`, the inbox does not even start with it: the library knows the rules, too.
    assert!(!lint_url(url, Environment::Production).is_empty());
    Ok(())
}

/// The address changed between a push and its callback, as with every restart of a tunnel. The callback is lost, and
/// Daraja does not send it again: the shop asks, once it is overdue.
#[tokio::test]
async fn a_changed_url() -> anyhow::Result<()> {
    // The shop asks for the transactions of the last two days by its own clock.
    let daraja = Daraja::builder().starts_at(SystemTime::now()).start().await?;
    let directory = tempfile::tempdir()?;
    let mut shop = TestShop::start_at(&daraja, directory.path(), "https://old.example.com/pay").await?;
    shop.checkout.timeout = Duration::from_millis(200);
    daraja.on(Push::any()).fault(Fault::Lost).once();
    let order = shop.checkout.buy(PHONE, 50).await?;
    shop.checkout.inbox.shutdown(LONG).await?;
    daraja.settled().await;

    let shop = TestShop::start_at(&daraja, directory.path(), "https://new.example.com/pay").await?;
    assert_eq!(shop.becomes(&order, "paid").await?.paid_cents, 5_000);

    // The next push carries the new one.
    shop.checkout.buy(PHONE, 50).await?;
    let pushes = daraja.requests(PUSH);
    assert!(pushes[0].request.contains("https://old.example.com/pay/"));
    assert!(pushes[1].request.contains("https://new.example.com/pay/"));
    Ok(())
}

/// In production the URLs of a pay bill are registered once. A second try is refused, and the first ones stay.
#[tokio::test]
async fn registering_changed_urls_in_production() -> anyhow::Result<()> {
    let daraja = Daraja::builder().production().start().await?;
    let directory = tempfile::tempdir()?;
    let shop = TestShop::start(&daraja, directory.path()).await?;
    let register = json!({
        "ShortCode": shop.daraja.short_code(), "ResponseType": "Completed",
        "ConfirmationURL": "https://new.example.com/c", "ValidationURL": "https://new.example.com/v",
    });
    let refused = shop.daraja.post("/mpesa/c2b/v2/registerurl", register).await?;
    assert_eq!(refused["errorMessage"], "Urls are already registered.");
    Ok(())
}

/// M-Pesa waits for the acknowledgement, not for the handler.
#[tokio::test]
async fn a_slow_handler() -> anyhow::Result<()> {
    #[derive(Clone)]
    struct Slow(Arc<Semaphore>);

    #[mpesa_callbacks]
    impl Slow {
        /// An e-mail, say, that takes as long as the test likes.
        #[stk]
        async fn sends_a_receipt(&self, _: StkCallback) {
            self.0.acquire().await.expect("the test does not close it").forget();
        }
    }

    let daraja = Daraja::start().await?;
    let mail = Arc::new(Semaphore::new(0));
    let inbox = Inbox::for_test(Slow(mail.clone())).await;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    daraja.forward_to(listener.local_addr()?);
    let app = Router::new().nest("/pay", mpesa_callbacks::axum_adapter::router(&inbox));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let client = Client::new(Merchant::of_sandbox(daraja.base_url(), "key".to_owned(), "secret".to_owned()));

    client.push(PHONE, 50, "order-1", inbox.urls_at(PUBLIC_URL)?.url(&Kind::Stk)?.as_str()).await?;
    daraja.settled().await;

    assert!(daraja.callbacks()[0].is_acknowledged());
    let settled = Filter::default().kind(Kind::Stk).state(State::Done);
    assert!(inbox.list(&settled).await?.is_empty(), "the handler still works");
    mail.add_permits(1);
    inbox.idle(LONG).await;
    assert_eq!(inbox.list(&settled).await?.len(), 1);
    Ok(())
}

/// Each of these has been seen: the same again, the same in other words, the C2B confirmation of a push, and everything
/// at once after an outage.
#[tokio::test]
async fn no_idempotency() -> anyhow::Result<()> {
    for fault in [Fault::Duplicate, Fault::Variant, Fault::Twin, Fault::Flood] {
        let daraja = Daraja::start().await?;
        let directory = tempfile::tempdir()?;
        let shop = TestShop::start(&daraja, directory.path()).await?;
        daraja.on(Push::any()).fault(fault);

        let order = shop.checkout.buy(PHONE, 50).await?;
        daraja.settled().await;

        assert!(daraja.callbacks().len() > 1, "{fault}");
        assert_eq!(shop.order(&order).await?.paid_cents, 5_000, "{fault}");
        assert_eq!(shop.times_paid(&order).await?, 1, "{fault}");
    }
    Ok(())
}

/// Every URL that the application sends comes from its settings.
#[tokio::test]
async fn hard_coded_urls() -> anyhow::Result<()> {
    let public_url = "https://staging.example.com/pay";
    let daraja = Daraja::start().await?; // whose address is a setting, too: the requests arrive
    let directory = tempfile::tempdir()?;
    let shop = TestShop::start_at(&daraja, directory.path(), public_url).await?;
    shop.checkout.buy(PHONE, 50).await?;

    let requests: String = daraja.journal().into_iter().map(|exchange| exchange.request).collect();
    let all = requests.matches("://").count();
    assert_eq!(requests.matches(&format!("{public_url}/")).count(), all, "{requests}");
    assert_eq!(all, 4, "confirmation, validation, pull, and the push");
    Ok(())
}

/// Something before the callbacks wants a header that only browsers send. The journal shows what Daraja was answered.
#[tokio::test]
async fn middleware_that_blocks_callbacks() -> anyhow::Result<()> {
    async fn wants_a_token(request: Request, next: Next) -> Response {
        match request.headers().contains_key("x-csrf-token") {
            true => next.run(request).await,
            false => StatusCode::FORBIDDEN.into_response(),
        }
    }

    for (is_blocked, status) in [(false, 200), (true, 403)] {
        let daraja = Daraja::start().await?;
        let directory = tempfile::tempdir()?;
        let wrap = |app: Router| if is_blocked { app.layer(from_fn(wants_a_token)) } else { app };
        let shop = TestShop::start_behind(&daraja, directory.path(), PUBLIC_URL, wrap).await?;
        shop.checkout.buy(PHONE, 50).await?;
        daraja.settled().await;
        let callback = &daraja.callbacks()[0];
        assert_eq!((callback.status, callback.is_acknowledged()), (Some(status), !is_blocked));
    }
    Ok(())
}

/// Daraja accepted the push, and its answer was lost. The phone rings, and the customer pays: whether the callback arrives
/// or not, the order is paid, and the shop asks no more.
#[tokio::test]
async fn taking_a_lost_answer_for_a_refusal() -> anyhow::Result<()> {
    let daraja = Daraja::builder().starts_at(SystemTime::now()).start().await?;
    let directory = tempfile::tempdir()?;
    let mut shop = TestShop::start(&daraja, directory.path()).await?;
    shop.checkout.timeout = Duration::from_millis(200);
    daraja.on(Push::any()).fault(Fault::LostAnswer).once();
    daraja.on(Push::any()).fault(Fault::LostAnswer).fault(Fault::Lost);

    for _ in 0..2 {
        let order = shop.checkout.buy(PHONE, 50).await?;
        daraja.settled().await;
        assert_eq!(shop.becomes(&order, "paid").await?.paid_cents, 5_000);
        assert_eq!(shop.times_paid(&order).await?, 1);
    }
    shop.nothing_is_overdue().await
}

/// The answer was lost, and the customer did not pay: in the end the order is cancelled.
#[tokio::test]
async fn waiting_for_a_push_that_nobody_knows_of() -> anyhow::Result<()> {
    let daraja = Daraja::builder().starts_at(SystemTime::now()).start().await?;
    let directory = tempfile::tempdir()?;
    let options = Options { give_up_minutes: 0, ..options(directory.path().to_owned(), PUBLIC_URL) };
    let mut shop = TestShop::start_with(&daraja, options, |app| app).await?;
    shop::register(&shop.daraja, &shop.checkout.urls).await?;
    shop.checkout.timeout = Duration::from_millis(200);
    daraja.on(Push::any()).fails("1037").fault(Fault::LostAnswer).fault(Fault::Lost);

    let order = shop.checkout.buy(PHONE, 50).await?;
    daraja.settled().await;
    shop.becomes(&order, "cancelled").await?;
    shop.nothing_is_overdue().await
}

/// The phone is ringing already, which Daraja says with a status of 500: the second order is not left open.
#[tokio::test]
async fn taking_every_server_error_for_a_lost_answer() -> anyhow::Result<()> {
    let daraja = Daraja::builder().interactive().start().await?;
    let directory = tempfile::tempdir()?;
    let shop = TestShop::start(&daraja, directory.path()).await?;

    shop.checkout.buy(PHONE, 50).await?;
    let refused = shop.checkout.buy(PHONE, 120).await.expect_err("it rings");
    assert!(format!("{refused:#}").contains("Unable to lock subscriber"), "{refused:#}");
    let orders = shop.checkout.orders.list().await?;
    assert_eq!([&*orders[0].status, &*orders[1].status], ["open", "cancelled"]);
    Ok(())
}

/// Daraja refuses the push, because the customer mistyped the number: the shop does not ask after it for ever.
#[tokio::test]
async fn waiting_for_the_callback_of_a_refused_push() -> anyhow::Result<()> {
    let daraja = Daraja::start().await?;
    let directory = tempfile::tempdir()?;
    let mut shop = TestShop::start(&daraja, directory.path()).await?;
    shop.checkout.timeout = Duration::from_millis(200);

    let refused = shop.checkout.buy("12345", 50).await.expect_err("that is no number");
    assert!(format!("{refused:#}").contains("400.002.02"), "{refused:#}");
    assert_eq!(shop.checkout.orders.list().await?[0].status, "cancelled");
    shop.nothing_is_overdue().await
}

/// The body is cut off. It is acknowledged and kept, because nothing better would follow; the query finds the payment.
#[tokio::test]
async fn giving_up_on_a_body_that_cannot_be_read() -> anyhow::Result<()> {
    let daraja = Daraja::builder().starts_at(SystemTime::now()).start().await?;
    let directory = tempfile::tempdir()?;
    let mut shop = TestShop::start(&daraja, directory.path()).await?;
    shop.checkout.timeout = Duration::from_millis(200);
    daraja.on(Push::any()).fault(Fault::Malformed);

    let order = shop.checkout.buy(PHONE, 50).await?;
    daraja.settled().await;

    assert_eq!(daraja.callbacks()[0].status, Some(200));
    shop.becomes(&order, "paid").await?;
    let kept = shop.checkout.inbox.list(&Filter::default().state(State::Quarantined)).await?;
    assert_eq!(kept.len(), 1);
    Ok(())
}
