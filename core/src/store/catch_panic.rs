//! A store is foreign code and may panic. A panic must not end the task that called it.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use super::StoreError;

/// Awaits a call of the store. A panic becomes an error; it was reported where it happened.
pub(crate) async fn catch_panic<T>(asking: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let mut asking = pin!(asking);
    let mut panicked = false;
    poll_fn(move |context| {
        // A future that panicked is not polled again.
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
