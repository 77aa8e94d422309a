//! A local Daraja: it speaks M-Pesa's HTTP API, rings a phone, and posts callbacks to your
//! application, with any fault that was seen in the field.
//!
//! It is not Safaricom's. Nothing leaves your machine: callbacks are posted to `127.0.0.1` only, or
//! to the address that you [forward to](Daraja::forward_to).
//!
//! ```
//! use std::time::Duration;
//!
//! use mpesa_callbacks_daraja::{Daraja, Fault, Push};
//!
//! # #[tokio::main]
//! # async fn main() -> std::io::Result<()> {
//! let daraja = Daraja::start().await?; // on a free port; time stands still
//! daraja.on(Push::from("254712345678")).pays().fault(Fault::Duplicate);
//! println!("point your client at {}", daraja.base_url());
//!
//! daraja.customer_pays("254712345678", "600638", 1500, "ORDER-7");
//! daraja.settled().await; // everything that Safaricom would ever send was sent
//! assert_eq!(daraja.exchange(0).unwrap().path, "customer pays");
//! # Ok(())
//! # }
//! ```
//!
//! # Outcomes without rules
//!
//! The phone number decides: a push or payout to `2547000xxxxx` ends with result code `xxxxx`.
//! `254700001032` cancels, `254700000001` lacks the money. All other numbers pay.
//!
//! # Time
//!
//! Time stands still until [`settled`](Daraja::settled), [`step`](Daraja::step) or
//! [`advance`](Daraja::advance) moves it, so a story of ten minutes takes milliseconds. With
//! [`DarajaBuilder::real_time`] it is the machine's. Ids and receipts come from the seed: the same
//! seed and the same requests give the same journal.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod api;
mod bank;
mod bodies;
mod control;
mod daraja;
mod fidelity;
mod post;
mod rule_builder;
mod script;
mod server;
mod state;
mod world;

pub use self::daraja::{Daraja, DarajaBuilder};
pub use self::fidelity::{Evidence, FIDELITY, Fidelity};
pub use self::post::{Callback, Exchange, Follower, Happening};
pub use self::rule_builder::RuleBuilder;
pub use self::script::{
    BusinessPush, CustomerPayment, Fault, Matcher, Payout, Push, Query, RuleError, StandingOrder, UnknownFaultError,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
