//! Measurements, each a command that prints a table and lines of JSON.
//!
//! ```sh
//! cargo bench -p bench                        # reading, guarding, fingerprints, dispatch: times and instructions
//! cargo run --release -p bench -- load        # throughput, latency, processor and disk: against axum alone, and what is written by hand
//! cargo run --release -p bench -- scale       # the same with millions stored, with a backlog, and while a million are purged
//! cargo run --release -p bench -- sockets     # ten thousand connections that idle or dribble, and genuine callbacks between
//! cargo run --release -p bench -- simulator   # the local Daraja: its start, its time, its memory
//! cargo run --release -p bench -- builds      # a clean build of an application with this library, and without
//! ```

mod builds;

mod load;

mod measure;

mod scale;

mod serve;

mod side;

mod simulator;

mod sockets;

use clap::{Parser, Subcommand};

/// Measurements of mpesa-callbacks.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Throughput, latency, CPU and disk of every framework and store, compared with axum alone and a hand-written handler.
    Load(load::Options),
    /// The cost of a callback with millions stored, with a backlog, and during a purge of a million.
    Scale(scale::Options),
    /// Genuine callbacks while many connections idle or dribble, against each framework's server.
    Sockets(sockets::Options),
    /// A clean debug build of an application with axum and SQLite, with this library and without it.
    Builds(builds::Options),
    /// How soon the simulator is there, how fast its time passes, and how much memory it takes.
    Simulator(simulator::Options),
    /// A server to be measured.
    #[command(hide = true)]
    Serve(serve::Options),
    /// A client that measures.
    #[command(hide = true)]
    Generate(load::Generator),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Load(options) => load::run(&options),
        Command::Scale(options) => scale::run(&options),
        Command::Sockets(options) => sockets::run(&options),
        Command::Builds(options) => builds::run(&options),
        Command::Simulator(options) => simulator::run(&options),
        Command::Serve(options) => serve::run(&options),
        Command::Generate(options) => load::generate(&options),
    }
}
