//! Safaricom's list.

/// The addresses that Safaricom's production gateway calls from.
///
/// Source: "Going live" in Safaricom's developer documentation (version 2 of the portal), still the same when others
/// checked it in September 2026. The sandbox has been seen to call from one of them too, and is said to use others.
/// Further addresses circulate (196.201.212.128, 196.201.212.132, whole networks) that no page of Safaricom's has.
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
