//! A shop in one of the three frameworks, which books money in memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{Entry, Filter, State};
use mpesa_callbacks::{ExpectError, Kind, TestInbox, Urls};
use mpesa_callbacks_daraja::Daraja;
use tokio::net::TcpListener;

/// Where the world reaches the shop. Nothing is sent there.
const BASE: &str = "https://shop.example.com/pay";

/// The web framework of a shop.
#[derive(Clone, Copy, Debug)]
pub enum Framework {
    Axum,
    Actix,
    Rocket,
}

/// A receipt's amount and order, each time it was booked.
type Books = BTreeMap<String, Vec<(Amount, Option<String>)>>;

#[derive(Clone, Default)]
struct Handlers {
    books: Arc<Mutex<Books>>,
    /// Successes and failures by kind, for everything that is no money that comes in.
    handled: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Handlers {
    fn count(&self, what: impl Into<String>) {
        *self.handled.lock().unwrap().entry(what.into()).or_default() += 1;
    }
}

#[mpesa_callbacks]
impl Handlers {
    #[payment]
    async fn paid(&self, payment: Payment) {
        let order = payment.order().map(str::to_owned);
        self.books
            .lock()
            .unwrap()
            .entry(payment.receipt.as_str().to_owned())
            .or_default()
            .push((payment.amount, order));
    }

    #[c2b_validation]
    async fn check(&self, request: C2bValidation) -> Validation {
        match &request.bill_ref_number {
            Some(account) if account.trimmed() == "unknown" => Validation::reject(Rejection::InvalidAccountNumber),
            _ => Validation::accept(),
        }
    }

    #[stk]
    async fn push_ended(&self, callback: StkCallback) {
        self.count(format!("stk {:?}", callback.outcome()));
    }

    #[c2b_confirmation]
    async fn confirmed(&self, _: C2bConfirmation) {
        self.count("c2b_confirmation");
    }

    #[b2c_result]
    async fn sent(&self, result: B2cResult) {
        self.count(format!("b2c {:?}", result.outcome()));
    }

    #[b2c_timeout]
    async fn sending_timed_out(&self, _: QueueTimeout) {
        self.count("b2c timeout");
    }

    #[b2b_result]
    async fn paid_out(&self, result: B2bResult) {
        self.count(format!("b2b {:?}", result.outcome()));
    }

    #[b2b_timeout]
    async fn paying_timed_out(&self, _: QueueTimeout) {
        self.count("b2b timeout");
    }

    #[tax_result]
    async fn taxed(&self, result: TaxResult) {
        self.count(format!("tax {:?}", result.outcome()));
    }

    #[tax_timeout]
    async fn taxing_timed_out(&self, _: QueueTimeout) {
        self.count("tax timeout");
    }

    #[status_result]
    async fn status(&self, result: StatusResult) {
        self.count(format!("status {:?}", result.outcome()));
    }

    #[status_timeout]
    async fn status_timed_out(&self, _: QueueTimeout) {
        self.count("status timeout");
    }

    #[balance_result]
    async fn balance(&self, result: BalanceResult) {
        self.count(format!("balance {:?}", result.outcome()));
    }

    #[balance_timeout]
    async fn balance_timed_out(&self, _: QueueTimeout) {
        self.count("balance timeout");
    }

    #[reversal_result]
    async fn reversed(&self, result: ReversalResult) {
        self.count(format!("reversal {:?}", result.outcome()));
    }

    #[reversal_timeout]
    async fn reversing_timed_out(&self, _: QueueTimeout) {
        self.count("reversal timeout");
    }

    #[b2b_express]
    async fn business_paid(&self, callback: B2bExpressCallback) {
        self.count(format!("b2b_express {:?}", callback.outcome()));
    }

    #[ratiba]
    async fn ordered(&self, callback: RatibaCallback) {
        self.count(format!("ratiba {:?}", callback.outcome()));
    }

    #[bill_manager]
    async fn bill_paid(&self, _: BillManagerPayment) {
        self.count("bill_manager");
    }

    #[overdue]
    async fn ask(&self, _: Expectation) -> Result<(), ExpectError> {
        Ok(())
    }
}

/// A shop that receives the callbacks of a simulator.
pub struct Shop {
    pub inbox: Arc<TestInbox>,
    pub urls: Urls,
    handlers: Handlers,
}

impl Shop {
    /// Opens a shop, and forwards callbacks to it.
    pub async fn open(daraja: &Daraja, framework: Framework) -> Shop {
        let handlers = Handlers::default();
        let inbox = Arc::new(Inbox::for_test(handlers.clone()).await);
        let address = match framework {
            Framework::Axum => axum_app(&inbox).await,
            Framework::Actix => actix_app(&inbox),
            Framework::Rocket => rocket_app(&inbox).await,
        };
        daraja.forward_to(address);
        let urls = inbox.urls_at(BASE).unwrap();
        Shop { inbox, urls, handlers }
    }

    pub fn url(&self, kind: &Kind) -> String {
        self.urls.url(kind).unwrap().into_string()
    }

    /// Waits until everything is handled.
    pub async fn idle(&self) {
        self.inbox.idle(Duration::from_secs(30)).await;
    }

    /// What was booked, by receipt.
    pub fn books(&self) -> Books {
        self.handlers.books.lock().unwrap().clone()
    }

    /// All that was booked, in whole shillings.
    pub fn total(&self) -> String {
        let cents: i64 = self.books().values().flatten().filter_map(|(amount, _)| amount.cents()).sum();
        format!("{}", cents / 100)
    }

    /// How often this was handled.
    pub fn handled(&self, what: &str) -> usize {
        self.handlers.handled.lock().unwrap().get(what).copied().unwrap_or_default()
    }

    /// Everything in this state.
    pub async fn in_state(&self, state: State) -> Vec<Entry> {
        self.inbox.list(&Filter::default().state(state)).await.unwrap()
    }
}

async fn axum_app(inbox: &TestInbox) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::Router::new().nest("/pay", mpesa_callbacks::axum_adapter::router(inbox));
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn actix_app(inbox: &TestInbox) -> SocketAddr {
    let (sender, address) = mpsc::channel();
    let inbox = Inbox::clone(inbox);
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let scope =
                move || actix_web::web::scope("/pay").configure(mpesa_callbacks::actix_adapter::configure(&inbox));
            let app = move || actix_web::App::new().service(scope());
            let server = actix_web::HttpServer::new(app).workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
            sender.send(server.addrs()[0]).unwrap();
            server.run().await
        })
    });
    address.recv().unwrap()
}

async fn rocket_app(inbox: &TestInbox) -> SocketAddr {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = rocket::Config { port, log_level: rocket::config::LogLevel::Off, ..rocket::Config::debug_default() };
    let rocket = rocket::custom(config)
        .mount("/pay", mpesa_callbacks::rocket_adapter::routes(inbox))
        .attach(mpesa_callbacks::rocket_adapter::InboxFairing::new(inbox));
    tokio::spawn(rocket.launch());
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    while tokio::net::TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    address
}
