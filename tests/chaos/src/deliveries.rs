//! The deliveries of a run, and their order.

/// One delivery: a callback, in one of three meanings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Which callback.
    pub number: usize,
    /// Its content.
    pub meaning: Meaning,
}

/// The content of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It was paid.
    Paid,
    /// It was paid, by another receipt: one of the two contradicts.
    PaidOtherwise,
    /// The outcome is unknown.
    Unknown,
}

impl Meaning {
    /// All of them, in the order of their values.
    pub const ALL: [Meaning; 3] = [Meaning::Paid, Meaning::PaidOtherwise, Meaning::Unknown];
}

/// So many callbacks; one in five comes twice, three in a hundred are contradicted, of five in a hundred the outcome is also told
/// as unknown, and all are out of order.
pub fn deliveries(callbacks: usize, random: &mut fastrand::Rng) -> Vec<Delivery> {
    let mut all = Vec::with_capacity(callbacks * 5 / 4);
    for number in 0..callbacks {
        let usual = Delivery { number, meaning: Meaning::Paid };
        all.push(usual);
        if random.u32(0..100) < 20 {
            all.push(usual);
        }
        if random.u32(0..100) < 3 {
            all.push(Delivery { number, meaning: Meaning::PaidOtherwise });
        }
        if random.u32(0..100) < 5 {
            all.push(Delivery { number, meaning: Meaning::Unknown });
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

    /// The callback with this key.
    pub fn number_of(key: &str) -> Option<usize> {
        key.strip_prefix("ws_CO_")?.parse().ok()
    }

    /// The receipt, if there is one: it distinguishes the contents.
    pub fn receipt(self) -> Option<String> {
        let letter = match self.meaning {
            Meaning::Paid => 'A',
            Meaning::PaidOtherwise => 'B',
            Meaning::Unknown => return None,
        };
        Some(format!("{letter}{:09}", self.number))
    }

    /// Its body.
    pub fn body(self) -> String {
        let Some(receipt) = self.receipt() else {
            return format!(
                r#"{{"Body":{{"stkCallback":{{"MerchantRequestID":"1-1-1","CheckoutRequestID":"{}","ResultCode":1037,"ResultDesc":""}}}}}}"#,
                Delivery::key(self.number)
            );
        };
        format!(
            r#"{{"Body":{{"stkCallback":{{"MerchantRequestID":"1-1-1","CheckoutRequestID":"{}","ResultCode":0,"ResultDesc":"",
            "CallbackMetadata":{{"Item":[{{"Name":"Amount","Value":10.00}},{{"Name":"MpesaReceiptNumber","Value":"{}"}},
            {{"Name":"TransactionDate","Value":20260101120000}},{{"Name":"PhoneNumber","Value":254700000001}}]}}}}}}}}"#,
            Delivery::key(self.number),
            receipt
        )
    }
}
