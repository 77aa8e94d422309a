//! Comparing callbacks with expectations.
//!
//! An expectation is a row of kind `overdue` that is due when its timeout is over. It is found by
//! its reference and, once Daraja's id is known, by that id, which is a second row. Whether it was
//! answered is read from the stored callbacks, so nothing has to be updated when one arrives. Another row says that
//! it was withdrawn, and yet another that the same is expected again.

mod again;
mod answers;
mod asked;
mod matching;
mod payers;

pub(crate) use self::again::{LookAgain, Pending};
pub(crate) use self::answers::{Answers, Change, tells_the_outcome};
pub(crate) use self::asked::{Asked, UNEXPECTED, names};
pub(crate) use self::matching::{ANOTHER_ID, Expecting, objection_now};
pub(crate) use self::payers::{has_paid, was_taken};
