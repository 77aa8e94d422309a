//! Recorded and documented payloads, with invented people, and the meaning of each.
//!
//! `fixtures/INDEX.tsv` lists the source of every file, `fixtures/EXPECTED.tsv` its meaning, which was
//! gathered independently of this library's parsers.

use std::fs;
use std::path::{Path, PathBuf};

/// The meaning of one fixture when it is posted to the URL of its route.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fixture {
    /// Its path below `fixtures/`.
    pub file: String,
    /// The URL to which it is posted: the name of a kind, or `callback:payhero` and
    /// `callback:openapi` for the custom kinds below.
    pub route: String,
    /// Its kind, which may be the other one of a result/timeout pair; `quarantine` when it cannot be
    /// parsed.
    pub kind: String,
    /// The idempotency key that the body must have.
    pub key: Option<String>,
    /// `success`, `failed` or `unknown`.
    pub outcome: Option<String>,
    /// The amount, without trailing zeros.
    pub amount: Option<String>,
    /// M-Pesa's receipt, if the body contains one.
    pub receipt: Option<String>,
    /// The phone number, as it was sent.
    pub phone: Option<String>,
    /// The time, in RFC 3339.
    pub time: Option<String>,
}

/// The path and key pointer of the open kind that PayHero's fixtures go through.
pub const PAYHERO: (&str, &str) = ("/payhero", "/reference");

/// The path and key pointer of the open kind that the fixtures of Vodacom's OpenAPI go through.
pub const OPENAPI: (&str, &str) = ("/openapi", "/input_OriginalConversationID");

impl Fixture {
    /// Returns its body, byte for byte.
    ///
    /// # Panics
    /// When the file is not there.
    pub fn body(&self) -> Vec<u8> {
        body(&self.file)
    }
}

/// Returns the folder of the fixtures.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Returns the body of one fixture, by its path below `fixtures/`.
///
/// # Panics
/// When the file is not there.
pub fn body(file: &str) -> Vec<u8> {
    let path = directory().join(file);
    fs::read(&path).unwrap_or_else(|error| panic!("fixture {}: {error}", path.display()))
}

/// Returns all fixtures with their meanings.
///
/// # Panics
/// When `EXPECTED.tsv` is not there or has a row of another form.
pub fn all() -> Vec<Fixture> {
    let table = String::from_utf8(body("EXPECTED.tsv")).expect("EXPECTED.tsv is UTF-8");
    table.lines().skip(1).map(row).collect()
}

fn row(line: &str) -> Fixture {
    let cells: Vec<&str> = line.split('\t').collect();
    let [file, route, kind, key, outcome, amount, receipt, phone, time] = cells[..] else {
        panic!("EXPECTED.tsv has a row of {} cells", cells.len())
    };
    let some = |cell: &str| (cell != "-").then(|| cell.to_owned());
    Fixture {
        file: file.to_owned(),
        route: route.to_owned(),
        kind: kind.to_owned(),
        key: some(key),
        outcome: some(outcome),
        amount: some(amount),
        receipt: some(receipt),
        phone: some(phone),
        time: some(time),
    }
}
