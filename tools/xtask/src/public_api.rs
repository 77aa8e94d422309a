//! The listing of the public API, one file per published library, below `docs/public-api/`.
//!
//! A change of the surface is then a change of a file: it is seen in a review, and refused in CI
//! until it is written down.

use std::fs;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::steps::{root, step};
use crate::tools::Tools;

/// The published libraries. The API of the macros is that of `mpesa-callbacks`.
const LIBRARIES: [&str; 12] = [
    "mpesa-callbacks",
    "mpesa-callbacks-actix",
    "mpesa-callbacks-axum",
    "mpesa-callbacks-conformance",
    "mpesa-callbacks-core",
    "mpesa-callbacks-daraja",
    "mpesa-callbacks-payload",
    "mpesa-callbacks-postgres",
    "mpesa-callbacks-rocket",
    "mpesa-callbacks-serve",
    "mpesa-callbacks-sqlite",
    "mpesa-callbacks-sqlx-tx",
];

/// Writes the listing; with `check`, compares it and fails if it differs.
pub(crate) fn run(check: bool) -> anyhow::Result<()> {
    let tools = Tools::with(&["cargo-public-api"], &["nightly"])?;
    let directory = root().join("docs/public-api");
    fs::create_dir_all(&directory)?;
    let mut changed = Vec::new();
    for library in LIBRARIES {
        let mut list = Command::new("cargo");
        list.args(["public-api", "-p", library, "--all-features", "-sss"]).current_dir(root());
        tools.prepare(&mut list);
        let listed = list.output().with_context(|| format!("cannot list the API of {library}"))?;
        ensure!(listed.status.success(), "{library}: {}", String::from_utf8_lossy(&listed.stderr));
        let file = directory.join(format!("{library}.txt"));
        let is_same = fs::read(&file).is_ok_and(|known| known == listed.stdout);
        if !is_same {
            changed.push(library);
        }
        if !check {
            fs::write(&file, listed.stdout)?;
        }
    }
    if changed.is_empty() {
        println!("the public API is as it is written down");
        return Ok(());
    }
    let changed = changed.join(", ");
    ensure!(!check, "the public API of {changed} changed: run `cargo xtask public-api`, and look at the difference");
    println!("the public API changed: {changed}");
    let mut difference = Command::new("git");
    difference.args(["--no-pager", "diff", "--stat", "--", "docs/public-api"]).current_dir(root());
    step("difference", difference)
}
