//! From a request to its acknowledgement: the first page of a callback's life, one file a step.

mod acknowledge;
mod parse;
mod probe;
mod read;
mod receiver;
mod route;
mod validate;

pub use self::acknowledge::Acknowledgement;
pub(crate) use self::parse::Parser;
pub(crate) use self::probe::Probe;
pub(crate) use self::read::BodyReader;
pub(crate) use self::receiver::Receiver;
pub(crate) use self::validate::Validator;
