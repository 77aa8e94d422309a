//! Every fixture is parsed as its kind. `EXPECTED.tsv` was gathered independently of the parsers.

use mpesa_callbacks_conformance::fixtures::{self, Fixture, OPENAPI, PAYHERO};
use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::{Amount, Callback, DarajaTime, Msisdn, Outcome, ParseError, Parsed, Party, parse};

fn read(fixture: &Fixture, body: &[u8]) -> Result<Parsed, ParseError> {
    let (kind, pointer) = match fixture.route.strip_prefix("callback:") {
        Some("payhero") => (Kind::custom(PAYHERO.0), Some(PAYHERO.1)),
        Some(_) => (Kind::custom(OPENAPI.0), Some(OPENAPI.1)),
        None => (fixture.route.parse::<Kind>().unwrap(), None),
    };
    parse(&kind, body, pointer)
}

/// The facts of the payload, in the columns of the table.
fn row(parsed: &Parsed) -> (Option<Amount>, Option<String>, Option<Msisdn>, Option<DarajaTime>) {
    let number = |party: &Option<Party>| party.as_ref().and_then(Party::msisdn);
    let own = |receipt: Option<&str>| receipt.map(str::to_owned);
    match &parsed.callback {
        Callback::Stk(c) => (c.amount, c.receipt.clone(), c.phone_number.clone(), c.transaction_date),
        Callback::C2bValidation(c) => (c.amount, Some(c.trans_id.clone()), c.msisdn.clone(), c.trans_time),
        Callback::C2bConfirmation(c) => (c.amount, Some(c.trans_id.clone()), c.msisdn.clone(), c.trans_time),
        Callback::B2cResult(c) => (c.amount, own(c.receipt()), number(&c.receiver), c.completed),
        Callback::B2bResult(c) => (c.amount, own(c.receipt()), None, c.completed),
        Callback::TaxResult(c) => (c.amount, own(c.receipt()), None, c.completed),
        Callback::StatusResult(c) => (c.amount, c.receipt.clone(), None, c.finalised),
        Callback::BalanceResult(c) => (None, None, None, c.completed),
        Callback::ReversalResult(c) => (c.amount, own(c.receipt()), None, c.completed),
        Callback::B2bExpress(c) => (c.amount, c.transaction_id.clone(), None, None),
        Callback::Ratiba(c) => (c.amount, c.transaction_id.clone(), c.msisdn.clone(), None),
        Callback::BillManager(c) => (c.amount, Some(c.transaction_id.clone()), c.msisdn.clone(), None),
        Callback::Lipia(c) => (c.amount, c.receipt.clone(), c.phone.clone(), None),
        _ => (None, None, None, None),
    }
}

#[test]
fn every_fixture_is_read_as_what_it_is() {
    let fixtures = fixtures::all();
    assert_eq!(fixtures.len(), 239);
    let mut wrong = Vec::new();
    for fixture in &fixtures {
        let read = read(fixture, &fixture.body());
        let mut check = |what: &str, expected: &Option<String>, found: Option<String>| {
            if *expected != found {
                wrong.push(format!("{}: {what} is {found:?}, not {expected:?}", fixture.file));
            }
        };
        let parsed = match read {
            Ok(parsed) => parsed,
            Err(_) if fixture.kind == "quarantine" => continue,
            Err(error) => {
                check("it", &Some(fixture.kind.clone()), Some(error.to_string()));
                continue;
            }
        };
        let kind = parsed.kind.name().replace('/', ":");
        check("kind", &Some(fixture.kind.clone()), Some(kind));
        check("key", &fixture.key, Some(parsed.key.as_str().to_owned()));
        let outcome = parsed.callback.outcome().map(|outcome| match outcome {
            Outcome::Success => "success",
            Outcome::Failed => "failed",
            Outcome::Unknown => "unknown",
        });
        check("outcome", &fixture.outcome, outcome.map(str::to_owned));
        let (amount, receipt, phone, time) = row(&parsed);
        let expected: Option<Amount> = fixture.amount.as_ref().map(|amount| amount.parse().unwrap());
        check(
            "amount",
            &expected.map(|amount| amount.to_string()),
            amount.map(|amount| if Some(amount) == expected { expected.unwrap() } else { amount }.to_string()),
        );
        check("receipt", &fixture.receipt, receipt);
        check("phone", &fixture.phone, phone.map(|phone| phone.as_str().to_owned()));
        check("time", &fixture.time, time.map(|time| time.to_string()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
