//! Programs that a command needs: found, or installed below `target/tools`.

use std::env;
use std::ffi::OsString;
use std::process::Command;

use crate::steps::{cargo, root, step};

/// Where programs are looked for: below `target/tools`, then as usual.
pub(crate) struct Tools {
    path: OsString,
}

impl Tools {
    /// These subcommands of cargo, by package, and these toolchains.
    pub(crate) fn with(packages: &[&str], toolchains: &[&str]) -> anyhow::Result<Tools> {
        let directory = root().join("target/tools");
        let paths = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(std::iter::once(directory.join("bin")).chain(env::split_paths(&paths)))?;
        let tools = Tools { path };
        for package in packages {
            if !tools.has(package.trim_start_matches("cargo-")) {
                let mut install = cargo(&["install", package, "--locked", "--root"]);
                install.arg(&directory);
                step(&format!("install {package}"), install)?;
            }
        }
        for toolchain in toolchains {
            if !tools.has(&format!("+{toolchain}")) {
                let mut install = Command::new("rustup");
                install.args(["toolchain", "install", toolchain, "--profile", "minimal"]);
                step(&format!("install the toolchain {toolchain}"), install)?;
            }
        }
        Ok(tools)
    }

    /// Lets a command find the programs, with its own choice of a toolchain.
    pub(crate) fn prepare(&self, command: &mut Command) {
        command.env("PATH", &self.path).env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    }

    fn has(&self, argument: &str) -> bool {
        let mut program = Command::new("cargo");
        program.args([argument, "--version"]);
        self.prepare(&mut program);
        program.output().is_ok_and(|output| output.status.success())
    }
}
