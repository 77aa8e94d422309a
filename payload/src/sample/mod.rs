//! Bodies as Daraja sends them, with the fields that a test cares about.

mod bodies;

use std::marker::PhantomData;

use self::bodies::body;
use crate::{
    Amount, B2bExpressCallback, B2bResult, B2cResult, BalanceResult, BillManagerPayment, C2bConfirmation,
    C2bValidation, Kind, LipiaCallback, Payment, QueueTimeout, RatibaCallback, ReversalResult, StatusResult,
    StkCallback, TaxResult,
};

/// A callback of KES 100 by `254708374149` that succeeded, with the changes of a test.
///
/// Every payload type has one: `StkCallback::sample()`. It turns into a body for
/// `TestInbox::deliver`, and into the payload for a direct call of the
/// handler. Ids and receipts are always the same; set [`key`](Sample::key) and
/// [`receipt`](Sample::receipt) for a second one.
///
/// ```
/// use mpesa_callbacks_payload::{Amount, StkCallback};
///
/// let paid = StkCallback::sample().amount(Amount::from_shillings(1500)).payload();
/// assert_eq!(paid.amount, Some(Amount::from_shillings(1500)));
/// assert!(paid.outcome().is_success());
/// let cancelled = StkCallback::sample().failed("1032").payload();
/// assert_eq!(cancelled.receipt, None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Sample<P> {
    kind: Kind,
    key: String,
    code: String,
    amount: Amount,
    receipt: String,
    phone: String,
    account: String,
    short_code: String,
    payload: PhantomData<P>,
}

impl<P> Sample<P> {
    fn new(kind: Kind) -> Sample<P> {
        Sample {
            key: match kind {
                Kind::Stk | Kind::Lipia => "ws_CO_191220191020363925".to_owned(),
                _ => "29112-34801843-1".to_owned(),
            },
            code: "0".to_owned(),
            amount: Amount::from_shillings(100),
            receipt: "NLJ7RT61SV".to_owned(),
            phone: "254708374149".to_owned(),
            account: "order-123".to_owned(),
            short_code: "600638".to_owned(),
            kind,
            payload: PhantomData,
        }
    }

    /// Returns the kind of the callback.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Daraja's id of the request, or of an invoice's payment. C2B callbacks have none: their key is
    /// the [receipt](Sample::receipt).
    pub fn key(mut self, key: impl Into<String>) -> Sample<P> {
        self.key = key.into();
        self
    }

    /// It failed with this result code: `"1032"` is a push that the customer cancelled. A validation
    /// and a payment of a customer cannot fail; they ignore it.
    pub fn failed(mut self, code: impl Into<String>) -> Sample<P> {
        self.code = code.into();
        self
    }

    /// Sets the amount. Default: KES 100.
    pub fn amount(mut self, amount: Amount) -> Sample<P> {
        self.amount = amount;
        self
    }

    /// M-Pesa's receipt. Default: `NLJ7RT61SV`, in all samples, so that the callbacks of an STK push
    /// and a C2B payment belong together.
    pub fn receipt(mut self, receipt: impl Into<String>) -> Sample<P> {
        self.receipt = receipt.into();
        self
    }

    /// Phone number of the customer, `2547…`. Default: `254708374149`.
    pub fn phone(mut self, phone: impl Into<String>) -> Sample<P> {
        self.phone = phone.into();
        self
    }

    /// Account number that the customer typed. Default: `order-123`.
    pub fn account(mut self, account: impl Into<String>) -> Sample<P> {
        self.account = account.into();
        self
    }

    /// Pay bill or till number. Default: `600638`.
    pub fn short_code(mut self, short_code: impl Into<String>) -> Sample<P> {
        self.short_code = short_code.into();
        self
    }

    /// Returns the body, in the shape in which Daraja sends it.
    pub fn to_body(&self) -> Vec<u8> {
        body(self)
    }
}

impl<P> From<Sample<P>> for Vec<u8> {
    fn from(sample: Sample<P>) -> Vec<u8> {
        sample.to_body()
    }
}

macro_rules! samples {
    ($($payload:ident: $kind:ident;)*) => {
        $(
            impl $payload {
                /// Returns a body of this kind for tests, as a builder. Feature `test-util`.
                pub fn sample() -> Sample<$payload> {
                    Sample::new(Kind::$kind)
                }
            }

            impl Sample<$payload> {
                /// Returns the payload, as a handler gets it.
                ///
                /// # Panics
                /// When a changed field makes it unreadable, like an empty key.
                #[allow(clippy::expect_used, reason = "a test wants to know")]
                pub fn payload(&self) -> $payload {
                    $payload::parse(&self.to_body()).expect("a sample that can be parsed")
                }
            }
        )*
    };
}

samples! {
    StkCallback: Stk;
    C2bConfirmation: C2bConfirmation;
    C2bValidation: C2bValidation;
    B2cResult: B2cResult;
    B2bResult: B2bResult;
    TaxResult: TaxResult;
    StatusResult: StatusResult;
    BalanceResult: BalanceResult;
    ReversalResult: ReversalResult;
    B2bExpressCallback: B2bExpress;
    RatibaCallback: Ratiba;
    BillManagerPayment: BillManager;
    LipiaCallback: Lipia;
    QueueTimeout: B2cTimeout;
    Payment: Payment;
}
