//! The head of a request, independent of any framework.

use std::fmt;
use std::net::IpAddr;

/// Returns the values of a header by its name in lower case, one per line.
type Headers<'a> = dyn Fn(&str) -> Vec<&'a [u8]> + Sync + 'a;

/// The head of a request, as an adapter passes it.
///
/// ```
/// use mpesa_callbacks_core::Request;
///
/// let headers = [("content-length", "2"), ("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "10.0.0.1")];
/// let values = |name: &str| {
///     headers.iter().filter(|(other, _)| *other == name).map(|(_, value)| value.as_bytes()).collect::<Vec<_>>()
/// };
/// let request = Request::new("POST", "/0123456789abcdef0123456789abcdef/stk", &values)
///     .peer(Some("127.0.0.1".parse()?));
/// # let _ = request;
/// # Ok::<_, std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) peer: Option<IpAddr>,
    headers: &'a Headers<'a>,
}

impl<'a> Request<'a> {
    /// `path` is the raw path below the mount, `/<secret>/stk`: neither decoded nor with the query.
    /// `headers` returns the values of a header by its name in lower case, one per line.
    pub fn new(
        method: &'a str,
        path: &'a str,
        headers: &'a (impl Fn(&str) -> Vec<&'a [u8]> + Sync + 'a),
    ) -> Request<'a> {
        Request { method, path, peer: None, headers }
    }

    /// Sets the IP address of the TCP peer, if the server knows it. Behind a proxy this is the
    /// proxy.
    #[must_use]
    pub fn peer(mut self, peer: Option<IpAddr>) -> Request<'a> {
        self.peer = peer;
        self
    }

    /// Returns the values of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<&'a [u8]> {
        (self.headers)(name)
    }

    /// `Content-Length`, if it is a number.
    pub(crate) fn content_length(&self) -> Option<u64> {
        std::str::from_utf8(self.header("content-length").first()?).ok()?.trim().parse().ok()
    }

    /// Returns whether the body is compressed. Java clients send `UTF-8` or an empty
    /// `Content-Encoding`, which is not compression.
    pub(crate) fn is_compressed(&self) -> bool {
        const COMPRESSIONS: [&[u8]; 8] =
            [b"gzip", b"x-gzip", b"deflate", b"br", b"zstd", b"compress", b"x-compress", b"dcb"];
        let is_compression = |coding: &[u8]| {
            let coding = coding.trim_ascii();
            COMPRESSIONS.iter().any(|compression| coding.eq_ignore_ascii_case(compression))
        };
        self.header("content-encoding").iter().any(|codings| codings.split(|byte| *byte == b',').any(is_compression))
    }
}

/// Without the path, which contains the secret.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("method", &self.method).field("peer", &self.peer).finish_non_exhaustive()
    }
}
