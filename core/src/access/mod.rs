//! Authentication of senders: the secret, signed per-payment URLs, the IP allowlist, trusted proxies, limits.

mod allowlist;
mod forbidden_words;
mod forwarded;
mod guard;
mod in_flight;
mod networks;
mod probe;
mod proxies;
mod refusal;
mod request;
mod safaricom;
mod secret;
mod token;

pub use self::allowlist::IpAllowlist;
pub use self::forbidden_words::{FORBIDDEN_WORDS, forbidden_word};
pub use self::forwarded::ForwardedHeader;
pub(crate) use self::guard::{Admitted, Guard};
pub(crate) use self::in_flight::{InFlightLimits, InFlightPermit};
pub use self::networks::AddressError;
pub(crate) use self::probe::{PROBE, SeenSender};
pub use self::proxies::{ClientIpError, TrustedProxies};
pub(crate) use self::refusal::Refusal;
pub use self::request::Request;
pub use self::safaricom::SAFARICOM_ADDRESSES;
pub use self::secret::{Secret, SecretError};
pub(crate) use self::token::{LONGEST_REFERENCE, TokenKey, is_reference};
