//! The contracts of `mpesa-callbacks` as test suites for your own store, transactor or adapter, and the
//! payloads that they use.
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
//! The expression makes a new, empty store each time; it may `.await`. [`transactor_tests!`] checks a
//! transactor through a [`TransactorBench`](transactor::TransactorBench), which writes a row in its
//! transactions and counts rows. [`http_tests!`] checks an adapter over real sockets.

pub mod fixtures;

pub mod http;

pub mod transactor;

pub mod program;

pub mod store;

/// Runs a future to its end, on a runtime with several threads.
///
/// # Panics
/// When no runtime can be started.
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
            first_duplicate_variant_and_conflict_are_distinguished
            outcomes_progress
            a_contradicted_expectation_does_not_count_as_stored
            details_are_compared_only_if_both_have_them
            a_receipt_under_two_keys_of_one_kind_is_a_contradiction
            deliveries_of_one_batch_see_each_other
            two_deliveries_at_the_same_time_are_two
            exactly_one_of_racing_recorders_is_first
            a_payment_is_recorded_with_its_first_callback
            an_unparsable_body_is_stored_once
            a_repeated_validation_gets_the_stored_decision
            racing_claims_never_return_the_same_callback
            a_claim_returns_only_its_kinds
            an_interruption_costs_no_attempt
            suspects_are_claimed_in_their_own_lanes
            interruptions_alone_are_counted_separately
            a_payment_is_settled_with_its_callback
            a_payment_is_ready_again_after_its_callback_failed
            a_claim_without_a_permit_for_payments_leaves_the_payment
            a_payment_that_another_release_failed_at_is_claimed_with_its_callback
            a_payment_in_hand_that_another_release_may_have_committed_is_completed
            callbacks_left_to_other_processes_block_nothing
            a_callback_whose_payment_was_handled_is_claimed_in_the_end
            a_ready_payment_can_be_dismissed
            a_check_of_writing_leaves_nothing_behind
            a_payment_that_runs_with_its_callback_takes_a_late_reference
            a_callback_is_not_settled_without_its_payment
            the_payment_of_a_released_callback_is_claimed_with_it
            a_payment_learns_its_reference_in_every_order
            a_receipt_is_unique_also_for_an_update
            a_payment_is_reclaimed_with_its_callback
            a_callback_whose_payment_was_handled_is_not_claimed
            a_waiting_payment_is_due_when_its_reference_arrives
            a_payment_that_was_handled_without_its_reference_is_completed
            a_payment_that_was_handled_without_its_account_is_completed
            a_payment_that_a_handler_may_have_seen_is_completed_also_while_it_waits
            a_payment_whose_attempt_was_given_back_is_completed
            a_payment_whose_reference_was_purged_is_not_completed
            a_payment_whose_account_was_told_before_a_purge_is_not_completed_again
            a_released_callback_gets_its_reference
            a_done_callback_can_be_handled_again
            a_purged_callback_contains_no_personal_data
            ready_callbacks_are_counted_per_kind
            a_store_belongs_to_one_inbox
            a_lost_lease_changes_nothing
            a_renewed_lease_is_not_reclaimed
            a_retry_is_due_later
            a_callback_can_be_recorded_with_a_delay
            a_snoozed_attempt_does_not_count
            a_dead_callback_runs_again_after_a_requeue
            a_held_callback_is_released_with_its_payment
            held_and_dead_callbacks_can_be_dismissed
            a_claim_returns_related_callbacks
            lists_are_filtered_and_paged
            find_returns_bodies
            a_purged_callback_is_still_recognised
            concurrent_purges_replace_a_key_once
            a_callback_from_the_future_does_not_block_a_purge
            callbacks_are_counted_per_state
            the_quarantine_is_trimmed_oldest_first
            a_dropped_call_is_all_or_nothing
            a_closed_store_returns_an_error
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

/// One `#[test]` per behaviour of adapters. The function mounts your inbox at `/pay`, serves it on a free
/// port of 127.0.0.1, and returns the address: `async fn serve(inbox: Inbox) -> SocketAddr`.
#[macro_export]
macro_rules! http_tests {
    ($serve:expr) => {
        $crate::http_tests! { @each $serve;
            every_kind_is_acknowledged_byte_for_byte
            verdicts_do_not_change_the_acknowledgement
            a_wrong_secret_is_an_unknown_path
            other_methods_are_not_allowed
            a_trailing_slash_is_the_same_url
            any_content_type_is_accepted
            a_chunked_body_is_read
            a_large_body_is_refused
            a_compressed_body_is_refused
            an_unparsable_body_is_stored_unchanged
            a_slow_body_times_out
            a_disconnect_after_the_body_changes_nothing
            the_client_ip_is_that_of_the_connection
            a_closed_inbox_acknowledges_nothing
            a_per_payment_url_speaks_for_its_payment_alone
            the_source_is_the_hop_beyond_the_proxies
            sources_that_are_not_listed_are_refused
            too_many_in_flight_are_refused
            a_flood_that_cannot_be_read_is_refused
            the_probe_reports_what_arrives_and_stores_nothing
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
            prepare_is_idempotent
            effects_and_key_are_committed_together
            a_second_key_is_committed_with_the_first
            a_rolled_back_transaction_leaves_no_effect_and_no_key
            a_dropped_transaction_leaves_no_effect_and_no_key
            keys_of_other_callbacks_do_not_matter
            exactly_one_of_racing_workers_applies
            a_transaction_that_the_database_ended_is_not_reused
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
