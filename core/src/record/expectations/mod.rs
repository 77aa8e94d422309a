//! Comparing callbacks with expectations.
//!
//! An expectation is a row of kind `overdue` that is due when its timeout is over. It is found by
//! its reference and, once Daraja's id is known, by that id, which is a second row. Whether it was
//! answered is read from the stored callbacks, so nothing has to be updated when one arrives. Another row says that
//! it was withdrawn. If the same is expected again, that is an expectation with a row and a timeout of its own.

mod again;
mod answers;
mod asked;
mod matching;
mod payers;

pub(crate) use self::again::{LookAgain, Pending};
pub(crate) use self::answers::{Answers, is_withdrawal};
pub(crate) use self::asked::{Asked, UNEXPECTED, names};
pub(crate) use self::matching::{ANOTHER_ID, Expecting, is_alone, objection_now, objection_to_payment};
pub(crate) use self::payers::{has_paid, was_taken};
