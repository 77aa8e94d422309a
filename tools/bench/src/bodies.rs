//! The bodies that are sent: M-Pesa Express in its current form, each for another payment.

/// The `number`th body, in the shape of production (`stk/success-prod-2022-a.json` and `stk/cancelled-1032-docs3.json` of the
/// fixtures): six payments in seven are paid, the others cancelled. Keys come in the order of time, but for the phone number that
/// they end in.
pub fn body(number: u64) -> String {
    // No factor of the modulus, so that every number has a phone of its own.
    let phone = 700_000_000 + number * 48_271 % 100_000_000;
    let (millis, seconds) = (number / 8 % 1000, number / 8000);
    let (second, minute, hour) = (seconds % 60, seconds / 60 % 60, seconds / 3600 % 24);
    let checkout = format!("ws_CO_21112026{hour:02}{minute:02}{second:02}{millis:03}{phone}");
    let merchant = format!("{}-{}-1", 10_000 + number % 20_000, 90_000_000 + number % 9_000_000);
    if number.is_multiple_of(7) {
        return format!(
            r#"{{"Body":{{"stkCallback":{{"MerchantRequestID":"{merchant}","CheckoutRequestID":"{checkout}","ResultCode":1032,"ResultDesc":"Request cancelled by user"}}}}}}"#
        );
    }
    let (amount, receipt) = (1 + number % 5_000, receipt(number));
    let paid = format!("20261121{hour:02}{minute:02}{second:02}");
    format!(
        r#"{{"Body":{{"stkCallback":{{"MerchantRequestID":"{merchant}","CheckoutRequestID":"{checkout}","ResultCode":0,"ResultDesc":"The service request is processed successfully.","CallbackMetadata":{{"Item":[{{"Name":"Amount","Value":{amount}.00}},{{"Name":"MpesaReceiptNumber","Value":"{receipt}"}},{{"Name":"Balance"}},{{"Name":"TransactionDate","Value":{paid}}},{{"Name":"PhoneNumber","Value":254{phone}}}]}}}}}}}}"#
    )
}

/// Ten letters and digits that begin with the day, as M-Pesa's do.
fn receipt(number: u64) -> String {
    let digit =
        |place: u32| char::from_digit(u32::try_from(number / 36_u64.pow(place) % 36).unwrap_or(0), 36).unwrap_or('0');
    let tail: String = (0..7).rev().map(|place| digit(place).to_ascii_uppercase()).collect();
    format!("UKL{tail}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use mpesa_callbacks::payload::StkCallback;

    use super::*;
    use crate::plain::Stk;

    #[test]
    fn bodies_are_distinct_and_both_readers_read_the_same_in_them() {
        let (mut keys, mut receipts) = (HashSet::new(), HashSet::new());
        for number in 0..20_000 {
            let body = body(number);
            let (ours, plain) = (StkCallback::parse(body.as_bytes()).unwrap(), Stk::parse(body.as_bytes()).unwrap());
            assert_eq!(ours.checkout_request_id.as_str(), plain.checkout_request_id);
            assert_eq!(ours.merchant_request_id, Some(plain.merchant_request_id));
            assert_eq!(ours.result_code.unwrap().as_str(), plain.result_code.to_string());
            assert_eq!(ours.result_desc, Some(plain.result_desc));
            assert_eq!(ours.amount.map(|amount| amount.to_string()), plain.amount.map(|amount| format!("{amount:.2}")));
            assert_eq!(ours.receipt, plain.receipt);
            assert!(ours.phone_number.is_none_or(|phone| phone.is(&plain.phone_number.unwrap().to_string())));
            assert_eq!(ours.transaction_date.is_some(), plain.transaction_date.is_some());
            assert!(keys.insert(plain.checkout_request_id), "{number}");
            assert!(plain.receipt.is_none_or(|receipt| receipts.insert(receipt)), "{number}");
        }
    }
}
