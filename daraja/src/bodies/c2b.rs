//! Bodies of C2B.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::json::{Json, object};
use super::time::compact;
use crate::script::Fault;

/// The form of a phone number in a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PhoneForm {
    /// `254708374149`.
    Plain,
    /// `2547 ***** 149`: C2B version 2.
    Masked,
    /// SHA-256, in hexadecimal digits: C2B version 1.
    Hashed,
}

impl PhoneForm {
    /// Returns the form that a fault demands.
    pub(crate) fn of(faults: &[Fault]) -> Option<PhoneForm> {
        match faults {
            faults if faults.contains(&Fault::Masked) => Some(PhoneForm::Masked),
            faults if faults.contains(&Fault::Hashed) => Some(PhoneForm::Hashed),
            _ => None,
        }
    }

    /// Writes a phone number in this form.
    pub(crate) fn write(self, phone: &str) -> String {
        match self {
            PhoneForm::Plain => phone.to_owned(),
            PhoneForm::Masked if phone.len() > 7 => format!("{} ***** {}", &phone[..4], &phone[phone.len() - 3..]),
            PhoneForm::Masked => "*****".to_owned(),
            PhoneForm::Hashed => HEXLOWER.encode(&Sha256::digest(phone)),
        }
    }
}

/// A payment of a customer to a short code.
#[derive(Clone, Debug)]
pub(crate) struct CustomerPayment {
    pub(crate) receipt: String,
    pub(crate) at: i64,
    /// Whole shillings.
    pub(crate) amount: i64,
    pub(crate) short_code: String,
    pub(crate) account: String,
    /// Balance of the short code afterwards, in shillings; empty in validations.
    pub(crate) balance: Option<i64>,
    /// The `ThirdPartyTransID` of the answer to the validation.
    pub(crate) third_party_trans_id: String,
    /// Phone number of the customer.
    pub(crate) payer: String,
    /// The same in the form of the callback.
    pub(crate) phone: String,
    pub(crate) is_till: bool,
}

impl CustomerPayment {
    /// Returns the body of a validation or confirmation. Since 2022 the first name is the only one.
    pub(crate) fn body(&self) -> Json {
        let balance = self.balance.map(|shillings| format!("{shillings}.00")).unwrap_or_default();
        object([
            ("TransactionType", if self.is_till { "Buy Goods" } else { "Pay Bill" }.into()),
            ("TransID", Json::from(&self.receipt)),
            ("TransTime", compact(self.at).into()),
            ("TransAmount", format!("{}.00", self.amount).into()),
            ("BusinessShortCode", Json::from(&self.short_code)),
            ("BillRefNumber", Json::from(&self.account)),
            ("InvoiceNumber", "".into()),
            ("OrgAccountBalance", balance.into()),
            ("ThirdPartyTransID", Json::from(&self.third_party_trans_id)),
            ("MSISDN", Json::from(&self.phone)),
            ("FirstName", "NICHOLAS".into()),
            ("MiddleName", "".into()),
            ("LastName", "".into()),
        ])
    }
}
