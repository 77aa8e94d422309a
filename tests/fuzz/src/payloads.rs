//! Bodies, and the texts in them that have a grammar of their own.

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::{AccountBalance, Amount, BalanceAmount, Charge, parse, strike_credentials};
use serde_json::Value;

/// A body at the URL of every kind: read or refused, and read the same twice.
pub fn body(body: &[u8]) {
    for kind in Kind::built_in().chain([Kind::custom("/open")]) {
        let Ok(parsed) = parse(&kind, body, Some("/id")) else { continue };
        let again = parse(&kind, body, Some("/id")).expect("what was read once is read twice");
        assert!(!parsed.key.as_str().is_empty(), "a callback without a key");
        assert_eq!((&parsed.kind, &parsed.key), (&again.kind, &again.key));
        assert_eq!(parsed.content_digest(), again.content_digest());
        let _ = (parsed.callback.outcome(), format!("{parsed:?}"));
        if let Some(payment) = parsed.payment() {
            assert!(!payment.receipt.is_empty() && !payment.amount.is_negative(), "a payment of nothing");
        }
    }
}

/// Striking credentials: JSON stays JSON of the same shape, and a body without such a name is unchanged.
pub fn striking(body: &[u8]) {
    let struck = strike_credentials(body);
    let Ok(before) = serde_json::from_slice::<Value>(body) else { return };
    let after: Value = serde_json::from_slice(&struck).expect("JSON stays JSON");
    assert!(is_same_shape(&before, &after), "{before} became {after}");
    assert_eq!(*strike_credentials(&struck), *struck, "what was struck has nothing to strike");
    let plain: String = String::from_utf8_lossy(body).to_lowercase().replace(['_', '-', ' '], "");
    // A name may be written in escapes.
    if !plain.contains(['\\'])
        && !["securitycredential", "initiator", "password"].iter().any(|name| plain.contains(name))
    {
        assert_eq!(*struck, *body, "nothing was to be struck");
    }
}

/// The same members and elements; a value may have been replaced by another one.
fn is_same_shape(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let same = |(name, value): (&String, &Value)| after.get(name).is_some_and(|it| is_same_shape(value, it));
            before.len() == after.len() && before.iter().all(same)
        }
        (Value::Array(before), Value::Array(after)) => {
            before.len() == after.len() && before.iter().zip(after).all(|(one, other)| is_same_shape(one, other))
        }
        // Struck, or JSON in a text.
        (_, Value::String(_)) => true,
        _ => before == after,
    }
}

/// Anything in the place of a result's parameters.
pub fn result_parameters(parameters: &[u8]) {
    let mut whole = br#"{"Result":{"ResultType":0,"ResultCode":0,"ConversationID":"AG_1","ResultParameters":"#.to_vec();
    whole.extend_from_slice(parameters);
    whole.extend_from_slice(b"}}");
    body(&whole);
}

/// A text where an amount is meant, against a reading by hand.
pub fn amount(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let amount = text.parse::<Amount>();
    let by_hand = by_hand(text.trim());
    match (&amount, by_hand) {
        (Ok(amount), Some(expected)) => {
            assert_eq!(*amount, from_ten_billionths(expected), "{text}");
            let cents = (expected % 100_000_000 == 0).then(|| i64::try_from(expected / 100_000_000).ok()).flatten();
            assert_eq!(amount.cents(), cents, "{text}");
        }
        (Err(_), Some(_)) => panic!("`{text}` is an amount"),
        // Exponents and many digits: any amount is written and parsed back.
        (Ok(_), None) => assert!(text.contains(['e', 'E', '.', ',']), "`{text}` is no amount"),
        (Err(_), None) => {}
    }
    if let Ok(amount) = amount {
        assert_eq!(amount.to_string().parse::<Amount>(), Ok(amount), "{text}");
        assert_eq!(amount.is_negative(), amount < Amount::ZERO);
    }
}

/// In ten-billionths of a shilling: up to 15 digits, and up to 10 behind a point.
fn by_hand(text: &str) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let fits = |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit());
    if !fits(whole, 15) || !fits(fraction, 10) {
        return None;
    }
    format!("{whole}{fraction:0<10}").parse::<i128>().ok().map(|value| sign * value)
}

fn from_ten_billionths(value: i128) -> Amount {
    let (whole, fraction) = (value.unsigned_abs() / 10_000_000_000, value.unsigned_abs() % 10_000_000_000);
    format!("{}{whole}.{fraction:010}", if value < 0 { "-" } else { "" }).parse().expect("an amount")
}

/// A text where balances, charges or a balance's other notation are meant.
pub fn account_balance(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let balances = AccountBalance::parse_list(text);
    assert!(balances.len() <= text.split('&').count());
    for balance in balances {
        // Written in the one notation, it reads the same.
        let part = |amount: Option<Amount>| amount.map(|amount| amount.to_string()).unwrap_or_default();
        let (available, reserved, uncleared) =
            (part(balance.available), part(balance.reserved), part(balance.uncleared));
        let written =
            format!("{}|{}|{}|{available}|{reserved}|{uncleared}", balance.name, balance.currency, balance.current);
        assert_eq!(AccountBalance::parse_list(&written), [balance], "{text}");
    }
    assert!(Charge::parse_list(text).len() <= text.split('&').count());
    let _ = BalanceAmount::parse(text);
}
