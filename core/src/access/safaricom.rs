//! The addresses of Safaricom's production gateway.

/// Addresses of Safaricom's production gateway.
///
/// Source: "Going live" in Safaricom's developer documentation (portal version 2), confirmed by
/// others in September 2026. The sandbox has been seen to use one of them, and is reported to use
/// others. Further addresses circulate (196.201.212.128, 196.201.212.132, whole networks) that no
/// page of Safaricom contains.
pub const SAFARICOM_ADDRESSES: [&str; 12] = [
    "196.201.214.200",
    "196.201.214.206",
    "196.201.214.207",
    "196.201.214.208",
    "196.201.213.114",
    "196.201.213.44",
    "196.201.212.127",
    "196.201.212.138",
    "196.201.212.129",
    "196.201.212.136",
    "196.201.212.74",
    "196.201.212.69",
];
