//! Requests that are made, withdrawn, made anew, linked and reconciled, and what is expected of them meanwhile.

mod linking;
mod reconciling;
mod withdrawing;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mpesa_callbacks::payload::Sensitive;
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{Entry, Filter, Store};
use mpesa_callbacks::{Backoff, Kind};
use mpesa_callbacks_tests::{Mounted, SECRET};

/// Notes every call.
#[derive(Clone, Default)]
struct Shop {
    heard: Arc<Mutex<Vec<String>>>,
}

impl Shop {
    fn note(&self, text: String) {
        self.heard.lock().unwrap().push(text);
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    fn paid(&self) -> Vec<String> {
        self.heard().into_iter().filter(|heard| heard.starts_with("paid")).collect()
    }

    fn asked(&self) -> usize {
        self.heard().iter().filter(|heard| heard.starts_with("overdue")).count()
    }

    async fn start(&self, store: impl Store, required: impl IntoIterator<Item = Kind>) -> Mounted {
        let inbox = Inbox::builder(self.clone())
            .store(store)
            .secret(SECRET)
            .require_expected(required)
            .backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(5)))
            .lease_check_interval(Duration::from_millis(20))
            .counterpart_timeout(Duration::ZERO);
        Mounted::new(inbox.start().await.unwrap())
    }
}

#[mpesa_callbacks(no_timeouts)]
impl Shop {
    #[payment]
    async fn paid_now(&self, payment: Payment) {
        self.note(format!("paid {} for {}", payment.receipt, of(&payment)));
    }

    #[payment_completed]
    async fn completed(&self, payment: Payment) {
        self.note(format!("completed {} for {}", payment.receipt, of(&payment)));
    }

    #[overdue(max_retries = 3)]
    async fn ask(&self, expected: Expectation) {
        self.note(format!("overdue {}", expected.reference.as_str()));
    }

    #[on_conflict]
    async fn contradicted(&self, ctx: &CallbackContext) {
        self.note(format!("conflict for {}", ctx.reference().unwrap_or("nobody")));
    }
}

fn order(timeout: Duration) -> Expectation {
    Expectation::new(Kind::Stk, "order-1").amount(Amount::from_shillings(100)).timeout(timeout)
}

const LONG: Duration = Duration::from_mins(10);
const SHORT: Duration = Duration::from_millis(100);

fn confirmation(receipt: &str, account: &str) -> String {
    format!(
        r#"{{"TransID":"{receipt}","TransAmount":"100.00","BillRefNumber":"{account}","BusinessShortCode":"600638","TransTime":"20191122063845"}}"#
    )
}

async fn stk(mounted: &Mounted) -> Vec<Entry> {
    mounted.inbox.list(&Filter::default().kind(Kind::Stk)).await.unwrap()
}

async fn overdue_row(mounted: &Mounted) -> Entry {
    let rows = mounted.inbox.list(&Filter::default().kind(Kind::Overdue)).await.unwrap();
    rows.into_iter().last().unwrap()
}

fn of(payment: &Payment) -> &str {
    payment.reference.as_ref().map_or("nobody", Sensitive::as_str)
}
