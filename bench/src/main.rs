//! Measurements, each a command that prints a table and lines of JSON.
//!
//! ```sh
//! cargo run --release -p bench -- sockets     # ten thousand connections that idle or dribble, and genuine callbacks between
//! ```

mod server;

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
    /// Genuine callbacks while many connections idle or dribble, against each framework's server.
    Sockets(sockets::Options),
    /// A server to be measured.
    #[command(hide = true)]
    Serve(server::Options),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Sockets(options) => sockets::run(&options),
        Command::Serve(options) => server::run(&options),
    }
}
