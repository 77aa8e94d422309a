//! The fields of payloads: amounts, phone numbers, times, result codes.

mod account;
mod amount;
mod catalogue;
mod key_time;
mod msisdn;
mod outcome;
mod parameters;
mod party;
mod result_code;
mod sensitive;
mod time;

pub use self::account::{AccountBalance, BalanceAmount, Charge};
pub use self::amount::{Amount, ParseAmountError};
pub use self::catalogue::{ResultCategory, ResultCodeInfo, RetryAdvice, list as result_codes};
pub use self::key_time::time_prefix;
pub use self::msisdn::Msisdn;
pub use self::outcome::Outcome;
pub(crate) use self::parameters::Entries;
pub use self::parameters::{Parameter, Parameters};
pub use self::party::Party;
pub use self::result_code::ResultCode;
pub use self::sensitive::Sensitive;
pub use self::time::DarajaTime;
