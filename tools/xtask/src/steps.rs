//! The steps of the commands; the first that fails ends a command.

use std::env;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::{fuzz, servers, suite};

/// The features that a user can switch on, package by package; each must build alone, and with none.
const FEATURES: [(&str, &[&str]); 4] = [
    (
        "mpesa-callbacks",
        &[
            "actix",
            "axum",
            "chrono",
            "postgres",
            "rocket",
            "rust_decimal",
            "serve",
            "sqlite",
            "sqlx-mysql-tx",
            "sqlx-postgres-tx",
            "sqlx-sqlite-tx",
            "test-util",
        ],
    ),
    ("mpesa-callbacks-daraja", &["toml"]),
    ("mpesa-callbacks-payload", &["chrono", "rust_decimal", "test-util"]),
    ("mpesa-callbacks-sqlx-tx", &["mysql", "postgres", "sqlite"]),
];

/// Each must build by itself, as the README runs it.
const EXAMPLES: [&str; 6] = ["shop", "actix-shop", "rocket-shop", "behind-proxy", "own-store", "testing"];

pub(crate) fn test() -> anyhow::Result<()> {
    let began = Instant::now();
    step("format", cargo(&["fmt", "--all", "--check"]))?;
    let lints = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    step("lints", cargo(&lints))?;
    part("tests", suite::run)?;
    // The README's and the guide's examples are among them.
    step("doc tests", cargo(&["test", "--workspace", "--all-features", "--doc"]))?;
    // As the tests were built: a release build would take longer than the scenarios.
    for scenario in &SHORT {
        scenario.play("dev", 1)?;
    }
    for (package, features) in FEATURES {
        for feature in std::iter::once(&"").chain(features) {
            let check = cargo(&["check", "-p", package, "--no-default-features", "--features", feature]);
            step(&format!("{package} with {}", if feature.is_empty() { "no feature" } else { feature }), check)?;
        }
    }
    // Built with the others, one has their features, too.
    for example in EXAMPLES {
        step(&format!("{example} alone"), cargo(&["check", "-p", example]))?;
    }
    let mut doc = cargo(&["doc", "--workspace", "--all-features", "--no-deps"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    step("documentation", doc)?;
    println!("\nEverything passed, in {} s.", began.elapsed().as_secs());
    Ok(())
}

pub(crate) fn timing(samples: u64) -> anyhow::Result<()> {
    let package = ["test", "--release", "-p", "mpesa-callbacks-tests", "--test", "integration"];
    let mut timing = cargo(&[&package[..], &["--", "--ignored", "--nocapture", "secret_timing"]].concat());
    timing.env("SAMPLES", samples.to_string());
    step("timing", timing)
}

/// One scenario of `chaos`: how many callbacks, and how often something happens.
struct Scenario(&'static [&'static str], usize, usize);

/// As `test` plays them.
const SHORT: [Scenario; 7] = [
    Scenario(&["kills", "--on", "sqlite"], 8_000, 16),
    Scenario(&["kills", "--on", "postgres"], 8_000, 16),
    Scenario(&["restarts"], 1_800, 6),
    Scenario(&["outages"], 4_000, 8),
    Scenario(&["recovery"], 0, 1),
    Scenario(&["deadlines"], 2_500, 0),
    Scenario(&["spool"], 4_000, 0),
];

/// As `chaos` multiplies them.
const LONG: [Scenario; 7] = [
    Scenario(&["kills", "--on", "sqlite"], 20_000, 40),
    Scenario(&["kills", "--on", "postgres"], 20_000, 40),
    Scenario(&["restarts"], 3_000, 10),
    Scenario(&["outages"], 10_000, 20),
    Scenario(&["recovery"], 0, 1),
    Scenario(&["deadlines"], 5_000, 0),
    Scenario(&["spool"], 12_000, 0),
];

impl Scenario {
    fn play(&self, profile: &str, factor: usize) -> anyhow::Result<()> {
        let Scenario(name, callbacks, times) = self;
        let mut play = cargo(&["run", "--quiet", "--profile", profile, "-p", "chaos", "--", "play"]);
        play.args(*name).args(["--callbacks", &(callbacks * factor).to_string()]);
        play.args(["--times", &(times * factor).to_string()]);
        play.envs(servers::places(&root().join("target")));
        step(&name.join(" "), play)
    }
}

/// Every scenario, so many times as long.
pub(crate) fn chaos(factor: usize) -> anyhow::Result<()> {
    LONG.iter().try_for_each(|scenario| scenario.play("release", factor))
}

/// Every proof in its long form, so many times as long.
pub(crate) fn prove(factor: usize) -> anyhow::Result<()> {
    let times = u64::try_from(factor)?;
    model(2, 3)?;
    month(2_000 * factor)?;
    chaos(factor)?;
    kill(300 * times)?;
    power_cuts(300 * times)?;
    fuzz::run(60 * times, None)
}

/// A merchant's month with so many payments on each database.
fn month(payments: usize) -> anyhow::Result<()> {
    let package = ["test", "--release", "-p", "mpesa-callbacks-tests", "--test", "integration"];
    let mut month = cargo(&[&package[..], &["--", "--nocapture", "merchant_month"]].concat());
    month.env("PAYMENTS", payments.to_string()).envs(servers::places(&root().join("target")));
    step("a merchant's month", month)
}

pub(crate) fn power_cuts(cuts: u64) -> anyhow::Result<()> {
    let mut tests = cargo(&["test", "--release", "-p", "mpesa-callbacks-power-cut", "--", "--nocapture"]);
    tests.env("CUTS", cuts.to_string()).envs(servers::places(&root().join("target")));
    step("power cuts", tests)
}

pub(crate) fn model(workers: u8, faults: u8) -> anyhow::Result<()> {
    let mut model = cargo(&["test", "--release", "-p", "mpesa-callbacks-model", "--", "--nocapture"]);
    model.env("WORKERS", workers.to_string()).env("FAULTS", faults.to_string());
    step("the protocol's model", model)
}

pub(crate) fn clients(names: &[String]) -> anyhow::Result<()> {
    let mut clients = cargo(&["run", "--quiet", "-p", "clients", "--"]);
    clients.args(names);
    step("clients", clients)
}

pub(crate) fn kill(kills: u64) -> anyhow::Result<()> {
    let mut kill = cargo(&["test", "--release", "-p", "shop", "--test", "kill", "--", "--nocapture"]);
    kill.env("KILLS", kills.to_string());
    step("kill -9 of the shop", kill)?;
    let server = ["test", "--release", "-p", "mpesa-callbacks-postgres", "--test", "kill"];
    let mut kill = cargo(&[&server[..], &["--", "--nocapture"]].concat());
    kill.env("KILLS", kills.to_string());
    step("kill -9 of PostgreSQL", kill)
}

pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments).current_dir(root());
    cargo
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."))
}

pub(crate) fn step(name: &str, mut command: Command) -> anyhow::Result<()> {
    part(name, || {
        let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
        ensure!(status.success(), "{name}: {command:?} failed");
        Ok(())
    })
}

fn part(name: &str, run: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    println!("\n── {name}");
    let began = Instant::now();
    run()?;
    println!("── {name}: passed in {} s", began.elapsed().as_secs());
    Ok(())
}
