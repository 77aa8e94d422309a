//! A context for a direct call of a handler.

use crate::Kind;
use crate::handler::CallbackContext;
use crate::payload::Sensitive;

use super::TestInbox;

impl CallbackContext {
    /// Returns a context of this kind for a direct call of a handler: id 1, first attempt. Feature
    /// `test-util`.
    ///
    /// [`inbox`](CallbackContext::inbox) is the given one. Set what the handler reads:
    ///
    /// ```
    /// # use mpesa_callbacks_core::{CallbackContext, HandlerArgs, HandlerFuture, Inbox, Kind, MpesaCallbacks, Routes};
    /// # struct Shop;
    /// # impl MpesaCallbacks for Shop {
    /// #     fn routes(&self) -> Routes { Routes::new() }
    /// # }
    /// # async fn example() {
    /// let inbox = Inbox::for_test(Shop).await;
    /// let ctx = CallbackContext::for_test(&inbox, Kind::Stk).set_reference("order-123").set_attempt(2);
    /// assert_eq!((ctx.reference(), ctx.attempt()), (Some("order-123"), 2));
    /// # }
    /// ```
    pub fn for_test(inbox: &TestInbox, kind: Kind) -> CallbackContext {
        let (handle, now) = inbox.handle();
        CallbackContext::of_test(&handle, kind, now)
    }

    /// Sets the reference, in tests.
    #[must_use]
    pub fn set_reference(self, reference: impl Into<String>) -> CallbackContext {
        self.with_reference(Some(Sensitive::from(reference.into())))
    }

    /// Sets the number of the attempt, in tests.
    #[must_use]
    pub fn set_attempt(mut self, attempt: u32) -> CallbackContext {
        self.attempt = attempt;
        self
    }

    /// Sets the key, in tests.
    #[must_use]
    pub fn set_key(mut self, key: impl Into<String>) -> CallbackContext {
        self.key = Sensitive::from(key.into());
        self
    }
}
