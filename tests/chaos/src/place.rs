//! The store of the replicas, and the database of their effects.

use std::path::PathBuf;

use anyhow::Context;
use clap::ValueEnum;
use mpesa_callbacks::store::{PostgresStore, SqliteStore, Store};
use sqlx::{PgPool, SqlitePool};

/// Which store, and which transactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kept {
    /// SQLite files, and one replica.
    Sqlite,
    /// PostgreSQL, and three replicas.
    Postgres,
}

/// The store of the replicas, and the database of their effects.
#[derive(Clone, Debug)]
pub enum Place {
    /// Two files in this directory.
    Sqlite(PathBuf),
    /// This database.
    Postgres(String),
}

impl Place {
    /// Its form as an argument of a replica.
    pub fn argument(&self) -> String {
        match self {
            Place::Sqlite(directory) => directory.display().to_string(),
            Place::Postgres(url) => url.clone(),
        }
    }

    /// The arguments of a replica.
    pub fn parse(argument: &str) -> Place {
        match argument.starts_with("postgres:") {
            true => Place::Postgres(argument.to_owned()),
            false => Place::Sqlite(argument.into()),
        }
    }

    /// The inbox's store.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn store(&self) -> anyhow::Result<Box<dyn Store>> {
        Ok(match self {
            Place::Sqlite(directory) => Box::new(SqliteStore::open(directory.join("inbox.db"))?),
            Place::Postgres(url) => Box::new(PostgresStore::connect(url).await?),
        })
    }

    /// Makes the table of effects.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn prepare(&self) -> anyhow::Result<()> {
        let create = "CREATE TABLE IF NOT EXISTS effect (receipt varchar(40) NOT NULL)";
        match self {
            Place::Sqlite(_) => sqlx::raw_sql(create).execute(&self.sqlite().await?).await.map(drop),
            Place::Postgres(_) => sqlx::raw_sql(create).execute(&self.postgres().await?).await.map(drop),
        }
        .context("the table of effects")
    }

    /// All effects, by receipt, and how often each was made.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn effects(&self) -> anyhow::Result<Vec<(String, i64)>> {
        let select = "SELECT receipt, count(*) FROM effect GROUP BY receipt";
        Ok(match self {
            Place::Sqlite(_) => sqlx::query_as(select).fetch_all(&self.sqlite().await?).await?,
            Place::Postgres(_) => sqlx::query_as(select).fetch_all(&self.postgres().await?).await?,
        })
    }

    /// The application's own database.
    ///
    /// # Errors
    /// When it cannot be opened, or is the other one.
    pub async fn sqlite(&self) -> anyhow::Result<SqlitePool> {
        let Place::Sqlite(directory) = self else { anyhow::bail!("not SQLite") };
        let options =
            sqlx::sqlite::SqliteConnectOptions::new().filename(directory.join("effects.db")).create_if_missing(true);
        let options = options
            .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
            .synchronous(sqlx::sqlite::SqliteSynchronous::Full);
        Ok(SqlitePool::connect_with(options).await?)
    }

    /// The application's own database.
    ///
    /// # Errors
    /// When it cannot be reached, or is the other one.
    pub async fn postgres(&self) -> anyhow::Result<PgPool> {
        let Place::Postgres(url) = self else { anyhow::bail!("not PostgreSQL") };
        Ok(PgPool::connect(url).await?)
    }
}
