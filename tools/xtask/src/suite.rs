//! Runs the test binaries of the workspace, as many at a time as there are processors.
//!
//! `cargo test` runs one after the other, and many of them wait most of the time.

use std::collections::VecDeque;
use std::env;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::{available_parallelism, scope};
use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::servers;
use crate::steps::{cargo, root};

/// Those that take longest begin first.
const LONGEST: [&str; 4] = ["ui", "integration", "kill", "postgres"];

/// Threads per binary: tests wait for servers and timers more than they compute.
const THREADS: &str = "8";

struct TestBinary {
    name: String,
    package: String,
    directory: PathBuf,
    executable: PathBuf,
}

/// Builds all tests, and runs them.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut binaries = build()?;
    binaries.sort_by_key(|binary| LONGEST.iter().position(|name| *name == binary.name).unwrap_or(LONGEST.len()));
    let count = binaries.len();
    let environment = environment()?;
    let (waiting, failed) = (Mutex::new(VecDeque::from(binaries)), Mutex::new(Vec::new()));
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    scope(|scope| {
        for _ in 0..available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(binary) = next() {
                    if !passes(&binary, &environment) {
                        let name = format!("{} {}", binary.package, binary.name);
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(failed.is_empty(), "tests failed: {}", failed.join(", "));
    println!("{count} test binaries passed");
    Ok(())
}

/// Builds the tests of all packages, and returns their binaries.
fn build() -> anyhow::Result<Vec<TestBinary>> {
    let mut build = cargo(&["test", "--workspace", "--all-features", "--no-run"]);
    build.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let Output { status, stdout, .. } = build.output().context("cannot run cargo")?;
    ensure!(status.success(), "the tests do not build");
    let messages = String::from_utf8(stdout)?;
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_test = |message: &Value| message["reason"] == "compiler-artifact" && message["profile"]["test"] == true;
    Ok(messages.filter(is_test).filter_map(|message| test_binary(&message)).collect())
}

fn test_binary(message: &Value) -> Option<TestBinary> {
    let directory = PathBuf::from(message["manifest_path"].as_str()?).parent()?.to_owned();
    Some(TestBinary {
        name: message["target"]["name"].as_str()?.to_owned(),
        package: directory.strip_prefix(root()).unwrap_or(&directory).display().to_string(),
        directory,
        executable: message["executable"].as_str()?.into(),
    })
}

/// The variables that `cargo test` sets and tests read, and the places of the servers.
fn environment() -> anyhow::Result<Vec<(String, PathBuf)>> {
    let printed = Command::new("rustc").args(["--print", "target-libdir"]).current_dir(root()).output()?;
    let libraries = PathBuf::from(String::from_utf8(printed.stdout)?.trim());
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut environment = vec![("LD_LIBRARY_PATH".to_owned(), libraries), ("CARGO".to_owned(), cargo.into())];
    if env::var_os("RUST_TEST_THREADS").is_none() {
        environment.push(("RUST_TEST_THREADS".to_owned(), THREADS.into()));
    }
    let places = servers::places(&root().join("target"));
    environment.extend(places.into_iter().map(|(variable, place)| (variable.to_owned(), place)));
    Ok(environment)
}

fn passes(binary: &TestBinary, environment: &[(String, PathBuf)]) -> bool {
    let began = Instant::now();
    let mut test = Command::new(&binary.executable);
    test.current_dir(&binary.directory).env("CARGO_MANIFEST_DIR", &binary.directory);
    test.envs(environment.iter().map(|(variable, value)| (variable, value))).stdin(Stdio::null());
    let (passed, text) = match test.output() {
        Ok(output) => (output.status.success(), [output.stdout, output.stderr].concat()),
        Err(error) => (false, error.to_string().into_bytes()),
    };
    let (name, package, seconds) = (&binary.name, &binary.package, began.elapsed().as_secs());
    let outcome = if passed { "passed" } else { "FAILED" };
    // In one piece, so that the outputs of two do not mix.
    println!("── {package} {name}: {outcome} in {seconds} s\n{}", String::from_utf8_lossy(&text));
    passed
}
