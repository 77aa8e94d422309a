//! The meaning of result codes per kind, with sources.
//!
//! Sources: **D3** Daraja 3.0 portal pages of December 2025, **D2** the version 2 pages, **LOG** a
//! published real callback, **G2** the list of the M-Pesa core that several SDKs contain, **COM**
//! community knowledge without evidence. The codes `00` to `41` that some lists have for STK belong
//! to the SOAP API before Daraja; no Daraja callback with one has been seen.

use std::time::Duration;

use crate::{Kind, Outcome};

/// Explanation of a result code in callbacks of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResultCodeInfo {
    /// The code as text, `1032` for example.
    pub code: &'static str,
    /// The event, in a few words for your own staff.
    pub text: &'static str,
    /// The party that can do something about it: the customer, you, or M-Pesa.
    pub category: ResultCategory,
    /// Outcome of the transaction.
    pub outcome: Outcome,
    /// Whether to try the same payment again.
    pub retry: RetryAdvice,
    /// Source of this row.
    pub source: &'static str,
}

/// The party that can do something about a result code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResultCategory {
    /// The transaction was carried out.
    Success,
    /// The customer: cancelled, wrong PIN, phone off, wrong recipient.
    Customer,
    /// Balances and limits: balance too low, amount too small or large.
    Funds,
    /// The merchant's configuration: credentials, permissions, short codes, parameters.
    Configuration,
    /// The same request was sent before.
    Duplicate,
    /// Still in progress, or unknown.
    Unknown,
    /// A failure of M-Pesa's own systems.
    System,
}

/// Whether to try the same payment again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryAdvice {
    /// No: it was carried out.
    Done,
    /// Yes, if the customer wants to.
    Yes,
    /// Yes, after this long.
    After(Duration),
    /// Yes, after the cause was fixed.
    AfterFix,
    /// Only if a transaction status query shows that it was not carried out.
    AfterStatusQuery,
    /// No: it would fail again.
    No,
}

/// Returns the row of a code in callbacks of this kind.
pub(crate) fn find(kind: &Kind, code: &str) -> Option<&'static ResultCodeInfo> {
    std::iter::once(&SUCCESS).chain(list(kind)).find(|row| row.code == code)
}

/// Returns all listed codes of callbacks of this kind.
pub fn list(kind: &Kind) -> &'static [ResultCodeInfo] {
    match kind {
        Kind::Stk | Kind::Lipia => STK,
        Kind::B2cResult => B2C,
        Kind::B2bResult | Kind::TaxResult => B2B,
        Kind::ReversalResult => REVERSAL,
        Kind::StatusResult => STATUS,
        Kind::BalanceResult => BALANCE,
        Kind::B2bExpress => B2B_EXPRESS,
        Kind::Ratiba => RATIBA,
        _ => &[],
    }
}

use Outcome::{Failed, Unknown as Unclear};
use ResultCategory::{Configuration, Customer, Duplicate, Funds, System, Unknown};
use RetryAdvice::{After, AfterFix, AfterStatusQuery, No, Yes};

const fn row(
    code: &'static str,
    text: &'static str,
    category: ResultCategory,
    outcome: Outcome,
    retry: RetryAdvice,
    source: &'static str,
) -> ResultCodeInfo {
    ResultCodeInfo { code, text, category, outcome, retry, source }
}

const fn minutes(minutes: u64) -> RetryAdvice {
    After(Duration::from_secs(60 * minutes))
}

static SUCCESS: ResultCodeInfo =
    row("0", "carried out", ResultCategory::Success, Outcome::Success, RetryAdvice::Done, "D3");

#[rustfmt::skip]
static STK: &[ResultCodeInfo] = &[
    row("1",          "the customer's balance is too low",                     Funds,         Failed,  AfterFix,       "D3 MpesaExpressSimulate, LOG 2021"),
    row("2",          "the amount is below the minimum",                       Funds,         Failed,  No,               "D3 MpesaExpressSimulate"),
    row("3",          "the amount is above the maximum",                       Funds,         Failed,  No,               "D3 MpesaExpressSimulate"),
    row("4",          "the customer's daily limit is used up",                 Funds,         Failed,  minutes(24 * 60), "D3 MpesaExpressSimulate"),
    row("8",          "the pay bill or till would exceed its maximum balance", Funds,         Failed,  AfterFix,       "D3 MpesaExpressSimulate"),
    row("11",         "the paying account is not active",                      Customer,      Failed,  AfterFix,       "LOG 2024"),
    row("17",         "the same amount from the same customer within two minutes", Duplicate, Failed,  minutes(2),       "D3 MpesaExpressSimulate"),
    row("26",         "the system is busy",                                    System,        Unclear, minutes(1),       "G2, COM"),
    row("1001",       "another session with this customer is open",            Unknown,       Unclear, minutes(2),       "COM; D3 as 500.001.1001"),
    row("1019",       "the transaction has expired",                           Unknown,       Unclear, AfterStatusQuery,        "LOG 2022, 2023"),
    row("1025",       "the prompt could not be sent; is it over 182 characters?", Configuration, Failed, AfterFix,     "D3 MpesaExpressSimulate"),
    row("9999",       "the prompt could not be sent, or the request is still under way", Unknown, Unclear, AfterStatusQuery,  "COM; three sources disagree"),
    row("1031",       "the customer cancelled",                                Customer,      Failed,  Yes,              "LOG 2021"),
    row("1032",       "the customer cancelled, or let the prompt pass",        Customer,      Failed,  Yes,              "D3 MpesaExpressSimulate"),
    row("1036",       "the phone did not acknowledge the prompt",              Customer,      Unclear, AfterStatusQuery,        "LOG 2019"),
    row("1037",       "the phone was unreachable, or nobody answered",         Customer,      Unclear, AfterStatusQuery,        "D3 MpesaExpressSimulate, LOG 2021, 2026"),
    row("2001",       "the customer entered a wrong PIN",                      Customer,      Failed,  Yes,              "D3 MpesaExpressSimulate"),
    row("2026",       "seen in production; its meaning is not known",          Unknown,       Unclear, AfterStatusQuery,        "LOG 2024"),
    row("2028",       "TransactionType and PartyB do not go together",         Configuration, Failed,  No,               "D3 MpesaExpressSimulate"),
    row("2029",       "the till and the pay bill do not go together",          Configuration, Failed,  AfterFix,       "COM"),
    row("3002",       "nobody answered (Ethiopia)",                            Customer,      Unclear, AfterStatusQuery,        "LOG 2024"),
    row("3007",       "nobody answered (Ethiopia)",                            Customer,      Unclear, AfterStatusQuery,        "COM"),
    row("4999",       "still under way: the customer has not answered yet",    Unknown,       Unclear, AfterStatusQuery,        "LOG 2025, STK query"),
    row("8006",       "the customer's PIN is locked",                          Customer,      Failed,  No,               "D3 MpesaExpressSimulate"),
    row("BW-JMS-100039", "seen in production; its meaning is not known",       Unknown,       Unclear, AfterStatusQuery,        "LOG 2024"),
    row("SFC_IC0003", "TransactionType or PartyB names no operator",           Configuration, Failed,  No,               "D3 MpesaExpressSimulate"),
];

#[rustfmt::skip]
static B2C: &[ResultCodeInfo] = &[
    row("1",          "the utility account's balance is too low",              Funds,         Failed,  AfterFix,       "D3 BusinessToCustomer"),
    row("2",          "the amount is below the minimum",                       Funds,         Failed,  No,               "D3 BusinessToCustomer"),
    row("3",          "the amount is above the maximum",                       Funds,         Failed,  No,               "D3 BusinessToCustomer"),
    row("4",          "a daily limit is used up, more likely the customer's",  Funds,         Failed,  minutes(24 * 60), "D3 BusinessToCustomer"),
    row("8",          "the customer would exceed the maximum balance",         Funds,         Failed,  AfterFix,       "D3 BusinessToCustomer"),
    row("11",         "the paying account is not active",                      Configuration, Failed,  AfterFix,       "D3 BusinessToCustomer"),
    row("15",         "the request was made before",                           Duplicate,     Unclear, AfterStatusQuery,        "G2"),
    row("17",         "internal failure",                                      System,        Unclear, AfterStatusQuery,        "G2"),
    row("20",         "the initiator is not known",                            Configuration, Unclear, AfterStatusQuery,        "G2"),
    row("21",         "the initiator has no B2C role",                         Configuration, Failed,  AfterFix,       "D3 BusinessToCustomer"),
    row("26",         "the system is busy",                                    System,        Unclear, AfterStatusQuery,        "G2"),
    row("2001",       "the initiator's name or credential is wrong",           Configuration, Failed,  AfterFix,       "D3 BusinessToCustomer"),
    row("2006",       "an account is not active",                              Configuration, Failed,  AfterFix,       "D3 BusinessToCustomer"),
    row("2028",       "the short code may not pay customers",                  Configuration, Failed,  AfterFix,       "D3 BusinessToCustomer, LOG 2018"),
    row("2051",       "the phone number is not valid",                         Customer,      Unclear, AfterStatusQuery,        "COM"),
    row("R002",       "the identity document's type is not known",             Customer,      Unclear, AfterStatusQuery,        "COM"),
    row("R003",       "the identity document is not the recipient's",          Customer,      Unclear, AfterStatusQuery,        "COM"),
    row("2040",       "the recipient is not registered with M-Pesa, or not of a supported type", Customer, Failed, No,   "D3 BusinessToCustomer, 2026"),
    row("8006",       "the API user's password is locked",                     Configuration, Failed,  AfterFix,       "D3 BusinessToCustomer"),
    row("SFC_IC0003", "the phone number is wrong or not with M-Pesa",          Customer,      Failed,  No,               "D3 BusinessToCustomer"),
];

#[rustfmt::skip]
static B2B: &[ResultCodeInfo] = &[
    // Only 2001 is documented; the others are hearsay. Money went out: query before paying again.
    row("1",          "the balance is too low",                                Funds,         Unclear, AfterStatusQuery,        "COM"),
    row("2",          "the amount is below the minimum",                       Funds,         Unclear, AfterStatusQuery,        "G2"),
    row("3",          "the amount is above the maximum",                       Funds,         Unclear, AfterStatusQuery,        "G2"),
    row("4",          "a daily limit is used up",                              Funds,         Unclear, AfterStatusQuery,        "G2"),
    row("7",          "the receiving party is not known",                      Configuration, Unclear, AfterStatusQuery,        "G2, COM"),
    row("8",          "the receiver would exceed the maximum balance",         Funds,         Unclear, AfterStatusQuery,        "G2"),
    row("11",         "the paying account is not active",                      Configuration, Unclear, AfterStatusQuery,        "G2, COM"),
    row("12",         "the receiving account is not active",                   Configuration, Unclear, AfterStatusQuery,        "G2"),
    row("14",         "the receiving account is not known",                    Configuration, Unclear, AfterStatusQuery,        "G2, COM"),
    row("15",         "the request was made before",                           Duplicate,     Unclear, AfterStatusQuery,        "G2"),
    row("17",         "internal failure",                                      System,        Unclear, AfterStatusQuery,        "G2"),
    row("20",         "the initiator is not known",                            Configuration, Unclear, AfterStatusQuery,        "G2"),
    row("21",         "the initiator may not do this",                         Configuration, Unclear, AfterStatusQuery,        "COM"),
    row("26",         "the system is busy",                                    System,        Unclear, AfterStatusQuery,        "G2"),
    row("1005",       "the account reference is not valid",                    Configuration, Unclear, AfterStatusQuery,        "COM"),
    row("2001",       "the initiator's name or credential is wrong",           Configuration, Failed,  AfterFix,       "D3 BusinessPayBill"),
    row("2006",       "an account is not active",                              Configuration, Unclear, AfterStatusQuery,        "COM"),
    row("2007",       "the receiver's validation refused it",                  Customer,      Unclear, AfterStatusQuery,        "COM"),
    row("2020",       "the amount is not written as an amount",                Configuration, Unclear, AfterStatusQuery,        "COM"),
    row("2028",       "the initiator may not do this",                         Configuration, Unclear, AfterStatusQuery,        "LOG 2020"),
    row("2029",       "no reason was resolved",                                System,        Unclear, AfterStatusQuery,        "COM"),
    row("2043",       "the receiver is not a child organisation",              Configuration, Unclear, AfterStatusQuery,        "COM"),
    row("2202",       "the account number is not valid",                       Configuration, Unclear, AfterStatusQuery,        "COM"),
    row("SFC_IC0003", "the receiving party is not valid",                      Configuration, Unclear, AfterStatusQuery,        "COM"),
];

#[rustfmt::skip]
static REVERSAL: &[ResultCodeInfo] = &[
    row("1",          "the balance is too low",                                Funds,         Failed,  AfterFix,       "D3 Reversal"),
    row("11",         "the account is not active",                             Configuration, Failed,  AfterFix,       "D3 Reversal"),
    row("21",         "the initiator has no reversals role",                   Configuration, Failed,  AfterFix,       "D3 Reversal"),
    row("2001",       "the initiator's name or credential is wrong",           Configuration, Failed,  AfterFix,       "D3 Reversal"),
    row("2006",       "an account is not active",                              Configuration, Failed,  AfterFix,       "D3 Reversal"),
    row("2028",       "the short code may not reverse",                        Configuration, Failed,  AfterFix,       "D3 Reversal"),
    row("8006",       "the API user's password is locked",                     Configuration, Failed,  AfterFix,       "D3 Reversal"),
    row("R000001",    "the transaction was reversed before",                   Duplicate,     Unclear, No,               "D3 Reversal"),
    row("R000002",    "there is no transaction with this id",                  Configuration, Failed,  No,               "D3 Reversal"),
];

// The codes of a query describe the query. They say nothing about the payment's outcome.
#[rustfmt::skip]
static STATUS: &[ResultCodeInfo] = &[
    row("7",          "the receiving party of the query is not valid",         Configuration, Unclear, AfterFix,       "COM"),
    row("25",         "a parameter of the query is not valid",                 Configuration, Unclear, AfterFix,       "COM, observed"),
    row("2001",       "the initiator's name or credential is wrong",           Configuration, Unclear, AfterFix,       "LOG 2024"),
    row("2032",       "there is no such receipt",                              Unknown,       Unclear, AfterFix,       "COM"),
    row("2033",       "there is no such receipt",                              Unknown,       Unclear, AfterFix,       "COM"),
    row("SFC_IC0003", "the operator does not exist",                           Configuration, Unclear, AfterFix,       "D3 TransactionStatus"),
];

#[rustfmt::skip]
static BALANCE: &[ResultCodeInfo] = &[
    row("15",           "the query was made before",                           Duplicate,     Unclear, minutes(1),       "D3 AccountBalance"),
    row("17",           "internal failure",                                    System,        Unclear, minutes(1),       "D3 AccountBalance"),
    row("18",           "the initiator's credential is wrong",                 Configuration, Failed,  AfterFix,       "D3 AccountBalance"),
    row("19",           "messages came out of order",                          System,        Unclear, minutes(1),       "D3 AccountBalance"),
    row("20",           "the initiator is not known",                          Configuration, Failed,  AfterFix,       "D3 AccountBalance"),
    row("21",           "the initiator may not ask",                           Configuration, Failed,  AfterFix,       "D3 AccountBalance"),
    row("22",           "the initiator may not ask for this party",            Configuration, Failed,  AfterFix,       "D3 AccountBalance"),
    row("24",           "a mandatory parameter is missing",                    Configuration, Failed,  AfterFix,       "D3 AccountBalance"),
    row("25",           "a parameter is not valid",                            Configuration, Failed,  AfterFix,       "D3 AccountBalance"),
    row("26",           "the system is busy",                                  System,        Unclear, minutes(1),       "D3 AccountBalance"),
    row("29",           "the command is not valid",                            Configuration, Failed,  AfterFix,       "D3 AccountBalance"),
    row("2001",         "the initiator's name or credential is wrong",         Configuration, Failed,  AfterFix,       "LOG 2020"),
    row("100000000",    "the query waits to be sent again",                    Unknown,       Unclear, minutes(1),       "D3 AccountBalance"),
    row("100000001",    "the system is overloaded",                            System,        Unclear, minutes(1),       "D3 AccountBalance"),
    row("100000002",    "too many queries",                                    System,        Unclear, minutes(1),       "D3 AccountBalance"),
    row("100000004",    "internal error",                                      System,        Unclear, minutes(1),       "D3 AccountBalance"),
    row("100000005",    "a parameter is not valid",                            Configuration, Failed,  AfterFix,       "D3 AccountBalance"),
    row("100000007",    "the service is out of order",                         System,        Unclear, minutes(1),       "D3 AccountBalance"),
    row("100000009",    "the API is out of order",                             System,        Unclear, minutes(1),       "D3 AccountBalance"),
    row("100000010",    "the permissions do not suffice",                      Configuration, Failed,  AfterFix,       "D3 AccountBalance"),
    row("100000011",    "too many queries",                                    System,        Unclear, minutes(1),       "D3 AccountBalance"),
    row("00.002.1001",  "the service is being maintained",                     System,        Unclear, minutes(10),      "D3 AccountBalance"),
];

#[rustfmt::skip]
static B2B_EXPRESS: &[ResultCodeInfo] = &[
    row("4001", "the other merchant cancelled",                                Customer,      Failed,  Yes,              "D3 B2BExpressCheckout"),
    row("4102", "the merchant is not fully known to M-Pesa (KYC)",             Configuration, Failed,  AfterFix,       "D3 B2BExpressCheckout"),
    row("4104", "the till has no nominated number",                            Configuration, Failed,  AfterFix,       "D3 B2BExpressCheckout"),
    row("4201", "USSD network error",                                          System,        Unclear, AfterStatusQuery,        "D3 B2BExpressCheckout"),
    row("4203", "USSD error",                                                  System,        Unclear, AfterStatusQuery,        "D3 B2BExpressCheckout"),
];

#[rustfmt::skip]
static RATIBA: &[ResultCodeInfo] = &[
    row("1001", "another session with this customer is open",                  Unknown,       Unclear, minutes(2),       "D3 MpesaRatiba"),
    row("1025", "the prompt could not be sent",                                Configuration, Failed,  AfterFix,       "D3 MpesaRatiba"),
    row("1032", "the customer cancelled",                                      Customer,      Failed,  Yes,              "D3 MpesaRatiba"),
    row("1037", "the phone was unreachable, or nobody answered",               Customer,      Unclear, AfterStatusQuery,        "D3 MpesaRatiba"),
    row("1050", "the customer has a standing order of this name",              Duplicate,     Failed,  AfterFix,       "D3 MpesaRatiba"),
    row("1051", "the request is not valid",                                    Configuration, Failed,  AfterFix,       "D3 MpesaRatiba"),
    row("2001", "the customer entered a wrong PIN",                            Customer,      Failed,  Yes,              "D3 MpesaRatiba"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_is_listed_twice_and_only_0_is_success() {
        for kind in Kind::built_in() {
            let rows = list(&kind);
            for (i, row) in rows.iter().enumerate() {
                assert!(rows[i + 1..].iter().all(|other| other.code != row.code), "{kind} {}", row.code);
                assert_ne!(row.outcome, Outcome::Success, "{kind} {}", row.code);
                assert!(!row.source.is_empty());
            }
        }
    }

    #[test]
    fn what_is_the_systems_or_nobodys_matter_is_never_called_failed() {
        for kind in Kind::built_in() {
            for row in list(&kind).iter().filter(|row| matches!(row.category, System | Unknown)) {
                assert_eq!(row.outcome, Unclear, "{kind} {}", row.code);
            }
        }
    }
}
