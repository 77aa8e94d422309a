//! One replica learns Daraja's id of a request at the moment at which another one receives its callback, on PostgreSQL.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{Filter, PostgresStore, State};
use mpesa_callbacks::{Backoff, ExpectError};
use mpesa_callbacks_test_servers::Postgres;
use mpesa_callbacks_tests::{Mounted, SECRET, push, until};
use sqlx::{Connection, PgConnection};

const ORDERS: usize = 120;

/// The order of each receipt: known with the payment, or later.
#[derive(Clone, Default)]
struct Shop {
    handled: Arc<Mutex<Vec<String>>>,
    orders: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Shop {
    fn note_order(&self, payment: &Payment) {
        if let Some(order) = payment.order() {
            self.orders.lock().unwrap().insert(payment.receipt.clone(), order.to_owned());
        }
    }
}

#[mpesa_callbacks]
impl Shop {
    #[payment]
    async fn paid(&self, payment: Payment) {
        self.handled.lock().unwrap().push(payment.receipt.clone());
        self.note_order(&payment);
    }

    #[payment_completed]
    async fn completed(&self, payment: Payment) {
        self.note_order(&payment);
    }

    #[overdue]
    async fn ask(&self, _: Expectation) -> Result<(), ExpectError> {
        Ok(())
    }
}

async fn replica(shop: &Shop, url: &str, is_required: bool) -> Mounted {
    let mut builder = Inbox::builder(shop.clone())
        .name("shop")
        .store(PostgresStore::connect(url).await.unwrap())
        .secret(SECRET)
        .counterpart_timeout(Duration::ZERO)
        .backoff(Backoff::new(Duration::from_millis(5), Duration::from_millis(50)));
    if is_required {
        builder = builder.require_expected([Kind::Stk]);
    }
    Mounted::new(builder.start().await.unwrap())
}

/// The callback arrives at the plain URL, so only the id identifies its order.
async fn race(is_required: bool) {
    let Some(server) = Postgres::shared() else { return };
    let (name, url) = server.next_database();
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    let shop = Shop::default();
    let (asking, receiving) = (replica(&shop, &url, is_required).await, replica(&shop, &url, is_required).await);
    let mut racing = Vec::new();
    for number in 0..ORDERS {
        let (reference, id) = (format!("order-{number}"), format!("ws_CO_{number:06}"));
        let expected = Expectation::new(Kind::Stk, reference.as_str()).amount(Amount::from_shillings(10));
        asking.inbox.expect_callback(&expected.timeout(Duration::from_mins(10))).await.unwrap();
        let (asking, told) = (asking.clone(), id.clone());
        racing.push(tokio::spawn(async move {
            asking.inbox.link_request_id(&Kind::Stk, &reference, &told).await.unwrap();
        }));
        let receiving = receiving.clone();
        racing.push(tokio::spawn(async move {
            // Before, beside and after the other.
            tokio::time::sleep(Duration::from_micros(u64::try_from(number % 12).unwrap() * 400)).await;
            assert_eq!(receiving.post("/stk", push(&id, &format!("R{number:06}"), 10)).await.status, 200);
        }));
    }
    for racer in racing {
        racer.await.unwrap();
    }
    let all: BTreeMap<_, _> = (0..ORDERS).map(|number| (format!("R{number:06}"), format!("order-{number}"))).collect();
    until("every payment knows its order", async || *shop.orders.lock().unwrap() == all).await;
    let mut handled = shop.handled.lock().unwrap().clone();
    handled.sort();
    assert_eq!(handled, all.into_keys().collect::<Vec<_>>(), "each payment is handled once");
    assert!(asking.inbox.list(&Filter::default().state(State::Held)).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_payment_learns_its_order_whichever_replica_comes_first() {
    race(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn expected_money_is_not_left_held_whichever_replica_comes_first() {
    race(true).await;
}
