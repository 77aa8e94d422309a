//! The disturbance while deliveries arrive.

mod kills;

mod restarts;

mod outages;

mod recovery;

mod deadlines;

mod spool;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use mpesa_callbacks_test_servers::Postgres;
use sqlx::{Connection, PgConnection};

use crate::check::{Findings, check, settled};
use crate::deliveries::deliveries;
use crate::journal::Journal;
use crate::place::{Kept, Place};

/// The disturbance while deliveries arrive.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Scenario {
    /// Replicas are killed as `kill -9` does, and paused for longer than their leases.
    Kills,
    /// Replicas are restarted gracefully, one after the other: every response must be 200.
    Restarts,
    /// PostgreSQL is killed and started again, stays away for a while, and its answers to commits get lost; replicas have spools.
    Outages,
    /// A replica is killed with callbacks in hand: how long until another has handled them.
    Recovery,
    /// The latency of acknowledgements at 500 per second, and of validations with slow handlers.
    Deadlines,
    /// As much as comes in an hour at 100 a second waits in the spool: how long until it is drained.
    Spool,
}

/// How much, and from which seed.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The scenario.
    pub scenario: Scenario,
    /// The store of the replicas.
    #[arg(long, default_value = "postgres")]
    pub on: Kept,
    /// How many callbacks.
    #[arg(long, default_value_t = 50_000)]
    pub callbacks: usize,
    /// How often something happens.
    #[arg(long, default_value_t = 100)]
    pub times: usize,
    /// The seed of a run; processes repeat only roughly.
    #[arg(long)]
    pub seed: Option<u64>,
}

/// Everything that a scenario works with.
pub(crate) struct Stage {
    pub(crate) program: PathBuf,
    pub(crate) place: Place,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) server: Option<Postgres>,
    pub(crate) options: Options,
    pub(crate) random: fastrand::Rng,
    pub(crate) replicas: usize,
}

/// Plays a scenario and prints the findings; an error if anything is wrong.
///
/// # Errors
/// When something was lost, doubled, or else not as promised.
pub async fn play(program: PathBuf, options: Options) -> anyhow::Result<()> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    println!(
        "{:?} on {:?}: {} callbacks, {} times, --seed {seed}",
        options.scenario, options.on, options.callbacks, options.times
    );
    let Some(mut stage) = Stage::set(program, options, fastrand::Rng::with_seed(seed)).await? else { return Ok(()) };
    let began = Instant::now();
    match stage.options.scenario {
        Scenario::Kills => kills::play(&mut stage).await,
        Scenario::Restarts => restarts::play(&mut stage).await,
        Scenario::Outages => outages::play(&mut stage).await,
        Scenario::Recovery => recovery::play(&mut stage).await,
        Scenario::Deadlines => deadlines::play(&mut stage).await,
        Scenario::Spool => spool::play(&mut stage).await,
    }
    .with_context(|| format!("--seed {seed}"))?;
    println!("played in {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

impl Stage {
    async fn set(program: PathBuf, options: Options, random: fastrand::Rng) -> anyhow::Result<Option<Stage>> {
        let directory = tempfile::tempdir()?;
        let (place, server, replicas) = match options.on {
            Kept::Sqlite => (Place::Sqlite(directory.path().to_owned()), None, 1),
            Kept::Postgres => {
                // Its own, because it may be killed.
                let Some(server) = Postgres::start(&["max_connections=200"]) else { return Ok(None) };
                let (name, url) = server.next_database();
                let mut connection = PgConnection::connect(&server.url()).await?;
                sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await?;
                (Place::Postgres(url), Some(server), 3)
            }
        };
        place.prepare().await?;
        Ok(Some(Stage { program, place, directory, server, options, random, replicas }))
    }

    pub(crate) fn deliveries(&mut self) -> (Vec<crate::deliveries::Delivery>, Journal) {
        let callbacks = self.options.callbacks;
        (deliveries(callbacks, &mut self.random), Journal::new(callbacks))
    }

    /// Waits until everything is handled, and holds it against the journal.
    pub(crate) async fn judge(&self, journal: &Journal) -> anyhow::Result<Findings> {
        let store = self.place.store().await?;
        settled(&*store, Duration::from_mins(5)).await?;
        let findings = check(&self.place, &*store, journal).await?;
        let sent = journal.totals();
        println!(
            "{} acknowledged, {} refused, {} not answered: {findings}",
            sent.acknowledged, sent.refused, sent.unknown
        );
        if !findings.is_clean() {
            bail!("not as promised: {findings}");
        }
        Ok(findings)
    }
}
