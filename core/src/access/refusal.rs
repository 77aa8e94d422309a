//! Why a request is not acknowledged.

/// Why a request is not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Wrong secret or unknown path; the response is the same.
    NotFound,
    /// Right secret, but the client IP is not allowed or not known.
    Forbidden,
    /// Too many requests in flight, for this class of senders or this client IP.
    Busy,
    /// Known path, but not POST.
    MethodNotAllowed,
    /// The body is incomplete.
    CutOff,
    /// The body did not arrive in time.
    TooSlow,
    /// The body is too large.
    TooLarge,
    /// The body is compressed.
    Compressed,
    /// Too many validations in flight: answered with the fallback.
    Undecided(String),
    /// Rate limit of the quarantine, or of one per-payment URL.
    Flooded,
    /// The callback was not recorded, so it is not acknowledged.
    Unavailable,
}
