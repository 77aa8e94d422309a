//! A server in a process of its own, seen from outside.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mpesa_callbacks_test_servers::Postgres;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use super::{PURGE, SETTLE, STOP, WAITING};
use crate::measure::{Family, Usage, parent, resident};
use crate::side::{Kept, Side};

/// A server that runs, until it is dropped.
pub(crate) struct Running {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

/// The storage of a server: a directory, and with PostgreSQL a database of its own.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
    pub(crate) database: Option<Database>,
}

/// A database of PostgreSQL's.
pub(crate) struct Database {
    pub(crate) url: String,
    /// The process that has started all others.
    pub(crate) server: u32,
}

impl Place {
    /// A new one.
    pub(crate) async fn new(side: Side) -> anyhow::Result<Place> {
        let directory = tempfile::tempdir()?;
        if side.kept() != Some(Kept::Postgres) {
            return Ok(Place { directory, database: None });
        }
        let postgres = Postgres::shared()
            .context("PostgreSQL is needed: its `initdb` in PATH, or where `cargo xtask servers` says")?;
        let (name, url) = postgres.next_database();
        let mut connection = PgConnection::connect(&postgres.url()).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await?;
        // Earlier writes are flushed before this one is measured.
        sqlx::raw_sql("CHECKPOINT").execute(&mut connection).await?;
        let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await?;
        let server = parent(u32::try_from(backend)?)?;
        connection.close().await?;
        Ok(Place { directory, database: Some(Database { url, server }) })
    }

    /// The usage of the database server, if there is one.
    pub(crate) fn usage(&self) -> anyhow::Result<Family> {
        self.database.as_ref().map_or_else(|| Ok(Family::none()), |database| Family::of(database.server))
    }
}

impl Running {
    /// Starts one in a process of its own.
    pub(crate) fn start(side: Side, place: &Place) -> anyhow::Result<Running> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut server = Command::new(env::current_exe()?);
        server
            .args(["serve", &side.to_string(), "--port", &port.to_string(), "--directory"])
            .arg(place.directory.path());
        if let Some(database) = &place.database {
            server.args(["--database", &database.url]);
        }
        let mut child =
            server.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("the server does not start")?;
        let asks = child.stdin.take().context("its input")?;
        let answers = BufReader::new(child.stdout.take().context("its output")?);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut running = Running { child, asks, answers, address };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            ensure!(running.child.try_wait()?.is_none(), "{side} has ended");
            ensure!(began.elapsed() < Duration::from_mins(1), "{side} does not listen on {address}");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(running)
    }

    /// Waits until everything is settled that it has acknowledged.
    pub(crate) fn settle(&mut self) -> anyhow::Result<()> {
        self.ask(SETTLE).map(drop)
    }

    /// How many callbacks wait, or are being handled.
    pub(crate) fn waiting(&mut self) -> anyhow::Result<u64> {
        self.ask(WAITING)
    }

    /// Deletes the bodies of all that is done; how many there were.
    pub(crate) fn purge(&mut self) -> anyhow::Result<u64> {
        self.ask(PURGE)
    }

    /// Stops it gracefully: its running callbacks are ready for the next process at once.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.ask(STOP).map(drop)
    }

    fn ask(&mut self, question: &str) -> anyhow::Result<u64> {
        writeln!(self.asks, "{question}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        answer.trim().parse().with_context(|| format!("the server says: {answer}"))
    }

    /// Its usage.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.child.id())
    }

    /// Its resident memory, in KiB.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        resident(self.child.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
