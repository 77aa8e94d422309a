//! A place with callbacks in it already.

use std::process::Command;
use std::time::{Duration, SystemTime};

use bench::bodies::body;
use mpesa_callbacks::Kind;
use mpesa_callbacks::store::{Delivery, Disposition, PostgresStore, SqliteStore, Store};
use serde_json::Value;
use sqlx::{Connection, PgConnection};

use crate::measure::cell;
use crate::serve::Place;
use crate::side::{Kept, Side};

/// A place with callbacks in it already.
pub(super) struct Stocked {
    pub(super) place: Place,
    kept: Kept,
    /// How many there were to begin with.
    pub(super) rows: u64,
    /// The number of the next body that is sent to it.
    pub(super) next: u64,
}

/// Numbers of bodies that only loads send.
const LOADED: u64 = 50_000_000;

impl Stocked {
    /// With so many callbacks, done or waiting, vacuumed and checkpointed.
    pub(super) async fn new(side: Side, rows: u64, disposition: Disposition) -> anyhow::Result<Stocked> {
        let stocked =
            Stocked { place: Place::new(side).await?, kept: side.kept().unwrap_or(Kept::Memory), rows, next: LOADED };
        if rows > 0 {
            eprintln!("storing {rows} callbacks");
            stocked.fill(disposition).await?;
        }
        if let Some(database) = &stocked.place.database {
            let mut connection = PgConnection::connect(&database.url).await?;
            // A server that runs for months has done this long ago.
            for statement in ["VACUUM (ANALYZE)", "CHECKPOINT"] {
                sqlx::raw_sql(statement).execute(&mut connection).await?;
            }
            connection.close().await?;
        }
        // Earlier writes must not be flushed while others are measured.
        Command::new("sync").status()?;
        Ok(stocked)
    }

    /// The store's name, for people and for programs.
    pub(super) fn name(&self) -> (String, Value) {
        let name = format!("{:?}", self.kept);
        cell(&name, name.to_lowercase())
    }

    /// Puts bodies into the store, as the engine would.
    async fn fill(&self, disposition: Disposition) -> anyhow::Result<()> {
        let store: Box<dyn Store> = match &self.place.database {
            Some(database) => Box::new(PostgresStore::connect(&database.url).await?),
            None => Box::new(SqliteStore::open(self.place.directory.path().join("inbox.db"))?),
        };
        let now = SystemTime::now() - Duration::from_mins(1);
        let numbers: Vec<u64> = (0..self.rows).collect();
        for numbers in numbers.chunks(2000) {
            let delivery = numbers.iter().map(|number| {
                let mut delivery = Delivery::parse(&Kind::Stk, body(*number).as_bytes(), now)?;
                delivery.disposition = disposition.clone();
                delivery.payment = None;
                Ok(delivery)
            });
            store.record(&delivery.collect::<anyhow::Result<Vec<_>>>()?).await?;
        }
        Ok(store.close().await?)
    }
}
