//! libFuzzer on `tests/fuzz/targets`.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::Context;

use crate::steps::{cargo, root, step};

/// Runs every target, or this one, for so long. Its corpus is kept below `target/fuzz`, and is where it begins
/// the next time; an input that breaks something stays in `tests/fuzz/targets/artifacts`.
pub(crate) fn run(seconds: u64, only: Option<&str>) -> anyhow::Result<()> {
    let output = root().join("target/fuzz");
    let path = tools(&root().join("target/tools"))?;
    let sources = fs::read_dir(root().join("tests/fuzz/targets/src")).context("tests/fuzz/targets/src")?;
    let mut targets: Vec<_> = sources.flatten().filter_map(|it| Some(it.path().file_stem()?.to_owned())).collect();
    targets.sort();
    for target in targets.iter().filter_map(|target| target.to_str()).filter(|it| only.is_none_or(|only| only == *it)) {
        let corpus = output.join("corpus").join(target);
        fs::create_dir_all(&corpus)?;
        let mut fuzz = Command::new("cargo");
        // Whichever toolchain runs this, the fuzzer needs a nightly one.
        fuzz.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN").env("PATH", &path).current_dir(root());
        fuzz.args(["+nightly", "fuzz", "run", "--fuzz-dir", "tests/fuzz/targets", "--target-dir"]).arg(&output);
        fuzz.arg(target).arg(corpus).arg("conformance/fixtures");
        fuzz.arg("--").args([&format!("-max_total_time={seconds}"), "-max_len=4096", "-print_final_stats=1"]);
        step(&format!("fuzz {target}"), fuzz)?;
    }
    Ok(())
}

/// cargo-fuzz and a nightly toolchain: found, or installed. Returns where programs are then looked for.
fn tools(directory: &Path) -> anyhow::Result<OsString> {
    let paths = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(std::iter::once(directory.join("bin")).chain(env::split_paths(&paths)))?;
    let has = |program: &str, argument: &str| {
        let mut program = Command::new(program);
        program.args([argument, "--version"]).env("PATH", &path).env_remove("RUSTUP_TOOLCHAIN");
        program.output().is_ok_and(|output| output.status.success())
    };
    if !has("cargo", "fuzz") {
        let mut install = cargo(&["install", "cargo-fuzz", "--locked", "--root"]);
        install.arg(directory);
        step("install cargo-fuzz", install)?;
    }
    if !has("cargo", "+nightly") {
        let mut install = Command::new("rustup");
        install.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
        step("install a nightly toolchain", install)?;
    }
    Ok(path)
}
