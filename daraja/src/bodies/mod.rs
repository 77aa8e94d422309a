//! How Daraja writes: bodies in its own order of members, ids and receipts of the right form.

mod c2b;
mod express;
mod ids;
mod json;
mod result;
mod time;

pub(crate) use self::c2b::{CustomerPayment, PhoneForm};
pub(crate) use self::express::{PushResult, Shape};
pub(crate) use self::ids::Ids;
pub(crate) use self::json::{Json, object};
pub(crate) use self::result::{ResultBody, parameter, timeout_body};
pub(crate) use self::time::{compact, dashed, dotted, parse_local, zulu};
