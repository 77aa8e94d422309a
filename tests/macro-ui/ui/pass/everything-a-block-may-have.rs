//! Generics, lifetimes, where clauses, constants, macros, plain methods, cfg, aliases and qualified paths.
#![deny(warnings, missing_docs)]

use std::fmt::Debug;
use std::marker::PhantomData;

use mpesa_callbacks::prelude::*;

type Callback = StkCallback;
type Delivered = mpesa_callbacks::CallbackContext;

/// A shop with a database of any type.
pub struct Shop<'a, D: 'a, const N: usize>
where
    D: Debug,
{
    database: D,
    marker: PhantomData<&'a D>,
}

macro_rules! constant {
    () => {
        /// From a macro.
        pub const FROM_MACRO: u32 = 1;
    };
}

#[mpesa_callbacks]
impl<'a, D, const N: usize> Shop<'a, D, N>
where
    D: Debug + Send + Sync + 'a,
{
    /// A constant.
    pub const LIMIT: usize = { N + 1 };

    constant!();

    /// An ordinary function.
    pub const fn new(database: D) -> Self {
        Shop { database, marker: PhantomData }
    }

    /// An alias, by pattern, with attributes of others.
    #[stk(path = "/push/", max_retries = 0, timeout = "5m")]
    #[must_use]
    #[allow(clippy::unused_async)]
    pub(crate) async fn paid(&self, Callback { amount, .. }: Callback) -> Result<(), std::io::Error> {
        let _ = (amount, &self.database);
        Ok(())
    }

    #[payment]
    async fn money(&self, mut payment: mpesa_callbacks::payload::Payment, ctx: &'_ mpesa_callbacks::CallbackContext) {
        payment.receipt.clear();
        let _: &Delivered = ctx;
    }

    #[cfg(any())]
    #[lipia]
    async fn not_compiled(&self, _: NoSuchType) {}

    #[cfg(all())]
    #[lipia]
    async fn compiled(&self, _: LipiaCallback) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Err("text".into())
    }

    #[cfg(any())]
    #[ratiba]
    async fn one(&self, _: RatibaCallback) {}

    #[cfg(all())]
    #[ratiba]
    async fn or_the_other(&self, _: RatibaCallback) -> Result<(), String> {
        Ok(())
    }

    #[callback(path = "/one", key = "/id")]
    async fn first(&self, _: Vec<u8>, ctx: &CallbackContext) {
        let _ = ctx.attempt();
    }

    #[callback(path = "/two", key = "/data/id", ack_body = "{}")]
    async fn second(&self, _: std::collections::HashMap<String, String>) -> Result<(), String> {
        Ok(())
    }
}

fn main() {
    let shop: Shop<'static, u8, 3> = Shop::new(1);
    let _ = Inbox::builder(shop);
    let _ = (Shop::<u8, 3>::LIMIT, Shop::<u8, 3>::FROM_MACRO);
}
