//! Load: every side as fast as it goes, and at a steady rate, one after the other, several rounds of it.

mod generate;

use std::env;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};

pub(crate) use self::generate::{Generated, Options as Generator, run as generate};
use crate::measure::{Report, Usage, cell, median};
use crate::serve::{Place, Running, SECRET};
use crate::side::{self, Side};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many keep-alive connections send; several of them are measured one after the other.
    #[arg(long, value_delimiter = ',', default_value = "64")]
    connections: Vec<usize>,
    /// For how many seconds each side is measured, in each round.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How often every side is measured; the median of each figure is printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The steady rate, a second, at which latency is measured.
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// These sides only.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Side>,
}

/// The result of one side in one round.
#[derive(Default)]
struct Measured {
    /// A second, in the load.
    acknowledged: f64,
    /// A second, until all of them were settled.
    settled: f64,
    /// While they were sent as fast as they were answered: milliseconds.
    busy: [f64; 3],
    /// At the steady rate: milliseconds.
    steady: [f64; 3],
    /// Microseconds a callback: of the server, of the database, of the generator.
    cpu: [f64; 3],
    /// A callback, by the server and the database.
    bytes: f64,
    /// In MiB, when the load ended.
    resident: f64,
}

const COLUMNS: [&str; 16] = [
    "side",
    "connections",
    "acknowledged/s",
    "settled/s",
    "busy p50 ms",
    "p99 ms",
    "p99.9 ms",
    "steady p50 ms",
    "steady p99 ms",
    "steady p99.9 ms",
    "server µs",
    "database µs",
    "generator µs",
    "bytes",
    "MiB",
    "of the ceiling",
];

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sides = if options.only.is_empty() { side::all() } else { options.only.clone() };
    let cases: Vec<(usize, Side)> =
        options.connections.iter().flat_map(|connections| sides.iter().map(|side| (*connections, *side))).collect();
    let mut rounds: Vec<Vec<Measured>> = cases.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds {
        for ((connections, side), measured) in cases.iter().zip(&mut rounds) {
            eprintln!("round {round} of {}: {side}, {connections} connections", options.rounds);
            measured.push(runtime.block_on(measure(*side, *connections, options))?);
        }
    }

    let mut report = Report::new("load", &COLUMNS);
    let ceiling = rounds.iter().zip(&cases).find(|(_, (_, side))| *side == Side::Empty);
    let ceiling = ceiling.map(|(measured, _)| of(measured, |one| one.acknowledged));
    for ((connections, side), measured) in cases.iter().zip(&rounds) {
        let figure = |value: &dyn Fn(&Measured) -> f64, digits: usize| {
            let value = of(measured, value);
            cell(format!("{value:.digits$}"), value)
        };
        let mut row = vec![cell(side, side.to_string()), cell(connections, *connections)];
        row.push(figure(&|one| one.acknowledged, 0));
        row.push(if side.handles() { figure(&|one| one.settled, 0) } else { cell("–", ()) });
        row.extend((0..3).map(|nth| figure(&|one: &Measured| one.busy[nth], 1)));
        row.extend((0..3).map(|nth| figure(&|one: &Measured| one.steady[nth], 1)));
        row.extend((0..3).map(|nth| figure(&|one: &Measured| one.cpu[nth], 1)));
        row.push(figure(&|one| one.bytes, 0));
        row.push(figure(&|one| one.resident, 0));
        row.push(match ceiling {
            Some(ceiling) => figure(&|one| one.acknowledged / ceiling, 2),
            None => cell("–", ()),
        });
        report.row(row);
    }
    report.print();
    Ok(())
}

fn of(measured: &[Measured], value: impl Fn(&Measured) -> f64) -> f64 {
    median(measured.iter().map(value).collect())
}

async fn measure(side: Side, connections: usize, options: &Options) -> anyhow::Result<Measured> {
    let place = Place::new(side).await?;
    let mut server = Running::start(side, &place)?;
    let generator =
        Generator { address: server.address, path: path(side), connections, seconds: 0.5, rate: None, first: 0 };
    // Once to warm up: connections, caches, statements.
    let warm = send(&generator)?;
    if side.handles() {
        server.settle()?;
    }

    let (before, database_before, began) = (server.usage()?, place.usage()?, Instant::now());
    let busy = send(&Generator { seconds: options.seconds, first: warm.next, ..generator.clone() })?;
    let resident = server.resident()?;
    if side.handles() {
        server.settle()?;
    }
    let settled = began.elapsed();
    let (used, database) = (server.usage()? - before, place.usage()?.since(&database_before));

    let steady = Generator { seconds: options.seconds, first: busy.next, rate: Some(options.rate), ..generator };
    let steady = send(&steady)?;
    #[allow(clippy::cast_precision_loss, reason = "millions, and megabytes")]
    let (count, written, resident) =
        (busy.acknowledged as f64, (used.written + database.written) as f64, resident as f64 / 1024.0);
    let micros = |usage: Usage| usage.cpu.as_secs_f64() * 1e6 / count;
    Ok(Measured {
        acknowledged: count / busy.seconds,
        settled: count / settled.as_secs_f64(),
        busy: [busy.p50, busy.p99, busy.p999],
        steady: [steady.p50, steady.p99, steady.p999],
        cpu: [micros(used), micros(database), busy.cpu * 1e6 / count],
        bytes: written / count,
        resident,
    })
}

/// The URL of a side for M-Pesa Express.
pub(crate) fn path(side: Side) -> String {
    match side {
        Side::Ours(..) => format!("/pay/{SECRET}/stk"),
        _ => "/pay/stk".to_owned(),
    }
}

/// Runs the generator in a process of its own.
pub(crate) fn send(options: &Generator) -> anyhow::Result<Generated> {
    let mut generator = Command::new(env::current_exe()?);
    generator.args(["generate", "--address", &options.address.to_string(), "--path", &options.path]);
    generator.args(["--connections", &options.connections.to_string(), "--seconds", &options.seconds.to_string()]);
    generator.args(["--first", &options.first.to_string()]);
    if let Some(rate) = options.rate {
        generator.args(["--rate", &rate.to_string()]);
    }
    let output = generator.stderr(Stdio::inherit()).output().context("the generator does not start")?;
    ensure!(output.status.success(), "the generator failed");
    Ok(serde_json::from_slice(&output.stdout)?)
}
