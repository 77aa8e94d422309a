//! The sides of a comparison.

use std::fmt;
use std::str::FromStr;

use anyhow::bail;
use clap::ValueEnum;

/// A receiver of callbacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// axum, and a handler that does nothing: the ceiling.
    Empty,
    /// axum, and a handler that reads the body into a struct with `serde_json`, and keeps nothing.
    Parse,
    /// The handler that a careful developer writes by hand: axum and sqlx; parse, `INSERT … ON CONFLICT DO NOTHING`, 200. In memory: one task
    /// that keeps a map, shared by all.
    ByHand(Kept),
    /// This library.
    Ours(Framework, Kept, Work),
}

/// The side of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Framework {
    /// axum, by our hardened server.
    Axum,
    /// actix-web.
    Actix,
    /// Rocket.
    Rocket,
}

/// Where callbacks are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kept {
    /// Nowhere that outlives the process.
    Memory,
    /// SQLite: WAL, `synchronous=FULL`.
    Sqlite,
    /// PostgreSQL as it comes: `fsync` and `synchronous_commit` on.
    Postgres,
}

/// The work per callback beside storing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// Nothing: it is acknowledged, and waits.
    Acknowledge,
    /// An ordinary handler runs, and it is settled.
    Handle,
    /// A handler writes a row in a transaction of the transactor's, and it is settled.
    Transactor,
}

/// All of them, in the order in which they are measured.
pub(crate) fn all() -> Vec<Side> {
    use {Framework as F, Kept as K, Work as W};
    let mut sides = vec![Side::Empty, Side::Parse, Side::ByHand(K::Memory)];
    sides.extend([W::Acknowledge, W::Handle].map(|work| Side::Ours(F::Axum, K::Memory, work)));
    for kept in [K::Sqlite, K::Postgres] {
        sides.push(Side::ByHand(kept));
        sides.extend([W::Acknowledge, W::Handle, W::Transactor].map(|work| Side::Ours(F::Axum, kept, work)));
    }
    for framework in [F::Actix, F::Rocket] {
        for kept in [K::Memory, K::Sqlite, K::Postgres] {
            sides.extend([W::Acknowledge, W::Handle].map(|work| Side::Ours(framework, kept, work)));
        }
    }
    sides
}

impl Side {
    pub(crate) fn kept(self) -> Option<Kept> {
        match self {
            Side::Empty | Side::Parse => None,
            Side::ByHand(kept) | Side::Ours(_, kept, _) => Some(kept),
        }
    }

    /// Whether callbacks are handled once they were acknowledged.
    pub(crate) fn handles(self) -> bool {
        matches!(self, Side::Ours(_, _, Work::Handle | Work::Transactor))
    }
}

/// The name of a variant on the command line.
fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Side::Empty => "empty".to_owned(),
            Side::Parse => "parse".to_owned(),
            Side::ByHand(kept) => format!("by-hand-{}", name(kept)),
            Side::Ours(framework, kept, work) => format!("{}-{}-{}", name(framework), name(kept), name(work)),
        };
        f.pad(&text)
    }
}

impl FromStr for Side {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Side> {
        match all().into_iter().find(|side| side.to_string() == text) {
            Some(side) => Ok(side),
            None => {
                let known: Vec<String> = all().iter().map(Side::to_string).collect();
                bail!("`{text}` is none of {}", known.join(", "))
            }
        }
    }
}
