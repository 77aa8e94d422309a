//! `cargo run --release -p chaos -- play kills`: `chaos/src/scenario/mod.rs` lists the scenarios.

use anyhow::Context;
use chaos::{replica, scenario};
use clap::{Parser, Subcommand};

/// Replicas of an application that are killed, paused, restarted and cut off from their database, and a journal that knows better.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Plays a scenario.
    Play(scenario::Options),
    /// One replica; a scenario starts them.
    #[command(hide = true)]
    Replica(replica::Options),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Play(options) => {
            let program = std::env::current_exe().context("this program")?;
            scenario::play(program, options).await
        }
        Command::Replica(options) => {
            let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "off".into());
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
            std::panic::set_hook(Box::new(|_| {})); // handlers panic on purpose
            replica::run(options).await
        }
    }
}
