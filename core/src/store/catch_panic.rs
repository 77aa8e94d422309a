//! A store is somebody's code, and may panic. That must not end the task that asked it.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use super::StoreError;

/// What the store answers; a panic is an error like another, and was printed where it happened.
pub(crate) async fn catch_panic<T>(asking: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let mut asking = pin!(asking);
    let mut panicked = false;
    poll_fn(move |context| {
        // Not polled again after it panicked.
        if panicked {
            return Poll::Ready(Err(StoreError::Closed));
        }
        match catch_unwind(AssertUnwindSafe(|| asking.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(_) => {
                panicked = true;
                Poll::Ready(Err(StoreError::Unavailable("the store panicked".into())))
            }
        }
    })
    .await
}
