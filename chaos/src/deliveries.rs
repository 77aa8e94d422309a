//! What is sent, in which order.

/// One delivery: a callback, in one of two meanings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Which callback.
    pub number: usize,
    /// Whether it contradicts the usual one.
    pub contradicts: bool,
}

/// So many callbacks; one in five comes twice, three in a hundred are contradicted, and all are out of order.
pub fn deliveries(callbacks: usize, random: &mut fastrand::Rng) -> Vec<Delivery> {
    let mut all = Vec::with_capacity(callbacks * 5 / 4);
    for number in 0..callbacks {
        let usual = Delivery { number, contradicts: false };
        all.push(usual);
        if random.u32(0..100) < 20 {
            all.push(usual);
        }
        if random.u32(0..100) < 3 {
            all.push(Delivery { number, contradicts: true });
        }
    }
    // Each is moved by at most this much, so that duplicates come soon and late.
    let window = 2000.min(all.len().max(1));
    for at in 0..all.len() {
        let other = random.usize(at..all.len().min(at + window));
        all.swap(at, other);
    }
    all
}

impl Delivery {
    /// The callback's key, a `CheckoutRequestID`.
    pub fn key(number: usize) -> String {
        format!("ws_CO_{number:09}")
    }

    /// The receipt, which tells the two meanings apart.
    pub fn receipt(self) -> String {
        format!("{}{:09}", if self.contradicts { 'B' } else { 'A' }, self.number)
    }

    /// The delivery whose receipt this is.
    pub fn of_receipt(receipt: &str) -> Option<Delivery> {
        Some(Delivery { number: receipt.get(1..)?.parse().ok()?, contradicts: receipt.starts_with('B') })
    }

    /// Its body.
    pub fn body(self) -> String {
        format!(
            r#"{{"Body":{{"stkCallback":{{"MerchantRequestID":"1-1-1","CheckoutRequestID":"{}","ResultCode":0,"ResultDesc":"",
            "CallbackMetadata":{{"Item":[{{"Name":"Amount","Value":10.00}},{{"Name":"MpesaReceiptNumber","Value":"{}"}},
            {{"Name":"TransactionDate","Value":20260101120000}},{{"Name":"PhoneNumber","Value":254700000001}}]}}}}}}}}"#,
            Delivery::key(self.number),
            self.receipt()
        )
    }
}
