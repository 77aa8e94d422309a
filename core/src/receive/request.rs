//! The head of a request, free of any framework.

use std::net::IpAddr;

/// The head of a request, as an adapter tells it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) content_length: Option<u64>,
    pub(crate) content_encoding: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    /// The method, and the path below the place where the inbox is mounted: `/<secret>/stk`, as it was sent, neither
    /// decoded nor with the query.
    pub fn new(method: &'a str, path: &'a str) -> Request<'a> {
        Request { method, path, peer: None, content_length: None, content_encoding: None }
    }

    /// The address at the other end of the connection.
    #[must_use]
    pub fn peer(mut self, peer: Option<IpAddr>) -> Request<'a> {
        self.peer = peer;
        self
    }

    /// `Content-Length`, where it was sent.
    #[must_use]
    pub fn content_length(mut self, length: Option<u64>) -> Request<'a> {
        self.content_length = length;
        self
    }

    /// `Content-Encoding`, where it was sent.
    #[must_use]
    pub fn content_encoding(mut self, encoding: Option<&'a [u8]>) -> Request<'a> {
        self.content_encoding = encoding;
        self
    }
}
