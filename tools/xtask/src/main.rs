//! The project's own commands.

mod first_hour;
mod fuzz;
mod public_api;
mod servers;
mod steps;
mod suite;
mod tools;

use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that must pass: format, lints, all tests, every feature alone, documentation.
    Test,
    /// Every proof in its long form: model, month, chaos, kills, power cuts, fuzzing. For a night; ten times as long as the
    /// short form unless said otherwise.
    Prove {
        /// How many times as long.
        #[arg(default_value_t = 10)]
        factor: usize,
    },
    /// Writes the listing of the public API below `docs/public-api/`. Needs rustup.
    PublicApi {
        /// Compare only, and fail if it changed.
        #[arg(long)]
        check: bool,
    },
    /// The first hour of a newcomer: a fresh clone, the README's line that starts the shop, without the network, and a
    /// browser that buys and pays.
    FirstHour,
    /// Finds or fetches the servers that tests need, and prints where they are, for `cargo test` by hand.
    Servers,
    /// Fuzzes every target under libFuzzer. Default: 60 seconds each. Needs rustup and a C++ compiler.
    Fuzz {
        /// For how many seconds each.
        #[arg(default_value_t = 60)]
        seconds: u64,
        /// This target only.
        target: Option<String>,
    },
    /// Tests that the time of a refusal does not depend on the secret. Needs a quiet machine.
    Timing {
        /// How many requests of each sort.
        #[arg(default_value_t = 1_000_000)]
        samples: u64,
    },
    /// Plays every scenario of `chaos`. Default: ten times as long as the short form of the documentation.
    Chaos {
        /// How many times as long.
        #[arg(default_value_t = 10)]
        factor: usize,
    },
    /// Cuts the power of SQLite, the spool and PostgreSQL, more often than `test` does. Default: 3,000 times each.
    PowerCuts {
        /// How many times.
        #[arg(default_value_t = 3000)]
        cuts: u64,
    },
    /// The protocol's model, larger than `test` checks it, which stops at 2 faults and 600,000 states; each fault more is some seven times
    /// as many.
    Model {
        /// How many callbacks may be in hand at once.
        #[arg(default_value_t = 2)]
        workers: u8,
        /// How often something may go wrong.
        #[arg(default_value_t = 3)]
        faults: u8,
    },
    /// Runs other people's clients of Daraja against the simulator, and compares the matrix of `tests/clients`. Needs
    /// Python, Node and the registries of both.
    Clients {
        /// These only.
        names: Vec<String>,
    },
    /// Kills the shop and PostgreSQL with `kill -9`, more often than `test` does. Default: 1,000 times each.
    Kill {
        /// How many times.
        #[arg(default_value_t = 1000)]
        kills: u64,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Test => steps::test(),
        Command::Prove { factor } => steps::prove(factor),
        Command::PublicApi { check } => public_api::run(check),
        Command::FirstHour => first_hour::run(),
        Command::Servers => {
            for (variable, place) in servers::places(&steps::root().join("target")) {
                println!("export {variable}={}", place.display());
            }
            Ok(())
        }
        Command::Fuzz { seconds, target } => fuzz::run(seconds, target.as_deref()),
        Command::Timing { samples } => steps::timing(samples),
        Command::Chaos { factor } => steps::chaos(factor),
        Command::PowerCuts { cuts } => steps::power_cuts(cuts),
        Command::Model { workers, faults } => steps::model(workers, faults),
        Command::Clients { names } => steps::clients(&names),
        Command::Kill { kills } => steps::kill(kills),
    }
}
