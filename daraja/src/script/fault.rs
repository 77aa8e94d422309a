//! Faults that were seen in the field. Each has one name, in Rust, in files of rules, over HTTP and in
//! the documentation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::product::Product::{self, BusinessPush, CustomerPayment, Payout, Push, Query, StandingOrder};

/// Something that goes wrong with a request or its callbacks. A fault is a timeline that is frozen
/// when the request is taken. [`ALL`](Fault::ALL) with [`name`](Fault::name),
/// [`timeline`](Fault::timeline) and [`evidence`](Fault::evidence) is the table of the
/// documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Fault {
    /// The callback arrives twice, with the same bytes.
    Duplicate,
    /// The callback arrives twice, the second time in other words: numbers as strings, members in
    /// another order.
    Variant,
    /// The callback arrives before the answer to its request.
    Early,
    /// The callback arrives ten minutes later.
    Late,
    /// The callback never arrives; queries tell the truth.
    Lost,
    /// The callback comes 30 s later, so those of later requests overtake it.
    Reordered,
    /// Only the queue timeout arrives.
    Timeout,
    /// The queue timeout arrives, and 30 s later the result.
    TimeoutThenSuccess,
    /// A failure is reported, and 40 s later the payment: 1037, or the code of the rule.
    SuccessAfterFailure,
    /// A payment is reported, and then a cancellation of it that did not happen.
    FailureAfterSuccess,
    /// The C2B confirmation of the same receipt arrives, too.
    Twin,
    /// The result arrives at the timeout URL.
    Swapped,
    /// The body is cut off in the middle.
    Malformed,
    /// The phone number is masked, as in C2B version 2.
    Masked,
    /// The phone number is hashed, as in C2B version 1.
    Hashed,
    /// The body takes four seconds to arrive.
    Slow,
    /// The answer to the request is an error, although the request was accepted.
    LostAnswer,
    /// Access tokens expire after the request.
    TokenExpires,
    /// The request is refused with a spike arrest.
    SpikeArrest,
    /// The first query is answered with 4999, the second with an empty error.
    FlakyQuery,
    /// The callback arrives over 20 connections at the same moment.
    Flood,
}

/// One row of the table.
struct Row {
    fault: Fault,
    name: &'static str,
    timeline: &'static str,
    evidence: &'static str,
    products: &'static [Product],
}

const CALLBACKS: &[Product] = &[Push, Payout, Query, CustomerPayment, BusinessPush, StandingOrder];
const REQUESTS: &[Product] = &[Push, Payout, Query, BusinessPush, StandingOrder];
const RESULTS: &[Product] = &[Payout, Query];

/// `A` is the answer to the request, `C(x)` a callback with result code x.
#[rustfmt::skip]
const TABLE: [Row; 21] = [
    Row { fault: Fault::Duplicate, name: "duplicate", timeline: "A, C(0), 1 s later the same bytes", evidence: "a log has the same 1032 twice", products: CALLBACKS },
    Row { fault: Fault::Variant, name: "variant", timeline: "A, C(0), 1 s later the same in other words", evidence: "the corpus has two forms of most bodies", products: CALLBACKS },
    Row { fault: Fault::Early, name: "early", timeline: "C(0), then A", evidence: "two commits of 121-platform", products: REQUESTS },
    Row { fault: Fault::Late, name: "late", timeline: "A, 10 min later C(0)", evidence: "the documentation of queue timeouts", products: CALLBACKS },
    Row { fault: Fault::Lost, name: "lost", timeline: "A, nothing; queries tell the truth", evidence: "measured: a callback that got a 500 is not sent again", products: CALLBACKS },
    Row { fault: Fault::Reordered, name: "reordered", timeline: "A, 30 s later C(0)", evidence: "reported by the community", products: CALLBACKS },
    Row { fault: Fault::Timeout, name: "timeout", timeline: "A, queue timeout", evidence: "the documentation", products: RESULTS },
    Row { fault: Fault::TimeoutThenSuccess, name: "timeout-then-success", timeline: "A, queue timeout, 30 s later C(0)", evidence: "121-platform", products: RESULTS },
    Row { fault: Fault::SuccessAfterFailure, name: "success-after-failure", timeline: "A, C(1037), 40 s later C(0)", evidence: "reported by the community", products: &[Push] },
    Row { fault: Fault::FailureAfterSuccess, name: "failure-after-success", timeline: "A, C(0), 1 s later C(1032), which is forged", evidence: "what an attacker with the URL can send", products: &[Push] },
    Row { fault: Fault::Twin, name: "twin", timeline: "A, C2B confirmation, C(0) of the same receipt", evidence: "a log of 2021", products: &[Push] },
    Row { fault: Fault::Swapped, name: "swapped", timeline: "A, C(0) at the timeout URL", evidence: "the official sample of pay bill payments", products: RESULTS },
    Row { fault: Fault::Malformed, name: "malformed", timeline: "A, C(0) cut off in the middle", evidence: "syntax errors in official samples", products: CALLBACKS },
    Row { fault: Fault::Masked, name: "masked", timeline: "A, C(0) with a masked phone number", evidence: "C2B version 2", products: &[Push, CustomerPayment] },
    Row { fault: Fault::Hashed, name: "hashed", timeline: "A, C(0) with a hashed phone number", evidence: "C2B version 1", products: &[Push, CustomerPayment] },
    Row { fault: Fault::Slow, name: "slow", timeline: "A, C(0) whose body takes 4 s", evidence: "assumed: a lossy network", products: CALLBACKS },
    Row { fault: Fault::LostAnswer, name: "lost-answer", timeline: "500 instead of A, C(0)", evidence: "the tests of kepas-tech", products: REQUESTS },
    Row { fault: Fault::TokenExpires, name: "token-expires", timeline: "A; all tokens are invalid from now on", evidence: "the documentation", products: REQUESTS },
    Row { fault: Fault::SpikeArrest, name: "spike-arrest", timeline: "500.003.02 instead of A, nothing", evidence: "the documentation", products: REQUESTS },
    Row { fault: Fault::FlakyQuery, name: "flaky-query", timeline: "A, C(0); the first two queries fail", evidence: "measured: 4 of 19 queries", products: &[Push] },
    Row { fault: Fault::Flood, name: "flood", timeline: "A, C(0) over 20 connections at once", evidence: "assumed: an outage ends", products: CALLBACKS },
];

/// Faults of which a request can have one. Each decides when, or whether, the callback arrives.
const TIMING: [Fault; 7] = [
    Fault::Early,
    Fault::Late,
    Fault::Lost,
    Fault::Reordered,
    Fault::Timeout,
    Fault::TimeoutThenSuccess,
    Fault::SpikeArrest,
];

/// Faults that need a callback, or the only one.
const NEED_A_CALLBACK: [Fault; 6] =
    [Fault::Duplicate, Fault::Variant, Fault::Malformed, Fault::Slow, Fault::Flood, Fault::Swapped];

impl Fault {
    /// Every fault, in the order of the documentation.
    pub const ALL: [Fault; 21] = {
        let mut all = [Fault::Duplicate; 21];
        let mut at = 0;
        while at < TABLE.len() {
            all[at] = TABLE[at].fault;
            at += 1;
        }
        all
    };

    #[allow(clippy::expect_used, reason = "a test looks up every fault")]
    fn row(self) -> &'static Row {
        TABLE.iter().find(|row| row.fault == self).expect("every fault has a row")
    }

    /// Returns its name: `timeout-then-success`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Returns what happens: `A` is the answer to the request, `C(x)` a callback with result code x.
    pub fn timeline(self) -> &'static str {
        self.row().timeline
    }

    /// Returns where it was seen.
    pub fn evidence(self) -> &'static str {
        self.row().evidence
    }

    /// Returns the names of the products that can have it: `push`, `payout`, `query`,
    /// `customer-payment`, `business-push`, `standing-order`.
    pub fn products(self) -> impl Iterator<Item = &'static str> {
        self.row().products.iter().map(|product| product.name())
    }

    pub(crate) fn fits(self, product: Product) -> bool {
        self.row().products.contains(&product)
    }

    /// Returns whether a request can have both.
    pub fn goes_with(self, other: Fault) -> bool {
        let pair = [self, other];
        let no_callback = |fault: &Fault| matches!(fault, Fault::Lost | Fault::Timeout | Fault::SpikeArrest);
        let both = |set: &[Fault]| self != other && pair.iter().all(|fault| set.contains(fault));
        let phone = [Fault::Masked, Fault::Hashed];
        let outcome = [Fault::SuccessAfterFailure, Fault::FailureAfterSuccess];
        let is_empty = pair.iter().any(no_callback) && pair.iter().any(|fault| NEED_A_CALLBACK.contains(fault));
        !(both(&TIMING) || both(&phone) || both(&outcome) || is_empty)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is not the name of a fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a fault; faults are: {all}", all = Fault::ALL.map(Fault::name).join(", "))]
pub struct UnknownFaultError(String);

impl FromStr for Fault {
    type Err = UnknownFaultError;

    fn from_str(name: &str) -> Result<Fault, UnknownFaultError> {
        let known = Fault::ALL.into_iter().find(|fault| fault.name() == name);
        known.ok_or_else(|| UnknownFaultError(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_one_name_everywhere() {
        for fault in Fault::ALL {
            assert_eq!(fault.name().parse(), Ok(fault));
            assert_eq!(serde_json::to_value(fault).unwrap(), fault.name());
            assert!(fault.products().count() > 0, "{fault}");
            assert!(fault.goes_with(fault));
        }
        assert!("sunday".parse::<Fault>().unwrap_err().to_string().contains("success-after-failure"));
        assert!(!Fault::Lost.goes_with(Fault::Duplicate) && !Fault::Early.goes_with(Fault::Late));
        assert!(Fault::Early.goes_with(Fault::Duplicate) && Fault::Twin.goes_with(Fault::Masked));
    }
}
