//! libFuzzer on `tests/fuzz/targets`.

use std::fs;
use std::process::Command;

use anyhow::Context;

use crate::steps::{root, step};
use crate::tools::Tools;

/// Runs every target, or this one, for so long. Its corpus is kept below `target/fuzz`, and is where it begins
/// the next time; an input that breaks something stays in `tests/fuzz/targets/artifacts`.
pub(crate) fn run(seconds: u64, only: Option<&str>) -> anyhow::Result<()> {
    let output = root().join("target/fuzz");
    let tools = Tools::with(&["cargo-fuzz"], &["nightly"])?;
    let sources = fs::read_dir(root().join("tests/fuzz/targets/src")).context("tests/fuzz/targets/src")?;
    let mut targets: Vec<_> = sources.flatten().filter_map(|it| Some(it.path().file_stem()?.to_owned())).collect();
    targets.sort();
    for target in targets.iter().filter_map(|target| target.to_str()).filter(|it| only.is_none_or(|only| only == *it)) {
        let corpus = output.join("corpus").join(target);
        fs::create_dir_all(&corpus)?;
        let mut fuzz = Command::new("cargo");
        // Whichever toolchain runs this, the fuzzer needs a nightly one.
        tools.prepare(&mut fuzz);
        fuzz.current_dir(root());
        fuzz.args(["+nightly", "fuzz", "run", "--fuzz-dir", "tests/fuzz/targets", "--target-dir"]).arg(&output);
        fuzz.arg(target).arg(corpus).arg("conformance/fixtures");
        fuzz.arg("--").args([&format!("-max_total_time={seconds}"), "-max_len=4096", "-print_final_stats=1"]);
        step(&format!("fuzz {target}"), fuzz)?;
    }
    Ok(())
}
