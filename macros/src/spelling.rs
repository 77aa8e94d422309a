//! The spelling of attributes.

use super::table::names;

/// Common attributes that are never a misspelling.
const COMMON: [&str; 18] = [
    "allow",
    "async_trait",
    "cfg",
    "cfg_attr",
    "cold",
    "deny",
    "deprecated",
    "doc",
    "expect",
    "forbid",
    "inline",
    "instrument",
    "must_use",
    "test",
    "tracing",
    "track_caller",
    "warn",
    "rustfmt",
];

/// Returns the correct name of a misspelled attribute; `None` if it is similar to none.
pub(crate) fn meant(name: &str) -> Option<&'static str> {
    if COMMON.contains(&name) {
        return None;
    }
    let is_short = name.len() <= 4;
    let likeness = |known: &str| {
        let edits = strsim::normalized_damerau_levenshtein(name, known);
        match name.starts_with(known) || (!is_short && known.starts_with(name)) {
            true => 1.0,
            false if is_short => edits,
            false => edits.max(strsim::jaro_winkler(name, known)),
        }
    };
    let (known, likeness) =
        names().map(|known| (known, likeness(known))).max_by(|one, other| one.1.total_cmp(&other.1))?;
    // The similarity of `skt` and `stk` is 0.67.
    (likeness >= if is_short { 0.6 } else { 0.85 }).then_some(known)
}
