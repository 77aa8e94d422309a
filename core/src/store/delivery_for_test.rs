//! Deliveries for tests of stores.

use std::time::SystemTime;

use bytes::Bytes;

use super::Delivery;
use crate::Kind;
use crate::handler::{Route, Routes};
use crate::payload::{self, ParseError};

impl Delivery {
    /// Parses a body of this kind, with its payment, for tests of stores. Feature `test-util`.
    ///
    /// # Errors
    /// When it cannot be parsed.
    pub fn parse(kind: &Kind, body: &[u8], received_at: SystemTime) -> Result<Delivery, ParseError> {
        let body = Bytes::copy_from_slice(body);
        let parsed = payload::parse_bytes(kind, &body, None, None)?;
        let routes = [parsed.kind.clone(), Kind::Payment].map(Route::new);
        let routes = routes.into_iter().fold(Routes::new(), Routes::with);
        Ok(crate::record::delivery_of(&parsed, body, received_at, &routes))
    }
}
