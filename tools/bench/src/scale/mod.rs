//! Scale: the cost of a callback with millions stored, with a backlog, and during a purge of a million.

mod purge;

mod stocked;

use std::time::Instant;

use mpesa_callbacks::store::Disposition;
use serde_json::Value;

use self::purge::{Purged, purge};
use self::stocked::Stocked;
use crate::load::{Generated, Generator, path, send};
use crate::measure::{Family, Report, Usage, cell, median};
use crate::serve::Running;
use crate::side::{Framework, Kept, Side, Work};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many callbacks are stored, and done, before each measurement. A million are some gigabyte.
    #[arg(long, value_delimiter = ',', default_value = "10000,1000000")]
    stored: Vec<u64>,
    /// How many are put into a backlog, which is then handled and purged; 0 leaves that out.
    #[arg(long, default_value_t = 1_000_000)]
    backlog: u64,
    /// How often each is measured, interleaved; the median is printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
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
    let mut done = Vec::new();
    for rows in &options.stored {
        done.push(Stocked::new(handle, *rows, Disposition::Decided).await?);
    }
    compare(handle, "that many, done", &mut done, options, report)?;
    drop(done);
    if options.backlog == 0 {
        return Ok(());
    }

    let acknowledge = Side::Ours(Framework::Axum, kept, Work::Acknowledge);
    let mut waiting = Vec::new();
    for rows in [0, options.backlog] {
        waiting.push(Stocked::new(acknowledge, rows, Disposition::Handle).await?);
    }
    compare(acknowledge, "a backlog, acknowledging", &mut waiting, options, report)?;
    let Some(backlog) = waiting.pop() else { return Ok(()) };
    let mut server = Running::start(handle, &backlog.place)?;
    work_off(&mut server, &backlog, report)?;
    let purged = purge(&mut server, handle, backlog.next, options)?;
    tell_purge(&backlog, &purged, report);
    Ok(())
}

/// The cost of a callback with each of these numbers of rows, interleaved.
fn compare(
    side: Side,
    beside: &str,
    stocked: &mut [Stocked],
    options: &Options,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut costs: Vec<Vec<Cost>> = stocked.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds {
        for (stocked, costs) in stocked.iter_mut().zip(&mut costs) {
            eprintln!("round {round} of {}: {side} beside {}", options.rounds, stocked.rows);
            costs.push(cost(side, stocked, options)?);
        }
    }
    let mut first = None;
    for (stocked, costs) in stocked.iter().zip(&costs) {
        let middle = |figure: fn(&Cost) -> f64| median(costs.iter().map(figure).collect());
        let micros = middle(|cost| cost.micros);
        let times = micros / *first.get_or_insert(micros);
        let worst = costs.iter().map(|cost| cost.worst).fold(0.0, f64::max);
        let settled = match middle(|cost| cost.settled.unwrap_or(f64::NAN)) {
            settled if settled.is_nan() => nothing(),
            settled => cell(format!("{settled:.0}"), settled),
        };
        let acknowledged = middle(|cost| cost.acknowledged);
        let p99 = middle(|cost| cost.p99);
        report.row(vec![
            stocked.name(),
            cell(beside, beside),
            cell(stocked.rows, stocked.rows),
            cell(format!("{acknowledged:.0}"), acknowledged),
            settled,
            cell(format!("{p99:.1}"), p99),
            cell(format!("{worst:.1}"), worst),
            cell(format!("{micros:.1}"), micros),
            cell(format!("{times:.2}"), times),
        ]);
    }
    Ok(())
}

/// The cost of callbacks in one measurement.
struct Cost {
    acknowledged: f64,
    settled: Option<f64>,
    p99: f64,
    worst: f64,
    micros: f64,
}

fn cost(side: Side, stocked: &mut Stocked, options: &Options) -> anyhow::Result<Cost> {
    let settles = matches!(side, Side::Ours(_, _, Work::Handle));
    let mut server = Running::start(side, &stocked.place)?;
    // Once to warm up.
    stocked.next = generate(&server, side, stocked.next, 1.0, options)?.next;
    if settles {
        server.settle()?;
    }
    let (meter, began) = (Meter::start(&server, stocked)?, Instant::now());
    let load = generate(&server, side, stocked.next, options.seconds, options)?;
    stocked.next = load.next;
    if settles {
        server.settle()?;
    }
    let took = began.elapsed().as_secs_f64();
    let micros = meter.micros(&server, stocked)?;
    server.stop()?;
    let acknowledged = count_of(load.acknowledged);
    Ok(Cost {
        acknowledged: acknowledged / load.seconds,
        settled: settles.then_some(acknowledged / took),
        p99: load.p99,
        worst: load.worst,
        micros: micros / acknowledged,
    })
}

/// The duration of handling the backlog, and its cost.
fn work_off(server: &mut Running, backlog: &Stocked, report: &mut Report) -> anyhow::Result<()> {
    let (waiting, meter, began) = (server.waiting()?, Meter::start(server, backlog)?, Instant::now());
    server.settle()?;
    let handled = count_of(waiting) / began.elapsed().as_secs_f64();
    let micros = meter.micros(server, backlog)? / count_of(waiting);
    report.row(vec![
        backlog.name(),
        cell("the backlog, handling", "handling the backlog"),
        cell(waiting, waiting),
        nothing(),
        cell(format!("{handled:.0}"), handled),
        nothing(),
        nothing(),
        cell(format!("{micros:.1}"), micros),
        nothing(),
    ]);
    Ok(())
}

fn tell_purge(backlog: &Stocked, purged: &Purged, report: &mut Report) {
    let micros = purged.took.as_secs_f64() * 1e6 / count_of(purged.rows);
    let rows = [
        ("no purge, at a steady rate", 0, &purged.alone, nothing()),
        ("a purge, at a steady rate", purged.rows, &purged.beside, cell(format!("{micros:.1}"), micros)),
    ];
    for (beside, rows, met, micros) in rows {
        report.row(vec![
            backlog.name(),
            cell(beside, beside),
            cell(rows, rows),
            cell(purge::RATE, purge::RATE),
            nothing(),
            cell(format!("{:.1}", met.p99), met.p99),
            cell(format!("{:.1}", met.worst), met.worst),
            micros,
            nothing(),
        ]);
    }
}

/// The processor time of a server and its database, from when it was started.
struct Meter(Usage, Family);

impl Meter {
    fn start(server: &Running, stocked: &Stocked) -> anyhow::Result<Meter> {
        Ok(Meter(server.usage()?, stocked.place.usage()?))
    }

    fn micros(&self, server: &Running, stocked: &Stocked) -> anyhow::Result<f64> {
        let used = (server.usage()? - self.0).cpu + stocked.place.usage()?.since(&self.1).cpu;
        Ok(used.as_secs_f64() * 1e6)
    }
}

fn nothing() -> (String, Value) {
    cell("–", ())
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
