//! The contracts of `mpesa-callbacks` as tests that anyone can run, and the payloads they run on.
//!
//! A store of your own, checked with one `#[test]` per behaviour:
//!
//! ```no_run
//! use mpesa_callbacks_core::store::MemoryStore;
//!
//! mpesa_callbacks_conformance::store_tests!(MemoryStore::new());
//! # fn main() {}
//! ```
//!
//! The expression makes a new, empty store each time; it may `.await`. A transactor is checked by [`transactor_tests!`], through
//! a [`TransactorBench`](transactor::TransactorBench) that says how to write something in its transactions.

pub mod fixtures;

pub mod http;

pub mod transactor;

pub mod program;

pub mod store;

/// Runs a future to its end, on a runtime with several threads.
///
/// # Panics
/// When there is no runtime to be had.
#[doc(hidden)]
pub fn run(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    runtime.expect("a Tokio runtime").block_on(future);
}

/// One `#[test]` per behaviour of the contract of stores.
#[macro_export]
macro_rules! store_tests {
    ($store:expr) => {
        $crate::store_tests! { @each $store;
            a_first_delivery_is_told_from_repetitions_and_contradictions
            outcomes_progress
            what_contradicts_an_expectation_is_not_known
            confirmations_agree_where_both_tell
            a_receipt_under_two_keys_of_one_kind_is_a_contradiction
            the_deliveries_of_one_batch_see_each_other
            deliveries_of_the_same_moment_are_two
            of_racing_recorders_exactly_one_is_first
            a_payment_is_recorded_with_the_first_callback_that_shows_it
            what_cannot_be_read_is_kept_once
            a_decision_stands_for_every_repetition
            racing_claimants_share_the_work_and_nobody_gets_the_same
            a_claim_takes_the_kinds_asked_for
            an_interruption_costs_no_attempt
            suspects_have_lanes_of_their_own
            what_is_interrupted_alone_is_noted
            a_payment_is_settled_with_a_callback_that_accounts_for_it
            a_payment_is_given_back_with_a_callback_that_failed
            a_payment_is_left_alone_by_whoever_has_no_room_for_it
            a_payment_that_another_release_failed_at_is_claimed_with_its_callback
            what_is_left_to_others_holds_up_nothing
            a_payment_in_hand_with_its_callback_takes_over_its_reference
            a_callback_is_not_settled_without_its_payment
            the_payment_of_a_released_callback_is_claimed_with_it
            a_payment_learns_its_reference_in_every_order
            a_receipt_is_told_once_also_by_an_update
            a_payment_is_swept_with_a_callback_whose_process_ended
            a_callback_whose_payment_was_handled_is_left_to_others
            a_payment_that_waits_is_due_when_its_reference_is_known
            a_payment_that_was_handled_without_its_reference_is_completed
            a_payment_that_was_handled_without_its_account_is_completed
            a_payment_that_a_handler_may_have_seen_is_completed_also_while_it_waits
            a_payment_whose_attempt_was_given_back_is_completed
            a_payment_whose_reference_was_purged_is_not_completed
            a_released_callback_gets_its_reference
            what_is_done_can_be_handled_again
            what_was_purged_can_be_recognised_and_not_be_read
            what_waits_is_counted_by_kind
            a_store_belongs_to_one_inbox
            a_lost_lease_changes_nothing
            a_renewed_lease_is_not_swept
            a_retry_is_due_later
            a_callback_may_be_due_later_from_the_start
            a_release_does_not_count
            the_dead_run_again_after_a_requeue
            a_held_callback_is_released_with_its_payment
            what_is_open_can_be_dismissed
            siblings_know_each_other
            lists_are_filtered_and_paged
            what_is_known_under_a_key_is_found_with_its_body
            a_purged_callback_is_still_recognised
            purges_at_once_hide_a_key_once
            what_bears_a_time_ahead_holds_up_no_purge
            depths_are_counted
            the_quarantine_is_trimmed_from_its_oldest
            whoever_goes_away_leaves_all_or_nothing
            a_closed_store_says_so
        }
    };
    (@each $store:expr; $($behaviour:ident)*) => {
        $(
            #[test]
            fn $behaviour() {
                $crate::run(async { $crate::store::$behaviour(::std::sync::Arc::new($store)).await });
            }
        )*
    };
}

/// One `#[test]` per behaviour of adapters. The function mounts an inbox at `/pay`, serves it on a free port of 127.0.0.1,
/// and tells the address: `async fn serve(inbox: Inbox) -> SocketAddr`.
#[macro_export]
macro_rules! http_tests {
    ($serve:expr) => {
        $crate::http_tests! { @each $serve;
            every_kind_is_acknowledged_byte_for_byte
            verdicts_do_not_change_the_answer
            a_wrong_secret_is_an_unknown_path
            other_methods_are_not_allowed
            a_trailing_slash_is_the_same_url
            any_content_type_will_do
            a_chunked_body_is_put_together
            a_large_body_is_refused
            a_compressed_body_is_refused
            what_cannot_be_read_is_kept_as_it_came
            a_body_that_dribbles_is_given_up_on
            hanging_up_changes_nothing_behind_the_body
            the_peer_is_the_other_end_of_the_connection
            a_closed_inbox_acknowledges_nothing
            a_per_payment_url_speaks_for_its_payment_alone
            the_source_is_the_hop_beyond_the_proxies
            sources_that_are_not_listed_are_refused
            too_many_in_flight_are_refused
            a_flood_that_cannot_be_read_is_refused
        }
    };
    (@each $serve:expr; $($behaviour:ident)*) => {
        $(
            #[test]
            fn $behaviour() {
                $crate::run(async { $crate::http::$behaviour(&|inbox| ::std::boxed::Box::pin($serve(inbox))).await });
            }
        )*
    };
}

/// One `#[test]` per behaviour of the contract of transactors.
#[macro_export]
macro_rules! transactor_tests {
    ($bench:expr) => {
        $crate::transactor_tests! { @each $bench;
            preparing_twice_is_preparing_once
            effects_and_mark_are_committed_together
            another_mark_is_committed_with_the_first
            a_rolled_back_transaction_leaves_neither
            a_dropped_transaction_leaves_neither
            marks_of_other_callbacks_do_not_matter
            of_racing_workers_exactly_one_applies
            a_transaction_that_the_database_ended_costs_nobody_anything
        }
    };
    (@each $bench:expr; $($behaviour:ident)*) => {
        $(
            #[test]
            fn $behaviour() {
                $crate::run(async { $crate::transactor::$behaviour(&$bench).await });
            }
        )*
    };
}
