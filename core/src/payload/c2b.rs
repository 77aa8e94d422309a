//! Customer to business: pay bills and tills.

use super::digest::{ContentHasher, Digest};
use super::json::Object;
use super::{Amount, DarajaTime, Msisdn, ParseError, Payment, RawJson, Sensitive};
use crate::kind::Kind;

/// Validation and confirmation carry the same members; only the URL tells them apart.
macro_rules! c2b_payload {
    ($(#[$documentation:meta])* $name:ident, $kind:expr) => {
        $(#[$documentation])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            /// `TransactionType`: `Pay Bill` or `Buy Goods`; empty in some sandbox bodies.
            pub transaction_type: Option<String>,
            /// M-Pesa's receipt, `TransID`: the key. The same in the validation and the confirmation of a payment, and
            /// in the STK callback of a push that led to it.
            pub trans_id: String,
            /// When, `TransTime`.
            pub trans_time: Option<DarajaTime>,
            /// How much, `TransAmount`.
            pub amount: Option<Amount>,
            /// The pay bill or till number, `BusinessShortCode`.
            pub business_short_code: Option<String>,
            /// What the customer typed as account number, `BillRefNumber`, to the letter; up to 20 characters, white space
            /// included ([`trimmed`](Sensitive::trimmed) is without). Often a phone number. Tills have none.
            pub bill_ref_number: Option<Sensitive>,
            /// `InvoiceNumber`; nearly always empty.
            pub invoice_number: Option<Sensitive>,
            /// The short code's balance after the payment, `OrgAccountBalance`; empty in validations.
            pub org_account_balance: Option<Amount>,
            /// What the answer to the validation gave as `ThirdPartyTransID`.
            pub third_party_trans_id: Option<String>,
            /// Who pays: whole, masked or hashed, by the version of the API that the URLs were registered with.
            pub msisdn: Option<Msisdn>,
            /// The payer's first name, padded with blanks at times; any of the names may be missing or stars.
            pub first_name: Option<Sensitive>,
            /// The payer's middle name.
            pub middle_name: Option<Sensitive>,
            /// The payer's last name.
            pub last_name: Option<Sensitive>,
            /// All that was sent.
            pub raw: RawJson,
        }

        impl $name {
            /// Reads a callback's body.
            pub fn parse(body: &[u8]) -> Result<$name, ParseError> {
                super::read(body, $name::read)
            }

            pub(super) fn read(root: Object<'_, '_>, raw: RawJson) -> Result<$name, ParseError> {
                Ok($name {
                    transaction_type: match root.string("TransactionType")? {
                        Some(name) => Some(name),
                        None => root.string("TransType")?,
                    },
                    trans_id: root.id("TransID")?.ok_or(ParseError::NoKey { field: "TransID" })?,
                    trans_time: root.time("TransTime")?,
                    amount: root.amount("TransAmount")?,
                    business_short_code: root.id("BusinessShortCode")?,
                    // NCBA's pay bill: the order is in `Narrative`, and `BillRefNumber` is the merchant's own account there.
                    bill_ref_number: match root.private("Narrative")? {
                        Some(order) => Some(order),
                        None => root.private("BillRefNumber")?,
                    },
                    invoice_number: root.private("InvoiceNumber")?,
                    org_account_balance: root.text("OrgAccountBalance")?.and_then(|text| text.parse().ok()),
                    third_party_trans_id: root.string("ThirdPartyTransID")?,
                    // The same sender: the phone in `Mobile`, the whole name in `name`.
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

            /// The payer's names, those that are there, with spaces between; stars are as good as missing.
            pub fn full_name(&self) -> Option<Sensitive> {
                let names = [&self.first_name, &self.middle_name, &self.last_name];
                let shown = names.into_iter().flatten().map(Sensitive::trimmed);
                let shown: Vec<&str> = shown.filter(|name| !name.chars().all(|c| c == '*')).collect();
                (!shown.is_empty()).then(|| Sensitive::from(shown.join(" ")))
            }

            pub(super) fn content_digest(&self) -> Digest {
                // People type accounts in either case; what was reconciled may be written in the other.
                let account = self.bill_ref_number.as_ref().map(|account| account.trimmed().to_lowercase());
                ContentHasher::of(&$kind).amount(self.amount).text(account.as_deref()).digest()
            }

            /// What is compared only where two both tell it: the short code. What was reconciled may not have one.
            pub(super) fn detail(&self) -> Option<Digest> {
                let short_code = self.business_short_code.as_deref()?;
                Some(ContentHasher::of(&$kind).text(Some(short_code)).digest())
            }
        }
    };
}

c2b_payload! {
    /// M-Pesa asks whether a payment to a pay bill or till is welcome, and waits about 8 seconds for the answer.
    ///
    /// Only short codes for which Safaricom has switched external validation on are asked. When no answer comes in time,
    /// the `ResponseType` given at registration decides; so a confirmation is money received, whatever was answered.
    C2bValidation, Kind::C2bValidation
}

c2b_payload! {
    /// A customer paid a pay bill or till number. It is done: there is nothing left to refuse.
    ///
    /// It comes for payments made on the phone, and for STK pushes too when the short code has C2B URLs registered.
    C2bConfirmation, Kind::C2bConfirmation
}

impl C2bConfirmation {
    /// The payment, with what else is told of it.
    pub(super) fn complete(&self, mut payment: Payment) -> Payment {
        payment.time = self.trans_time;
        payment.msisdn.clone_from(&self.msisdn);
        payment.payer = self.full_name();
        payment.account.clone_from(&self.bill_ref_number);
        payment.business_short_code.clone_from(&self.business_short_code);
        payment
    }
}
