//! Faults of other libraries. Each is a test, here or where it belongs:
//!
//! | fault | test |
//! |---|---|
//! | two POSTs, two runs of the handler | `receiving::a_second_delivery_of_the_same_callback_is_not_handled_again` |
//! | the kind guessed from the body: a validation is booked as money, and swallows the confirmation | `validation::a_validation_is_not_money_and_does_not_swallow_the_confirmation` |
//! | 200 "success" when the queue is down; 500 with `ResultCode` 1 on a confirmation whose insert failed | `receiving::what_is_not_recorded_is_not_acknowledged` |
//! | the handler fails after the row was stored, and nothing runs it again | `processing::a_handler_that_fails_twice_and_then_succeeds_runs_three_times` |
//! | a "dead letter queue" that never calls a handler | `processing::a_handler_that_always_fails_is_dead_after_its_attempts_and_runs_again_after_a_requeue` |
//! | a retry inserts the same unique key again, and throws | `processing::a_callback_whose_settlement_was_lost_is_handled_again` |
//! | a callback that beats its own request is refused | here |
//! | correlation in a static map, gone with the process | `processing::what_does_not_finish_in_time_is_handed_to_the_next_process_with_its_attempt_uncounted` |
//! | validation always accepted; a reject constant that accepts | `validation::the_handlers_decision_is_the_answer` |
//! | validation waits for slow downstream systems | `validation::a_handler_that_sleeps_does_not_make_mpesa_wait_and_the_answer_stays_the_same` |
//! | a trailing slash answers 404 | `receiving::only_post_is_taken_and_a_trailing_slash_is_the_same_url` |
//! | `{"received":true}` as the answer to a validation | `receiving::every_fixture_is_acknowledged_as_its_sender_expects_and_handled_or_kept` |
//! | 60 MB of body buffered before the refusal | `receiving::a_body_is_bounded_in_size_by_the_bytes_that_come` |
//! | whole bodies logged | `log_redaction::nothing_private_gets_out`, `access_log` in each of the shops |
//! | the left-most `X-Forwarded-For` is trusted, so that anyone chooses an address | `the_source_is_the_hop_beyond_the_proxies` of `http_tests!`; the property test of `fuzz/checks` |
//! | a secret with 988 possible values, its check commented out | `startup::a_secret_that_can_be_guessed_does_not_start`, `attacks::without_the_secret_nothing_reaches_the_store` |
//! | a "signature" that only has to be there | here |
//! | the order's id from the query string, the amount never compared | here; `an_order_is_paid_when_all_of_it_came_and_not_before` of the example shop |
//! | the same request answered differently by each framework | `http_tests!` of `mpesa-callbacks-conformance`, in each adapter |
//! | two handlers on one route, silently | `ui/fail/two-handlers-of-one-kind.rs`, `ui/fail/two-handlers-of-one-path.rs` |
//! | an empty block compiles and serves nothing | `ui/fail/block-without-handlers.rs` |
//! | `#[cfg]`-ed-out methods still listed | `ui/pass/everything-a-block-may-have.rs`, `ui/pass/transactions-behind-cfg.rs` |
//! | a bad argument reported at the attribute | `ui/fail/argument-unknown.rs`, `ui/fail/payload-of-another-type.rs` |
//! | the runtime's path cannot be changed | `ui/pass/renamed-crate.rs` |

use mpesa_callbacks::Request;
use mpesa_callbacks::payload::{
    B2cResult, C2bConfirmation, Msisdn, Outcome, QueueTimeout, RatibaCallback, ReversalResult, StatusResult,
    StkCallback,
};
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{Filter, MemoryStore, State};
use mpesa_callbacks_conformance::fixtures;
use mpesa_callbacks_tests::{Chunks, Mounted, SECRET, cancelled_push};

fn result(parameters: &str, code: &str) -> Vec<u8> {
    format!(
        r#"{{"Result":{{"ResultType":0,"ResultCode":{code},"ConversationID":"AG_1","ResultParameters":{parameters}}}}}"#
    )
    .into_bytes()
}

#[test]
fn result_parameters_are_read_under_key_name_and_either_case() {
    for pair in [
        r#""Key":"TransactionAmount","Value":10"#,
        r#""Name":"TransactionAmount","Value":10"#,
        r#""name":"TransactionAmount","value":"10.00""#,
    ] {
        for parameters in [
            format!(r#"{{"ResultParameter":[{{{pair}}}]}}"#),
            format!(r#"{{"ResultParameter":{{{pair}}}}}"#),
            format!("[{{{pair}}}]"),
        ] {
            let parsed = B2cResult::parse(&result(&parameters, "0")).unwrap();
            assert_eq!(parsed.amount, Some(Amount::from_shillings(10)), "{parameters}");
            assert_eq!(parsed.parameters().len(), 1);
        }
    }
}

#[test]
fn successful_results_parse_with_all_their_parameters() {
    for (fixture, count) in [("b2c_result/success-docs3.json", 8), ("b2c_result/success-prod-2018.json", 8)] {
        assert_eq!(B2cResult::parse(&fixtures::body(fixture)).unwrap().parameters().len(), count);
    }
    assert!(StatusResult::parse(&fixtures::body("transaction_status_result/success-docs3.json")).is_ok());
    assert!(ReversalResult::parse(&fixtures::body("reversal_result/success-docs3.json")).is_ok());
}

#[test]
fn a_code_of_letters_is_a_code_and_is_not_zero() {
    for code in [r#""SFC_IC0003""#, r#""R000002""#, r#""0x0""#, r#""00""#, "2001", r#""success""#] {
        let parsed = B2cResult::parse(&result("[]", code)).unwrap();
        assert_ne!(parsed.outcome(), Outcome::Success, "{code}");
        assert_eq!(parsed.header.result_code.unwrap().as_str(), code.trim_matches('"'));
    }
    for code in ["0", r#""0""#] {
        assert_eq!(B2cResult::parse(&result("[]", code)).unwrap().outcome(), Outcome::Success);
    }
}

#[test]
fn what_is_null_or_missing_is_not_there() {
    let c2b =
        C2bConfirmation::parse(br#"{"TransID":"T","TransAmount":"10","BillRefNumber":null,"FirstName":""}"#).unwrap();
    assert_eq!((c2b.bill_ref_number, c2b.first_name, c2b.last_name), (None, None, None));
    let stk = StkCallback::parse(&cancelled_push("k")).unwrap();
    assert_eq!(stk.amount, None);
    let stk = StkCallback::parse(br#"{"Body":{"stkCallback":{"CheckoutRequestID":"k","ResultCode":1}}}"#).unwrap();
    assert_eq!(stk.result_desc, None);
}

#[test]
fn values_are_found_by_name_and_not_by_position() {
    let forwards = r#"{"Name":"Amount","Value":5},{"Name":"MpesaReceiptNumber","Value":"R1"},{"Name":"PhoneNumber","Value":254700000001}"#;
    let backwards = r#"{"Name":"PhoneNumber","Value":254700000001},{"Name":"MpesaReceiptNumber","Value":"R1"},{"Name":"Amount","Value":5}"#;
    let parsed = [forwards, backwards].map(|items| {
        let body = format!(r#"{{"Body":{{"stkCallback":{{"CheckoutRequestID":"k","ResultCode":0,"CallbackMetadata":{{"Item":[{items}]}}}}}}}}"#);
        StkCallback::parse(body.as_bytes()).unwrap()
    });
    assert_eq!(parsed[0], parsed[1]);
    assert_eq!(parsed[0].receipt.as_deref(), Some("R1"));
}

#[test]
fn ratiba_is_read_in_both_cases() {
    for fixture in [
        "ratiba/success-lowercase-envelope.json",
        "ratiba/success-all-uppercase.json",
        "ratiba/success-docs2-mixed-case.json",
    ] {
        let callback = RatibaCallback::parse(&fixtures::body(fixture)).unwrap();
        assert_eq!(callback.transaction_id.as_deref(), Some("SC8F2IQMH5"), "{fixture}");
        assert_eq!(callback.outcome(), Outcome::Success);
    }
}

#[test]
fn a_hash_or_a_mask_is_a_phone_number_too() {
    let hashed = C2bConfirmation::parse(&fixtures::body("c2b_confirmation/sandbox-2025-hashed-msisdn.json")).unwrap();
    assert!(matches!(hashed.msisdn, Some(Msisdn::Hashed(_))));
    let masked = C2bConfirmation::parse(&fixtures::body("c2b_confirmation/docs3-masked.json")).unwrap();
    assert!(matches!(masked.msisdn, Some(Msisdn::Masked(_))));
}

#[test]
fn a_value_that_nobody_knows_makes_no_event_fail() {
    let status = r#"[{"Key":"TransactionStatus","Value":"Pondering"},{"Key":"ReasonType","Value":"Something New"}]"#;
    let parsed = StatusResult::parse(&result(status, "0")).unwrap();
    assert_eq!((parsed.outcome(), parsed.transaction_status.as_deref()), (Outcome::Unknown, Some("Pondering")));
    let c2b = C2bConfirmation::parse(br#"{"TransID":"T","TransactionType":"Pay By Thought"}"#).unwrap();
    assert_eq!(c2b.transaction_type.as_deref(), Some("Pay By Thought"));
}

#[test]
fn a_parameter_that_is_there_twice_is_kept_twice_in_order() {
    let parsed = StatusResult::parse(&fixtures::body("transaction_status_result/success-docs3.json")).unwrap();
    let parameters = parsed.parameters();
    let names: Vec<_> = parameters.all("DebitPartyName").collect();
    assert_eq!(names, ["600310 - Safaricom333", "254708374149 - John Doe"]);
}

#[test]
fn a_timeout_is_unknown_and_never_failed() {
    let timeout = QueueTimeout::parse(&fixtures::body("timeouts/result-type1-2001.json")).unwrap();
    assert_eq!(timeout.outcome(), Outcome::Unknown);
    // Debits were seen minutes after a 1037.
    let unreachable = StkCallback::parse(&fixtures::body("stk/unreachable-1037-ds-timeout-full.json")).unwrap();
    assert_eq!(unreachable.outcome(), Outcome::Unknown);
}

struct Quiet;

#[mpesa_callbacks]
impl Quiet {
    #[stk]
    async fn stk(&self, _: StkCallback) {}
}

#[tokio::test]
async fn a_header_that_looks_like_a_signature_opens_nothing() {
    let inbox = Inbox::builder(Quiet).store(MemoryStore::new()).secret(SECRET).start().await.unwrap();
    for name in ["authorization", "x-signature", "x-mpesa-signature", "x-callback-secret", "cookie"] {
        let headers = |asked: &str| if asked == name { vec![SECRET.as_bytes()] } else { Vec::new() };
        let request = Request::new("POST", "/stk", &headers);
        let answer = inbox.receive(request, Chunks::whole(cancelled_push("k"))).await;
        assert_eq!(answer.status(), 404, "{name}");
    }
    assert_eq!(inbox.list(&Filter::default()).await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_query_string_says_nothing() {
    let inbox = Inbox::builder(Quiet).store(MemoryStore::new()).secret(SECRET).start().await.unwrap();
    let mounted = Mounted::new(inbox);
    let path = "/stk?reference=order-123&secret=x&ResultCode=0";
    assert_eq!(mounted.post(path, cancelled_push("k")).await.status, 200);
    let entry = &mounted.entries().await[0];
    assert_eq!((entry.reference.clone(), entry.key.as_str()), (None, "k"));
    assert_eq!(mounted.send("POST", &format!("/pay/stk?secret={SECRET}"), cancelled_push("l")).await.status, 404);
}

#[tokio::test]
async fn a_callback_that_nobody_is_known_to_have_asked_for_is_taken() {
    let inbox = Inbox::builder(Quiet).store(MemoryStore::new()).secret(SECRET).start().await.unwrap();
    let mounted = Mounted::new(inbox);
    assert_eq!(mounted.post("/stk", cancelled_push("of a request whose answer is still under way")).await.status, 200);
    mounted.settled().await;
    assert_eq!(mounted.entries().await[0].state, State::Done);
}
