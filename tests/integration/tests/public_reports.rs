//! Bodies that merchants, relays and aggregators reported in public, and the result of each. They are in `reports/`, named by the
//! number of the report.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mpesa_callbacks::payload::{B2bResult, RatibaCallback, ReversalResult, StatusResult};
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{MemoryStore, State, Verdict};
use mpesa_callbacks_tests::{Mounted, SECRET};

#[derive(Clone, Default)]
struct Merchant {
    heard: Arc<Mutex<Vec<String>>>,
}

impl Merchant {
    fn note(&self, text: String) {
        self.heard.lock().unwrap().push(text);
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::Failed => "failed",
        Outcome::Unknown => "unknown",
    }
}

fn shillings(amount: Option<Amount>) -> String {
    let cents = amount.and_then(Amount::cents);
    cents.map_or("nothing".into(), |cents| format!("{}.{:02}", cents / 100, cents % 100))
}

/// The customer of all these reports, as far as a report contains it.
const CUSTOMER: &str = "254700000031";

#[mpesa_callbacks(no_timeouts)]
impl Merchant {
    #[payment]
    async fn paid(&self, payment: Payment) {
        let whose = match &payment.msisdn {
            Some(msisdn) if msisdn.is(CUSTOMER) => "the customer",
            Some(_) => "somebody else",
            None => "nobody",
        };
        let order = payment.order();
        self.note(format!(
            "paid {} by {whose}, receipt {}, {order:?}",
            shillings(Some(payment.amount)),
            payment.receipt
        ));
    }

    #[stk]
    async fn stk(&self, callback: StkCallback) {
        self.note(format!("stk {}", word(callback.outcome())));
    }

    #[c2b_validation(fallback = "accept")]
    async fn validation(&self, _: C2bValidation) -> Validation {
        Validation::accept()
    }

    #[b2c_result]
    async fn b2c(&self, result: B2cResult) {
        self.note(format!("b2c {}", word(result.outcome())));
    }

    #[b2b_result]
    async fn b2b(&self, result: B2bResult) {
        let receipt = result.receipt().unwrap_or("none");
        self.note(format!("b2b {}, amount {:?}, receipt {receipt}", word(result.outcome()), result.amount));
    }

    #[reversal_result]
    async fn reversal(&self, result: ReversalResult) {
        let amount = shillings(result.amount);
        let receipt = result.receipt().unwrap_or("none");
        self.note(format!("reversal {} {amount}, receipt {receipt}", word(result.outcome())));
    }

    #[status_result]
    async fn status(&self, result: StatusResult) {
        let amount = shillings(result.amount);
        self.note(format!("status {} {amount}", word(result.outcome())));
    }

    #[ratiba]
    async fn ratiba(&self, callback: RatibaCallback, ctx: &CallbackContext) {
        let amount = shillings(callback.amount);
        self.note(format!("ratiba {} {amount} as {}", word(callback.outcome()), ctx.key()));
    }

    #[on_conflict]
    async fn contradicted(&self, ctx: &CallbackContext) {
        self.note(format!("conflict {}", ctx.kind()));
    }

    #[on_quarantine]
    async fn unreadable(&self, ctx: &CallbackContext) {
        self.note(format!("quarantined {}", ctx.kind()));
    }
}

/// Posts these, one after the other, until exactly this was heard, in alphabetical order; what became of each callback (payments have none of their own here).
async fn played(posts: &[(&str, &str)], expected: &[&str]) -> (Mounted, Vec<(Verdict, State)>) {
    let merchant = Merchant::default();
    let inbox = Inbox::builder(merchant.clone())
        .store(MemoryStore::new())
        .secret(SECRET)
        .counterpart_timeout(Duration::ZERO)
        .start()
        .await
        .unwrap();
    let mounted = Mounted::new(inbox);
    for (path, file) in posts {
        let body = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("reports").join(file)).unwrap();
        assert_eq!(mounted.post(path, body).await.status, 200, "{file}");
        mounted.settled().await;
    }
    let entries = mounted.entries().await.into_iter().filter(|entry| entry.kind != Kind::Payment);
    let became = entries.map(|entry| (entry.verdict, entry.state));
    // Hooks are called a little later.
    let began = Instant::now();
    loop {
        let mut heard = merchant.heard.lock().unwrap().clone();
        heard.sort();
        if heard == expected {
            return (mounted, became.collect());
        }
        assert!(began.elapsed() < Duration::from_secs(10), "heard {heard:?} instead of {expected:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const HANDLED: (Verdict, State) = (Verdict::First, State::Done);

/// One or several posts, the calls that they cause in alphabetical order, and the result of each.
macro_rules! reports {
    ($($name:ident: [$(($path:literal, $file:literal)),+] => $heard:expr, $became:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let (_, became) = played(&[$(($path, $file)),+], &$heard).await;
            assert_eq!(became, $became);
        }
    )*};
}

reports! {
    report_01_two_words_on_the_same_no_payment: [("/stk", "01-a-stk-1037.json"), ("/stk", "01-b-stk-1019-after-1037.json")] =>
        ["stk unknown"], [HANDLED, (Verdict::Variant, State::Done)];
    report_03_paid_after_nobody_knew: [("/stk", "03-a-stk-1037.json"), ("/stk", "03-b-stk-0-after-1037.json")] =>
        ["paid 10.00 by the customer, receipt TJ30000013, None", "stk success", "stk unknown"],
        [HANDLED, (Verdict::Update, State::Done)];
    report_05_sent_after_nobody_knew: [("/b2c/result", "05-a-b2c-26.json"), ("/b2c/result", "05-b-b2c-0-after-26.json")] =>
        ["b2c success", "b2c unknown"], [HANDLED, (Verdict::Update, State::Done)];
    report_06_unknown_after_a_success_adds_nothing: [("/stk", "06-a-stk-0.json"), ("/stk", "06-b-stk-1037-after-0.json")] =>
        ["paid 10.00 by the customer, receipt TJ30000016, None", "stk success"],
        [HANDLED, (Verdict::Variant, State::Done)];
    report_08_a_success_without_money_is_held: [("/stk", "08-stk-0-without-metadata.json")] =>
        ["conflict stk"], [(Verdict::First, State::Held)];
    report_10_item_names_in_another_case: [("/stk", "10-stk-0-item-names-other-case.json")] =>
        ["paid 10.00 by the customer, receipt TJ30000020, None", "stk success"], [HANDLED];
    report_11_a_masked_hash: [("/c2b/confirmation", "11-c2b-msisdn-masked-hash.json")] =>
        ["paid 100.00 by the customer, receipt TJ40000021, None"], [HANDLED];
    report_12_a_hash_in_base64: [("/c2b/confirmation", "12-c2b-msisdn-base64-hash.json")] =>
        ["paid 100.00 by the customer, receipt TJ40000022, None"], [HANDLED];
    report_16_an_aggregators_reference: [("/stk", "16-stk-tinypesa-extras.json")] =>
        ["paid 10.00 by the customer, receipt TJ30000026, Some(\"ORDER-26\")", "stk success"], [HANDLED];
    report_17_a_flat_failure: [("/stk", "17-stk-flat-failure.json")] => ["stk failed"], [HANDLED];
    report_20_a_bank_in_darajas_dress: [("/c2b/confirmation", "20-c2b-ncba.json")] =>
        ["paid 1.00 by the customer, receipt TN10000030, Some(\"ORDER-30\")"], [HANDLED];
    report_21_another_aggregator: [("/c2b/confirmation", "21-c2b-m-pay.json")] =>
        ["paid 2000.00 by the customer, receipt PHB0000031, Some(\"0700000031\")"], [HANDLED];
    // A deduction under the id of its standing order: Safaricom has not confirmed that it looks like this.
    report_23_a_deduction_is_an_event_of_its_own: [("/ratiba", "23-a-ratiba-creation.json"), ("/ratiba", "23-b-ratiba-execution-1.json")] =>
        ["ratiba success 500.00 as BLT-33", "ratiba success 500.00 as BLT-33/UH10000033"], [HANDLED, HANDLED];
    report_25_code_2026: [("/stk", "25-stk-2026.json")] => ["stk unknown"], [HANDLED];
    report_27_code_11: [("/stk", "27-stk-11.json")] => ["stk failed"], [HANDLED];
    report_29_a_code_of_letters: [("/stk", "29-stk-sfc-ic0003-string.json")] => ["stk failed"], [HANDLED];
    report_32_status_7: [("/status/result", "32-status-7.json")] => ["status unknown nothing"], [HANDLED];
    report_36_a_reversal: [("/reversal/result", "36-reversal-success.json")] =>
        ["reversal success 10.00, receipt RGF0000037"], [HANDLED];
    report_39_the_query_succeeded_and_the_payment_did_not: [("/status/result", "39-status-cancelled.json")] =>
        ["status failed 10.00"], [HANDLED];
    report_40_waiting_for_the_merchant: [("/status/result", "40-status-authorized.json")] => ["status unknown 10.00"], [HANDLED];
    report_43_a_payment_of_nothing_is_held: [("/c2b/confirmation", "43-c2b-amount-zero.json")] =>
        ["conflict c2b_confirmation"], [(Verdict::First, State::Held)];
    report_45_a_payment_without_an_amount_is_held: [("/c2b/confirmation", "45-c2b-amount-missing.json")] =>
        ["conflict c2b_confirmation"], [(Verdict::First, State::Held)];
    report_48_long_numbers_as_floats: [("/stk", "48-stk-numbers-as-floats.json")] =>
        ["paid 10.00 by the customer, receipt TJ30000048, None", "stk success"], [HANDLED];
    report_51_a_raw_newline: [("/c2b/confirmation", "51-c2b-raw-newline.txt")] =>
        ["paid 100.00 by the customer, receipt TJ40000051, Some(\"ORDER\\n1\")"], [HANDLED];
    report_53_json_in_json: [("/stk", "53-stk-doubly-encoded.json")] =>
        ["paid 10.00 by the customer, receipt TJ30000053, None", "stk success"], [HANDLED];
    report_54_a_list_of_one: [("/stk", "54-stk-list-of-one.json")] =>
        ["paid 10.00 by the customer, receipt TJ30000054, None", "stk success"], [HANDLED];
    report_59_a_confirmation_to_the_validation_url_is_no_money: [("/c2b/validation", "59-c2b-confirmation-posted-to-validation.json")] =>
        [], [HANDLED];
    report_64_a_success_without_its_amount: [("/b2b/result", "64-b2b-success-without-amount.json")] =>
        ["b2b success, amount None, receipt UI90000064"], [HANDLED];
    report_65_paid_after_it_was_cancelled: [("/stk", "65-a-stk-1032.json"), ("/stk", "65-b-stk-0-after-1032.json")] =>
        ["conflict stk", "stk failed"], [HANDLED, (Verdict::Conflict, State::Held)];
}

/// Merchants register one URL for everything.
#[tokio::test]
async fn report_57_a_push_on_the_confirmation_url_is_told_and_replayed_as_what_it_is() {
    let posts = [("/c2b/confirmation", "57-stk-posted-to-c2b.json")];
    let (mounted, became) = played(&posts, &["quarantined c2b_confirmation"]).await;
    assert_eq!(became, [(Verdict::Quarantined, State::Quarantined)]);
    let entry = &mounted.entries().await[0];
    let entry = mounted.inbox.get(entry.id).await.unwrap().unwrap();
    assert_eq!(mounted.inbox.looks_like(&entry), Some(Kind::Stk));
    let replayed = mounted.inbox.replay_as(entry.id, &Kind::Stk).await.unwrap();
    assert_eq!(replayed.verdict, Verdict::First);
    mounted.settled().await;
    let payments = mounted.entries().await.into_iter().filter(|entry| entry.kind == Kind::Payment).count();
    assert_eq!(payments, 1);
}
