//! Other people's clients of Daraja, from their registries, unchanged, each against the simulator.
//!
//! ```sh
//! cargo xtask clients                 # all of them, and compares the matrix in README.md
//! cargo xtask clients mpesakit        # one
//! UPDATE_DOCS=1 cargo xtask clients   # writes the matrix
//! ```

mod control;
mod exceptions;
mod install;
mod matrix;
mod programs;
mod receiver;
mod run;

use std::process::ExitCode;

use anyhow::ensure;
use clap::Parser;

use self::programs::PROGRAMS;

/// Runs other people's clients of Daraja against the simulator.
#[derive(Parser)]
struct Arguments {
    /// Names of clients; `control` for the tests in other languages. Default: all.
    names: Vec<String>,
}

/// The tests that control the simulator, among the names of clients.
const CONTROL: &str = "control";

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Arguments { names } = Arguments::parse();
    for name in &names {
        let is_known = name == CONTROL || PROGRAMS.iter().any(|program| program.name == name);
        ensure!(is_known, "there is no client `{name}`");
    }
    let mut tried = Vec::new();
    for program in PROGRAMS.iter().filter(|program| names.is_empty() || names.iter().any(|name| name == program.name)) {
        println!("── {} {}", program.name, program.version);
        let mut command = install::command(program)?;
        tried.extend(run::run(program, &mut command).await?);
    }
    if names.is_empty() || names.iter().any(|name| name == CONTROL) {
        control::run().await?;
    }
    let as_expected = matrix::judge(&tried);
    if as_expected && names.is_empty() {
        matrix::document(&tried)?;
    }
    Ok(if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
