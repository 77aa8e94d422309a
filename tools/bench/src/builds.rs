//! Builds: a clean debug build of an application with axum and SQLite, with this library and without it.
//!
//! The library is taken from the last commit, by git, because Cargo then builds it as it builds what comes from a registry:
//! at once, and with its lints capped. A path would be built incrementally, in hundreds of small parts, as only those who
//! change the library themselves have it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::measure::{Report, cell, median, of_ended};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each is built; the median is printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// An application as they are: axum, JSON, and SQLite through sqlx.
const DEPENDENCIES: &str = r#"
axum = "0.8"
serde = { version = "1", features = ["derive"] }
serde_json = "1"
sqlx = { version = "0.9", default-features = false, features = ["runtime-tokio", "sqlite", "macros"] }
tokio = { version = "1", features = ["full"] }
"#;

const WITHOUT: &str = r#"
use axum::{Json, Router, extract::State, routing::post};
use sqlx::SqlitePool;

#[derive(serde::Deserialize)]
struct Order { name: String }

async fn order(State(pool): State<SqlitePool>, Json(order): Json<Order>) -> Json<serde_json::Value> {
    let placed = sqlx::query("INSERT INTO orders (name) VALUES (?)").bind(order.name).execute(&pool).await;
    Json(serde_json::json!({ "placed": placed.is_ok() }))
}

#[tokio::main]
async fn main() {
    let pool = SqlitePool::connect("sqlite::memory:").await.unwrap();
    let app = Router::new().route("/orders", post(order)).with_state(pool);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    axum::serve(listener, app).await.unwrap();
}
"#;

/// The additions of the README's shop.
const WITH: &str = r#"
use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[payment]
    async fn paid(&self, payment: Payment) {
        println!("{}", payment.receipt);
    }
}

async fn mount(app: axum::Router) -> axum::Router {
    let store = SqliteStore::open("inbox.db").unwrap();
    let inbox = Inbox::builder(Shop).store(store).secret("0123456789abcdef0123456789abcdef").start().await.unwrap();
    app.nest("/pay", mpesa_callbacks::axum_adapter::router(&inbox))
}
"#;

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("the workspace")?;
    let commit = committed(root)?;
    let library = format!(
        "mpesa-callbacks = {{ git = \"file://{}\", rev = \"{commit}\", features = [\"axum\", \"sqlite\"] }}\n",
        root.display()
    );
    let with = WITHOUT.replace("with_state(pool);", "with_state(pool);\n    let app = mount(app).await;") + WITH;
    let applications = [("without", WITHOUT.to_owned(), String::new()), ("with", with, library)];
    let mut times = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    for round in 1..=options.rounds {
        for ((name, program, dependency), times) in applications.iter().zip(&mut times) {
            eprintln!("round {round} of {}: {name} the library", options.rounds);
            let directory = tempfile::tempdir()?;
            let manifest = format!(
                "[package]\nname = \"application\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]{DEPENDENCIES}{dependency}"
            );
            fs::create_dir(directory.path().join("src"))?;
            fs::write(directory.path().join("Cargo.toml"), manifest)?;
            fs::write(directory.path().join("src/main.rs"), program)?;
            // The same versions of everything.
            fs::copy(root.join("Cargo.lock"), directory.path().join("Cargo.lock"))?;
            cargo(directory.path(), "fetch")?;
            let (began, before) = (Instant::now(), of_ended()?);
            cargo(directory.path(), "build")?;
            times.0.push(began.elapsed().as_secs_f64());
            times.1.push(of_ended()?.saturating_sub(before).as_secs_f64());
        }
    }
    let mut report = Report::new("builds", &["application", "seconds", "times", "processor s", "processor times"]);
    let [without, with] = times.map(|(seconds, processor)| (median(seconds), median(processor)));
    for (name, (seconds, processor)) in [("without the library", without), ("with the library", with)] {
        report.row(vec![
            cell(name, name),
            cell(format!("{seconds:.1}"), seconds),
            cell(format!("{:.2}", seconds / without.0), seconds / without.0),
            cell(format!("{processor:.1}"), processor),
            cell(format!("{:.2}", processor / without.1), processor / without.1),
        ]);
    }
    report.print();
    Ok(())
}

/// The last commit's name.
fn committed(root: &Path) -> anyhow::Result<String> {
    let answer = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(root).output().context("git")?;
    ensure!(
        answer.status.success(),
        "there is no commit in {}: the library is taken from the last one",
        root.display()
    );
    Ok(String::from_utf8(answer.stdout)?.trim().to_owned())
}

fn cargo(directory: &Path, command: &str) -> anyhow::Result<()> {
    let cargo = env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let mut cargo = Command::new(cargo);
    cargo.arg(command).arg("--quiet").current_dir(directory).env("CARGO_TARGET_DIR", directory.join("target"));
    // The environment of this program's own build must not affect the application's.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_BUILD_RUSTFLAGS");
    ensure!(cargo.status()?.success(), "cargo {command} failed");
    Ok(())
}
