//! `daraja`: M-Pesa on your machine, and the reason why callbacks do not arrive.

mod delivery;

mod dev;

mod doctor;

mod explain;

mod replay;

mod send;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// Develop and test against M-Pesa's API (Daraja) on your own machine. It is not Safaricom's.
#[derive(Debug, Parser)]
#[command(name = "daraja", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plays M-Pesa on 127.0.0.1:2547, with a page.
    Dev(dev::Options),
    /// Posts one callback to a URL, and judges the response.
    Send(send::Options),
    /// Posts what `daraja dev --record` has recorded, again.
    Replay(replay::Options),
    /// Looks for the reasons why callbacks do not arrive. Nothing is stored by it.
    Doctor(doctor::Options),
    /// Prints completions for a shell: `daraja completions bash > ~/.local/share/bash-completion/completions/daraja`.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Prints the manual page, with that of every command behind it: `daraja man > ~/.local/share/man/man1/daraja.1`.
    Man,
    /// Explains a result code, an error code, an answer, or a callback.
    Explain(explain::Options),
}

fn play(options: &dev::Options) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(dev::run(options))
}

fn manual() -> anyhow::Result<()> {
    let mut command = Arguments::command();
    // So that the page of a command is named `daraja send`.
    command.build();
    let mut pages = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut pages)?;
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        clap_mangen::Man::new(subcommand.clone()).render(&mut pages)?;
    }
    Ok(std::io::stdout().write_all(&pages)?)
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Dev(options) => play(&options).map(|()| true),
        Command::Send(options) => send::run(&options),
        Command::Replay(options) => replay::run(&options),
        Command::Doctor(options) => doctor::run(&options),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "daraja", &mut script);
            std::io::stdout().write_all(&script).map(|()| true).map_err(Into::into)
        }
        Command::Man => manual().map(|()| true),
        Command::Explain(options) => explain::run(&options).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("daraja: {error:#}");
            ExitCode::from(2)
        }
    }
}
