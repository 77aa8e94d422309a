//! Installs a client below `target/clients`, exactly as its lock file says, and returns the command of its program.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::programs::{Language, Program};

/// Returns the command that runs a program, after installing what it needs.
pub(crate) fn command(program: &Program) -> anyhow::Result<Command> {
    let target = target()?;
    match program.language {
        Language::Python => {
            let sources = here().join("python");
            let mut command = python(program.name, &sources, &target.join(program.name))?;
            command.arg(sources.join(format!("{}.py", program.name)));
            Ok(command)
        }
        Language::Node => node(program, &here().join("node"), &target.join("node")),
        Language::Rust => rust(program, &here().join("rust"), &target.join("rust")),
    }
}

/// Returns Python with pytest.
pub(crate) fn pytest() -> anyhow::Result<Command> {
    python("pytest", &here().join("python"), &target()?.join("pytest"))
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn target() -> anyhow::Result<PathBuf> {
    let target = here().join("../../target/clients");
    std::fs::create_dir_all(&target).with_context(|| format!("cannot create {}", target.display()))?;
    Ok(target)
}

/// Python with the packages of a list.
fn python(name: &str, sources: &Path, target: &Path) -> anyhow::Result<Command> {
    let requirements = sources.join(format!("requirements/{name}.txt"));
    once(&requirements, target, || {
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--root-user-action=ignore",
            "--no-deps",
            "--requirement",
        ]);
        pip.arg(&requirements).arg("--target").arg(target);
        pip
    })?;
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", target);
    // Byte code would be written beside our sources.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

fn node(program: &Program, sources: &Path, target: &Path) -> anyhow::Result<Command> {
    std::fs::create_dir_all(target)?;
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(sources.join(file), target.join(file)).with_context(|| format!("cannot copy {file}"))?;
    }
    once(&sources.join("package-lock.json"), target, || {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(target);
        npm
    })?;
    let mut command = Command::new("node");
    command.arg(sources.join(format!("{}.js", program.name)));
    command.env("NODE_PATH", target.join("node_modules"));
    Ok(command)
}

fn rust(program: &Program, sources: &Path, target: &Path) -> anyhow::Result<Command> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--locked", "--bin", program.name, "--manifest-path"]);
    cargo.arg(sources.join("Cargo.toml")).arg("--target-dir").arg(target);
    let status = cargo.status().context("cannot run cargo")?;
    ensure!(status.success(), "{} does not build", program.name);
    Ok(Command::new(target.join("debug").join(program.name)))
}

/// Installs, unless what the lock file says is there already.
fn once(lock: &Path, target: &Path, install: impl FnOnce() -> Command) -> anyhow::Result<()> {
    let wanted = std::fs::read(lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let marker = target.join(".installed");
    if std::fs::read(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let mut command = install();
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} failed");
    std::fs::create_dir_all(target)?;
    Ok(std::fs::write(marker, wanted)?)
}
