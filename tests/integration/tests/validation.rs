//! C2B validation: answered within its timeout, and with the recorded decision.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mpesa_callbacks::payload::Sensitive;
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{MemoryStore, State, Store, Verdict};
use mpesa_callbacks_tests::{FlakyStore, Mounted, SECRET, question};

const YES: &str = r#"{"ResultCode":"0","ResultDesc":"Accepted"}"#;
const NO: &str = r#"{"ResultCode":"C2B00012","ResultDesc":"Rejected"}"#;
const OTHERWISE: &str = r#"{"ResultCode":"C2B00016","ResultDesc":"Rejected"}"#;

/// Behaves as the account demands.
#[derive(Clone, Default)]
struct Clerk {
    asked: Arc<AtomicU32>,
}

#[mpesa_callbacks]
impl Clerk {
    #[c2b_validation(timeout = "1s", fallback = "reject")]
    async fn check(&self, request: C2bValidation, ctx: &CallbackContext) -> Result<Validation, String> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        assert_eq!(ctx.key(), request.trans_id);
        match request.bill_ref_number.as_ref().map(Sensitive::trimmed) {
            Some("yes") => Ok(Validation::accept()),
            Some("tagged") => Ok(Validation::accept().with_third_party_trans_id("order-7")),
            Some("once") if asked == 0 => Ok(Validation::accept()),
            Some("sleeps") => {
                tokio::time::sleep(Duration::from_secs(10)).await;
                Ok(Validation::accept())
            }
            Some("fails") => Err("no database".into()),
            Some("panics") => panic!("as it does"),
            _ => Ok(Validation::reject(Rejection::InvalidAccountNumber)),
        }
    }
}

async fn clerk(store: impl Store) -> (Mounted, Clerk) {
    let clerk = Clerk::default();
    let inbox = Inbox::builder(clerk.clone()).store(store).secret(SECRET).start().await.unwrap();
    (Mounted::new(inbox), clerk)
}

async fn ask(mounted: &Mounted, trans_id: &str, amount: &str, account: &str) -> String {
    let answer = mounted.post("/c2b/validation", question(trans_id, amount, account)).await;
    assert_eq!(answer.status, 200);
    answer.body
}

#[tokio::test]
async fn the_handlers_decision_is_the_answer() {
    let (mounted, _) = clerk(MemoryStore::new()).await;
    assert_eq!(ask(&mounted, "T1", "10", "yes").await, YES);
    assert_eq!(ask(&mounted, "T2", "10", "no").await, NO);
    let tagged = r#"{"ResultCode":"0","ResultDesc":"Accepted","ThirdPartyTransID":"order-7"}"#;
    assert_eq!(ask(&mounted, "T3", "10", "tagged").await, tagged);
    let entries = mounted.entries().await;
    let decisions: Vec<_> = entries.iter().map(|entry| (entry.state, entry.decision.as_deref().unwrap())).collect();
    assert_eq!(decisions, [(State::Done, YES), (State::Done, NO), (State::Done, tagged)]);
}

#[tokio::test]
async fn a_handler_that_sleeps_does_not_make_mpesa_wait_and_the_answer_stays_the_same() {
    let (mounted, clerk) = clerk(MemoryStore::new()).await;
    for _ in 0..2 {
        let began = Instant::now();
        assert_eq!(ask(&mounted, "T1", "10", "sleeps").await, OTHERWISE);
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    }
    assert_eq!(clerk.asked.load(Ordering::SeqCst), 1, "the recorded decision was not used");
}

#[tokio::test]
async fn a_repeated_question_gets_the_recorded_answer() {
    let (mounted, clerk) = clerk(MemoryStore::new()).await;
    assert_eq!(ask(&mounted, "T1", "10", "once").await, YES);
    assert_eq!(ask(&mounted, "T1", "10", "once").await, YES, "the same bytes");
    assert_eq!(ask(&mounted, "T1", "10.00", "once").await, YES, "the same in other words");
    assert_eq!(clerk.asked.load(Ordering::SeqCst), 1);
    assert_eq!(ask(&mounted, "T1", "9000", "once").await, NO, "another amount is another question");
    let verdicts: Vec<_> = mounted.entries().await.iter().map(|entry| entry.verdict).collect();
    assert_eq!(verdicts, [Verdict::First, Verdict::Variant, Verdict::Conflict]);
}

#[tokio::test]
async fn concurrent_repetitions_get_one_answer() {
    let (mounted, _) = clerk(MemoryStore::new()).await;
    let asks = (0..16).map(|_| {
        let mounted = mounted.clone();
        tokio::spawn(async move { ask(&mounted, "T1", "10", "once").await })
    });
    let mut answers = Vec::new();
    for ask in asks.collect::<Vec<_>>() {
        answers.push(ask.await.unwrap());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
    assert_eq!(mounted.entries().await[0].decision.as_ref(), answers.first());
}

#[tokio::test]
async fn a_handler_that_fails_or_panics_leaves_the_answer_for_that() {
    let (mounted, _) = clerk(MemoryStore::new()).await;
    assert_eq!(ask(&mounted, "T1", "10", "fails").await, OTHERWISE);
    assert_eq!(ask(&mounted, "T2", "10", "panics").await, OTHERWISE);
}

#[tokio::test]
async fn a_question_that_cannot_be_read_is_answered_and_quarantined() {
    let (mounted, _) = clerk(MemoryStore::new()).await;
    let answer = mounted.post("/c2b/validation", "{not json").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, OTHERWISE));
    assert_eq!(mounted.entries().await[0].state, State::Quarantined);
}

#[tokio::test]
async fn mpesa_gets_its_answer_in_time_whatever_the_store_does() {
    let store = FlakyStore::default();
    let (mounted, _) = clerk(store.clone()).await;
    store.go_away(true);
    assert_eq!(ask(&mounted, "T1", "10", "no").await, NO);
    store.go_away(false);
    store.hang(true);
    let began = Instant::now();
    assert_eq!(ask(&mounted, "T2", "10", "no").await, NO);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_validation_is_not_money_and_does_not_swallow_the_confirmation() {
    struct Both(Arc<AtomicU32>);
    #[mpesa_callbacks]
    impl Both {
        #[c2b_validation]
        async fn check(&self, _: C2bValidation) -> Validation {
            Validation::accept()
        }
        #[payment]
        async fn paid(&self, _: Payment) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let paid = Arc::new(AtomicU32::new(0));
    let inbox = Inbox::builder(Both(paid.clone())).store(MemoryStore::new()).secret(SECRET).start().await.unwrap();
    let mounted = Mounted::new(inbox);
    let body = question("T1", "10", "a");
    mounted.post("/c2b/validation", body.clone()).await;
    mounted.settled().await;
    assert_eq!(paid.load(Ordering::SeqCst), 0, "a question was booked as money");
    mounted.post("/c2b/confirmation", body).await;
    mounted.settled().await;
    assert_eq!(paid.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn while_the_store_is_away_the_same_question_still_gets_the_same_answer() {
    let store = FlakyStore::default();
    let (mounted, clerk) = clerk(store.clone()).await;
    store.go_away(true);
    assert_eq!(ask(&mounted, "T1", "10", "once").await, YES);
    assert_eq!(ask(&mounted, "T1", "10", "once").await, YES);
    store.go_away(false);
    assert_eq!(ask(&mounted, "T1", "10", "once").await, YES);
    assert_eq!(clerk.asked.load(Ordering::SeqCst), 1);
    assert_eq!(mounted.entries().await[0].decision.as_deref(), Some(YES));
}

#[tokio::test]
async fn a_question_whose_asker_hangs_up_is_decided_and_recorded_all_the_same() {
    let (mounted, _) = clerk(MemoryStore::new()).await;
    let asking = tokio::spawn({
        let mounted = mounted.clone();
        async move { ask(&mounted, "T1", "10", "sleeps").await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    asking.abort();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(mounted.entries().await[0].decision.as_deref(), Some(OTHERWISE));
}

#[tokio::test]
async fn what_a_question_that_cannot_be_read_was_answered_is_recorded() {
    let (mounted, _) = clerk(MemoryStore::new()).await;
    mounted.post("/c2b/validation", "{not json").await;
    assert_eq!(mounted.entries().await[0].decision.as_deref(), Some(OTHERWISE));
}
