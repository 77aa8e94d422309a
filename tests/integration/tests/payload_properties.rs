//! Shape never changes meaning; and no input panics.

use std::time::{Duration, Instant, SystemTime};

use mpesa_callbacks_conformance::fixtures::{self, Fixture, OPENAPI, PAYHERO};
use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::{ParseError, Parsed, parse};
use mpesa_callbacks_core::store::{Delivery, MemoryStore, Store, Verdict};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

fn kind_of(fixture: &Fixture) -> (Kind, Option<&'static str>) {
    match fixture.route.strip_prefix("callback:") {
        Some("payhero") => (Kind::custom(PAYHERO.0), Some(PAYHERO.1)),
        Some(_) => (Kind::custom(OPENAPI.0), Some(OPENAPI.1)),
        None => (fixture.route.parse::<Kind>().unwrap(), None),
    }
}

fn read(fixture: &Fixture, body: &[u8]) -> Result<Parsed, ParseError> {
    let (kind, pointer) = kind_of(fixture);
    parse(&kind, body, pointer)
}

/// The fixtures that can be read and have no repeated names, which `serde_json::Value` would lose.
fn readable() -> Vec<Fixture> {
    fixtures::all().into_iter().filter(|fixture| fixture.kind != "quarantine").collect()
}

/// Random bits, for ever.
struct Bits {
    bytes: Vec<u8>,
    at: usize,
}

impl Bits {
    fn next(&mut self) -> usize {
        self.at += 1;
        // The second time round they are other ones.
        usize::from(self.bytes[self.at % self.bytes.len()]) + self.at / self.bytes.len()
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.next().is_multiple_of(count)
    }
}

/// The same content in another shape. The whole body of a custom kind is its content, so nothing is added or unwrapped.
fn reshape(value: &Value, bits: &mut Bits, is_open: bool) -> String {
    match value {
        Value::Object(object) => {
            let mut names: Vec<_> = object.keys().collect();
            for i in (1..names.len()).rev() {
                names.swap(i, bits.next() % (i + 1));
            }
            let mut members: Vec<(String, String)> = Vec::new();
            for name in names {
                // A list of one may come as the bare object.
                let single = object[name].as_array().filter(|list| list.len() == 1 && list[0].is_object());
                let inner = match single {
                    Some(list) if !is_open && bits.one_in(2) => &list[0],
                    _ => &object[name],
                };
                members.push((Value::from(name.as_str()).to_string(), reshape(inner, bits, is_open)));
            }
            if !is_open && bits.one_in(3) {
                let at = bits.next() % (members.len() + 1);
                members.insert(at, (r#""ZzUnknown""#.into(), r#"{"deep":[1,{"x":null}]}"#.into()));
            }
            let space = if bits.one_in(2) { "\r\n " } else { "" };
            let members: Vec<_> = members.iter().map(|(name, text)| format!("{space}{name}{space}:{text}")).collect();
            format!("{{{}{space}}}", members.join(","))
        }
        Value::Array(list) => {
            let items: Vec<_> = list.iter().map(|item| reshape(item, bits, is_open)).collect();
            format!("[{}]", items.join(" ,"))
        }
        Value::Number(number) if bits.one_in(2) => format!("\"{number}\""),
        Value::String(text) if bits.one_in(2) => match serde_json::from_str::<Value>(text) {
            // A number that was written as text, written as a number.
            Ok(Value::Number(number)) if number.to_string() == *text && !text.contains(['e', 'E']) => text.clone(),
            _ => value.to_string(),
        },
        Value::String(_) if bits.one_in(3) => value.to_string().replace('/', "\\/"),
        other => other.to_string(),
    }
}

#[test]
fn shape_never_changes_meaning() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    for fixture in readable() {
        let original = fixture.body();
        let value: Value = serde_json::from_slice(&original).unwrap();
        let expected = read(&fixture, &original).unwrap();
        let is_open = fixture.route.starts_with("callback:");
        let bits = proptest::collection::vec(any::<u8>(), 256);
        let result = runner.run(&(bits, any::<bool>()), |(bits, bom)| {
            let mut body = reshape(&value, &mut Bits { bytes: bits, at: 0 }, is_open);
            if bom {
                body.insert(0, '\u{feff}');
            }
            let parsed = match read(&fixture, body.as_bytes()) {
                Ok(parsed) => parsed,
                Err(error) => return Err(TestCaseError::fail(format!("{error} in {body}"))),
            };
            // Equal if their content is; `serde_json::Value` above lost repeated members, which a status keeps.
            if !fixture.route.starts_with("status") {
                prop_assert_eq!(&parsed.callback, &expected.callback, "{}", body);
            }
            prop_assert_eq!(&parsed.kind, &expected.kind);
            prop_assert_eq!(&parsed.key, &expected.key);
            prop_assert_eq!(parsed.content_digest(), expected.content_digest(), "{}", body);
            if !is_open {
                let verdicts = runtime.block_on(verdicts(&fixture, &original, body.as_bytes()));
                let second = if body.as_bytes() == original { Verdict::Duplicate } else { Verdict::Variant };
                prop_assert_eq!(verdicts, [Verdict::First, second]);
            }
            Ok(())
        });
        if let Err(error) = result {
            panic!("{}: {error}", fixture.file);
        }
    }
}

async fn verdicts(fixture: &Fixture, one: &[u8], other: &[u8]) -> [Verdict; 2] {
    let store = MemoryStore::new();
    let kind = fixture.route.parse::<Kind>().unwrap();
    let delivery = [one, other].map(|body| Delivery::parse(&kind, body, SystemTime::now()).unwrap());
    let recorded = store.record(&delivery).await.unwrap();
    [recorded[0].verdict, recorded[1].verdict]
}

#[test]
fn what_is_written_back_reads_the_same() {
    for fixture in readable() {
        let parsed = read(&fixture, &fixture.body()).unwrap();
        use mpesa_callbacks_core::payload::Callback as C;
        let written = match &parsed.callback {
            C::Stk(callback) => serde_json::to_string(callback),
            C::C2bValidation(callback) => serde_json::to_string(callback),
            C::C2bConfirmation(callback) => serde_json::to_string(callback),
            C::B2cResult(callback) => serde_json::to_string(callback),
            C::B2bResult(callback) => serde_json::to_string(callback),
            C::TaxResult(callback) => serde_json::to_string(callback),
            C::StatusResult(callback) => serde_json::to_string(callback),
            C::BalanceResult(callback) => serde_json::to_string(callback),
            C::ReversalResult(callback) => serde_json::to_string(callback),
            C::QueueTimeout(callback) => serde_json::to_string(callback),
            C::B2bExpress(callback) => serde_json::to_string(callback),
            C::Ratiba(callback) => serde_json::to_string(callback),
            C::BillManager(callback) => serde_json::to_string(callback),
            C::Lipia(callback) => serde_json::to_string(callback),
            C::Custom(callback) => serde_json::to_string(callback),
            other => panic!("{other:?}"),
        }
        .unwrap();
        assert!(!written.contains('\n'), "{}", fixture.file);
        assert_eq!(read(&fixture, written.as_bytes()).unwrap().callback, parsed.callback, "{}", fixture.file);
        if let Some(payment) = parsed.payment() {
            let written = serde_json::to_vec(&payment).unwrap();
            assert_eq!(mpesa_callbacks_core::payload::Payment::parse(&written).unwrap(), payment);
        }
    }
}

/// Bodies near those that are real: bits flipped, pieces cut out, doubled and swapped between two of them.
fn near_misses() -> impl Strategy<Value = Vec<u8>> {
    let bodies: Vec<Vec<u8>> = fixtures::all().iter().map(Fixture::body).collect();
    let body = proptest::sample::select(bodies);
    (body.clone(), body, proptest::collection::vec((any::<u16>(), any::<u16>(), any::<u8>()), 0..6)).prop_map(
        |(mut body, other, edits)| {
            for (at, length, what) in edits {
                if body.is_empty() {
                    break;
                }
                let at = at as usize % body.len();
                let end = (at + length as usize % 40).min(body.len());
                match what % 5 {
                    0 => body[at] ^= what,
                    1 => drop(body.drain(at..end)),
                    2 => {
                        let piece = body[at..end].to_vec();
                        body.splice(at..at, piece);
                    }
                    3 => {
                        let from = at % other.len();
                        let piece = other[from..(from + 30).min(other.len())].to_vec();
                        body.splice(at..end, piece);
                    }
                    _ => body.insert(at, what),
                }
            }
            body
        },
    )
}

/// Any body, at any URL: an answer or a refusal, and never a panic. `FUZZ_SECONDS=60` makes it longer.
#[test]
fn no_input_panics() {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let until = Instant::now() + Duration::from_secs(seconds);
    let kinds: Vec<Kind> = Kind::built_in().chain([Kind::custom("/open")]).collect();
    let inputs = prop_oneof![4 => near_misses(), 1 => proptest::collection::vec(any::<u8>(), 0..300)];
    let mut inputs_read = 0_u64;
    while Instant::now() < until {
        let mut runner = TestRunner::new(Config { cases: 500, failure_persistence: None, ..Config::default() });
        let result = runner.run(&inputs, |body| {
            for kind in &kinds {
                if let Ok(parsed) = parse(kind, &body, Some("/data/0/id")) {
                    let _ =
                        (parsed.content_digest(), parsed.payment(), parsed.callback.outcome(), format!("{parsed:?}"));
                }
            }
            Ok(())
        });
        if let Err(error) = result {
            panic!("{error}");
        }
        inputs_read += 500;
    }
    println!("{inputs_read} bodies, each at {} URLs", kinds.len());
}
