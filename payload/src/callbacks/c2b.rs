//! Customer to business: pay bills and tills.

use std::borrow::Cow;

use crate::digest::{ContentHasher, Digest};
use crate::json::Object;
use crate::payload::Payload;
use crate::{Amount, DarajaTime, Kind, Msisdn, Outcome, ParseError, Payment, RawJson, RequestFacts, Sensitive};

/// Validations and confirmations have the same fields.
macro_rules! c2b_payload {
    ($(#[$documentation:meta])* $name:ident) => {
        $(#[$documentation])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            /// `TransactionType`: `Pay Bill` or `Buy Goods`; empty in some sandbox bodies.
            pub transaction_type: Option<String>,
            /// M-Pesa's receipt, `TransID`: the key. It is the same in validation and confirmation,
            /// and in the STK callback of the push that caused the payment.
            pub trans_id: String,
            /// Time of the payment, `TransTime`.
            pub trans_time: Option<DarajaTime>,
            /// `TransAmount`: the amount that the customer pays, in KES.
            pub amount: Option<Amount>,
            /// The pay bill or till number, `BusinessShortCode`.
            pub business_short_code: Option<String>,
            /// The account number that the customer typed, `BillRefNumber`, unchanged: up to 20
            /// characters, including white space ([`trimmed`](Sensitive::trimmed) removes it).
            /// Often a phone number. Tills have none.
            pub bill_ref_number: Option<Sensitive>,
            /// `InvoiceNumber`; nearly always empty.
            pub invoice_number: Option<Sensitive>,
            /// Balance of the short code after the payment, `OrgAccountBalance`, in KES; empty in
            /// validations.
            pub org_account_balance: Option<Amount>,
            /// The `ThirdPartyTransID` of the response to the validation.
            pub third_party_trans_id: Option<String>,
            /// Phone number of the payer: plain, masked or hashed, depending on the version of the
            /// API that registered the URLs.
            pub msisdn: Option<Msisdn>,
            /// First name of the payer, sometimes padded with blanks. Any of the names may be
            /// missing or masked with stars.
            pub first_name: Option<Sensitive>,
            /// Middle name of the payer.
            pub middle_name: Option<Sensitive>,
            /// Last name of the payer.
            pub last_name: Option<Sensitive>,
            /// The body as JSON.
            pub raw: RawJson,
        }

        impl $name {
            /// Parses a callback's body.
            pub fn parse(body: &[u8]) -> Result<$name, ParseError> {
                crate::parse::read(body, $name::read)
            }

            pub(crate) fn read(root: Object<'_, '_>, raw: RawJson) -> Result<$name, ParseError> {
                Ok($name {
                    transaction_type: match root.string("TransactionType")? {
                        Some(name) => Some(name),
                        None => root.string("TransType")?,
                    },
                    trans_id: root.id("TransID")?.ok_or(ParseError::NoKey { field: "TransID" })?,
                    trans_time: root.time("TransTime")?,
                    amount: root.amount("TransAmount")?,
                    business_short_code: root.id("BusinessShortCode")?,
                    // NCBA's pay bill puts the order into `Narrative`, and the merchant's own
                    // account into `BillRefNumber`.
                    bill_ref_number: match root.private("Narrative")? {
                        Some(order) => Some(order),
                        None => root.private("BillRefNumber")?,
                    },
                    invoice_number: root.private("InvoiceNumber")?,
                    org_account_balance: root.text("OrgAccountBalance")?.and_then(|text| text.parse().ok()),
                    third_party_trans_id: root.string("ThirdPartyTransID")?,
                    // NCBA puts the phone number into `Mobile`, and the full name into `name`.
                    msisdn: match root.msisdn("MSISDN")? {
                        Some(msisdn) => Some(msisdn),
                        None => root.msisdn("Mobile")?,
                    },
                    first_name: match root.private("FirstName")? {
                        Some(name) => Some(name),
                        None => root.private("name")?,
                    },
                    middle_name: root.private("MiddleName")?,
                    last_name: root.private("LastName")?,
                    raw,
                })
            }

            /// Returns the payer's names joined by spaces, without those that are missing or
            /// masked.
            pub fn full_name(&self) -> Option<Sensitive> {
                let names = [&self.first_name, &self.middle_name, &self.last_name];
                let shown = names.into_iter().flatten().map(Sensitive::trimmed);
                let shown: Vec<&str> = shown.filter(|name| !name.chars().all(|c| c == '*')).collect();
                (!shown.is_empty()).then(|| Sensitive::from(shown.join(" ")))
            }
        }
    };
}

/// Returns the digest of amount and account.
fn content_digest(kind: &Kind, amount: Option<Amount>, account: Option<&Sensitive>) -> Digest {
    // Customers type accounts in either case, and so may a reconciliation.
    let account = account.map(|account| account.trimmed().to_lowercase());
    ContentHasher::of(kind).amount(amount).text(account.as_deref()).digest()
}

/// Returns the digest of the short code, compared only if both callbacks have one. A reconciliation may
/// have none.
fn detail(kind: &Kind, short_code: Option<&str>) -> Option<Digest> {
    short_code.map(|short_code| ContentHasher::of(kind).text(Some(short_code)).digest())
}

c2b_payload! {
    /// M-Pesa requests a decision whether a payment to a pay bill or till is welcome, and waits about 8 seconds
    /// for the response.
    ///
    /// Only short codes with external validation enabled by Safaricom get them. Without a response
    /// in time, the `ResponseType` of the registration decides, so a confirmation is money received
    /// even if the validation rejected it.
    C2bValidation
}

c2b_payload! {
    /// A customer paid a pay bill or till number. The payment is final.
    ///
    /// It is sent for payments by phone menu, and for STK pushes to a short code with registered
    /// C2B URLs.
    C2bConfirmation
}

impl Payload for C2bValidation {
    fn key(&self) -> Option<Cow<'_, str>> {
        Some(self.trans_id.as_str().into())
    }

    /// None: the payment has not been made yet.
    fn outcome(&self) -> Option<Outcome> {
        None
    }

    fn content_digest(&self, kind: &Kind) -> Digest {
        content_digest(kind, self.amount, self.bill_ref_number.as_ref())
    }

    fn detail(&self) -> Option<Digest> {
        detail(&Kind::C2bValidation, self.business_short_code.as_deref())
    }
}

impl Payload for C2bConfirmation {
    fn key(&self) -> Option<Cow<'_, str>> {
        Some(self.trans_id.as_str().into())
    }

    fn outcome(&self) -> Option<Outcome> {
        Some(Outcome::Success)
    }

    fn content_digest(&self, kind: &Kind) -> Digest {
        content_digest(kind, self.amount, self.bill_ref_number.as_ref())
    }

    fn detail(&self) -> Option<Digest> {
        detail(&Kind::C2bConfirmation, self.business_short_code.as_deref())
    }

    fn receipt(&self) -> Option<&str> {
        Some(&self.trans_id)
    }

    fn amount(&self) -> Option<Amount> {
        self.amount
    }

    fn complete(&self, mut payment: Payment) -> Payment {
        payment.time = self.trans_time;
        payment.msisdn.clone_from(&self.msisdn);
        payment.payer = self.full_name();
        payment.account.clone_from(&self.bill_ref_number);
        payment.business_short_code.clone_from(&self.business_short_code);
        payment
    }

    fn tell(&self, facts: RequestFacts) -> RequestFacts {
        let (business_short_code, account) = (self.business_short_code.clone(), self.bill_ref_number.clone());
        RequestFacts { business_short_code, account, tells_amounts: true, ..facts }
    }
}
