//! Scale: what a callback costs beside millions of others, beside a backlog, and while a million are purged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use bench::bodies::body;
use mpesa_callbacks::Kind;
use mpesa_callbacks::store::{Disposition, PostgresStore, Received, SqliteStore, Store};

use crate::load::{Generated, Generator, path, send};
use crate::measure::{Report, cell};
use crate::serve::{Place, Running};
use crate::side::{Framework, Kept, Side, Work};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many callbacks are stored, and done, before each measurement: more and more. A million are some gigabyte.
    #[arg(long, value_delimiter = ',', default_value = "10000,1000000")]
    stored: Vec<u64>,
    /// How many are then put into the backlog, and how many bodies at least are purged; 0 leaves both out.
    #[arg(long, default_value_t = 1_000_000)]
    backlog: u64,
    /// For how many seconds each is measured.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How many keep-alive connections send.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// On this store only.
    #[arg(long)]
    only: Option<Kept>,
}

const COLUMNS: [&str; 9] =
    ["store", "beside", "rows", "acknowledged/s", "settled/s", "p99 ms", "worst ms", "µs a callback", "times"];

/// Numbers of bodies that loads send: nobody else's.
const LOADED: u64 = 50_000_000;

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut report = Report::new("scale", &COLUMNS);
    for kept in [Kept::Sqlite, Kept::Postgres].into_iter().filter(|kept| options.only.is_none_or(|only| only == *kept))
    {
        runtime.block_on(measure(kept, options, &mut report))?;
    }
    report.print();
    Ok(())
}

async fn measure(kept: Kept, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let handle = Side::Ours(Framework::Axum, kept, Work::Handle);
    let acknowledge = Side::Ours(Framework::Axum, kept, Work::Acknowledge);
    let place = Place::new(handle).await?;
    let (mut stored, mut loaded, mut first) = (0, LOADED, None);
    for count in &options.stored {
        fill(&place, stored..*count, Disposition::Decided).await?;
        stored = stored.max(*count);
        let mut server = Running::start(handle, &place)?;
        // Once to warm up.
        loaded = generate(&server, handle, loaded, 1.0, options)?.next;
        server.settle()?;
        let (before, database, began) = (server.usage()?, place.usage()?, Instant::now());
        let load = generate(&server, handle, loaded, options.seconds, options)?;
        server.settle()?;
        let used = (server.usage()? - before).cpu + (place.usage()? - database).cpu;
        let settled = count_of(load.acknowledged) / began.elapsed().as_secs_f64();
        let micros = used.as_secs_f64() * 1e6 / count_of(load.acknowledged);
        row(report, kept, "that many, done", stored, &load, Some(settled), micros, *first.get_or_insert(micros));
        loaded = load.next;
    }

    if options.backlog == 0 {
        return Ok(());
    }
    // Acknowledging with and without a backlog, and handling what waits.
    let mut alone = None;
    for backlog in [0, options.backlog] {
        fill(&place, stored..stored + backlog, Disposition::Handle).await?;
        stored += backlog;
        let server = Running::start(acknowledge, &place)?;
        loaded = generate(&server, acknowledge, loaded, 1.0, options)?.next;
        let (before, database) = (server.usage()?, place.usage()?);
        let load = generate(&server, acknowledge, loaded, options.seconds, options)?;
        let used = (server.usage()? - before).cpu + (place.usage()? - database).cpu;
        let micros = used.as_secs_f64() * 1e6 / count_of(load.acknowledged);
        row(report, kept, "a backlog, acknowledging", backlog, &load, None, micros, *alone.get_or_insert(micros));
        loaded = load.next;
    }
    let mut server = Running::start(handle, &place)?;
    let (waiting, before, database) = (server.waiting()?, server.usage()?, place.usage()?);
    let began = Instant::now();
    server.settle()?;
    let handled = count_of(waiting) / began.elapsed().as_secs_f64();
    let used = (server.usage()? - before).cpu + (place.usage()? - database).cpu;
    let micros = used.as_secs_f64() * 1e6 / count_of(waiting);
    let nothing = || cell("–", ());
    report.row(vec![
        cell(format!("{kept:?}"), format!("{kept:?}").to_lowercase()),
        cell("the backlog, handling", "handling the backlog"),
        cell(waiting, waiting),
        nothing(),
        cell(format!("{handled:.0}"), handled),
        nothing(),
        nothing(),
        cell(format!("{micros:.1}"), micros),
        nothing(),
    ]);

    let (purged, took, loads) = purge(&mut server, handle, loaded, options)?;
    let highest = |value: &dyn Fn(&Generated) -> f64| loads.iter().map(value).fold(0.0, f64::max);
    let micros = took.as_secs_f64() * 1e6 / count_of(purged);
    report.row(vec![
        cell(format!("{kept:?}"), format!("{kept:?}").to_lowercase()),
        cell("a purge, at a steady rate", "a purge"),
        cell(purged, purged),
        cell(RATE, RATE),
        nothing(),
        cell(format!("{:.1}", highest(&|load| load.p99)), highest(&|load| load.p99)),
        cell(format!("{:.1}", highest(&|load| load.worst)), highest(&|load| load.worst)),
        cell(format!("{micros:.1}"), micros),
        nothing(),
    ]);
    Ok(())
}

/// The steady rate, a second, at which callbacks come during a purge.
const RATE: u32 = 500;

/// Purges all that is done, while callbacks come at a steady rate: how many went, how long it took, and what the others met with.
fn purge(
    server: &mut Running,
    side: Side,
    first: u64,
    options: &Options,
) -> anyhow::Result<(u64, Duration, Vec<Generated>)> {
    let is_over = Arc::new(AtomicBool::new(false));
    let (address, connections, is_purged) = (server.address, options.connections, is_over.clone());
    let sending = thread::spawn(move || {
        let mut loads: Vec<Generated> = Vec::new();
        while loads.is_empty() || !is_purged.load(Ordering::Relaxed) {
            let first = loads.last().map_or(first, |load| load.next);
            let load = Generator { address, path: path(side), connections, seconds: 2.0, rate: Some(RATE), first };
            loads.push(send(&load)?);
        }
        anyhow::Ok(loads)
    });
    let began = Instant::now();
    let purged = server.purge()?;
    let took = began.elapsed();
    is_over.store(true, Ordering::Relaxed);
    let loads = sending.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
    Ok((purged, took, loads))
}

#[allow(clippy::cast_precision_loss, reason = "millions")]
fn count_of(count: u64) -> f64 {
    count as f64
}

/// As fast as they are answered.
fn generate(server: &Running, side: Side, first: u64, seconds: f64, options: &Options) -> anyhow::Result<Generated> {
    let (address, connections) = (server.address, options.connections);
    send(&Generator { address, path: path(side), connections, seconds, rate: None, first })
}

#[allow(clippy::too_many_arguments, reason = "the columns of a row")]
fn row(
    report: &mut Report,
    kept: Kept,
    beside: &str,
    rows: u64,
    load: &Generated,
    settled: Option<f64>,
    micros: f64,
    first: f64,
) {
    let acknowledged = count_of(load.acknowledged) / load.seconds;
    report.row(vec![
        cell(format!("{kept:?}"), format!("{kept:?}").to_lowercase()),
        cell(beside, beside),
        cell(rows, rows),
        cell(format!("{acknowledged:.0}"), acknowledged),
        settled.map_or_else(|| cell("–", ()), |settled| cell(format!("{settled:.0}"), settled)),
        cell(format!("{:.1}", load.p99), load.p99),
        cell(format!("{:.1}", load.worst), load.worst),
        cell(format!("{micros:.1}"), micros),
        cell(format!("{:.2}", micros / first), micros / first),
    ]);
}

/// Puts these bodies into the store, as the engine would, to be done or to wait.
async fn fill(place: &Place, numbers: std::ops::Range<u64>, disposition: Disposition) -> anyhow::Result<()> {
    if numbers.is_empty() {
        return Ok(());
    }
    eprintln!("storing {} callbacks", numbers.end - numbers.start);
    let store: Box<dyn Store> = match &place.database {
        Some(database) => Box::new(PostgresStore::connect(&database.url).await?),
        None => Box::new(SqliteStore::open(place.directory.path().join("inbox.db"))?),
    };
    let now = SystemTime::now() - Duration::from_mins(1);
    let numbers: Vec<u64> = numbers.collect();
    for numbers in numbers.chunks(2000) {
        let received = numbers.iter().map(|number| {
            let mut received = Received::parse(&Kind::Stk, body(*number).as_bytes(), now)?;
            received.disposition = disposition.clone();
            received.payment = None;
            Ok(received)
        });
        store.record(&received.collect::<anyhow::Result<Vec<_>>>()?).await?;
    }
    Ok(store.close().await?)
}
