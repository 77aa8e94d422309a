//! The first hour of a newcomer: a fresh clone, the lines of the README, a browser that buys and pays.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::servers;
use crate::steps::{cargo, root, step};

/// For the build, on a slow machine.
const LONG: Duration = Duration::from_secs(60 * 60);

/// The line of the README that starts the shop.
const START: &str = "cargo run -p shop";

/// Ends with the command.
struct Shop(Child);

impl Drop for Shop {
    fn drop(&mut self) {
        // The shop is a child of cargo's, in a group of its own.
        let _ = Command::new("kill").arg("--").arg(format!("-{}", self.0.id())).status();
        let _ = self.0.wait();
    }
}

/// Clones the repository into `target`, starts the shop as the README does, without the network, and lets a browser buy.
pub(crate) fn run() -> anyhow::Result<()> {
    let place = root().join("target/first-hour");
    if place.exists() {
        std::fs::remove_dir_all(&place).context("the clone of before")?;
    }
    let mut clone = Command::new("git");
    clone.args(["clone", "--quiet"]).arg(root()).arg(&place);
    step("git clone", clone)?;
    let readme = std::fs::read_to_string(place.join("README.md"))?;
    let lines: Vec<&str> = readme.lines().filter(|line| line.starts_with("cargo run")).collect();
    ensure!(
        lines.iter().any(|line| line.split('#').next().is_some_and(|line| line.trim() == START)),
        "README.md has no `{START}`"
    );
    let mut fetch = cargo(&["fetch", "--locked"]);
    fetch.current_dir(&place);
    step("cargo fetch", fetch)?;

    let began = Instant::now();
    let (port, daraja_port) = (free_port()?, free_port()?);
    let _shop = start(&place, port, daraja_port)?;
    await_port(port)?;
    println!("the shop is open after {} s", began.elapsed().as_secs());
    let mut browser = cargo(&["test", "-p", "shop", "--test", "browser", "a_person_buys", "--", "--nocapture"]);
    browser.env("SHOP_URL", format!("http://127.0.0.1:{port}"));
    browser.env("DARAJA_URL", format!("http://127.0.0.1:{daraja_port}"));
    browser.envs(servers::places(&root().join("target")));
    step("a browser buys and pays", browser)
}

fn start(place: &Path, port: u16, daraja_port: u16) -> anyhow::Result<Shop> {
    use std::os::unix::process::CommandExt;

    let mut words = START.split(' ');
    let mut shop = Command::new(words.next().context("a command")?);
    shop.args(words).current_dir(place).process_group(0);
    shop.env("CARGO_NET_OFFLINE", "true").env("CARGO_TARGET_DIR", place.join("target"));
    shop.env("PORT", port.to_string()).env("DARAJA_PORT", daraja_port.to_string());
    shop.env_remove("CONSUMER_KEY").stdout(Stdio::null());
    Ok(Shop(shop.spawn().context("cargo")?))
}

fn await_port(port: u16) -> anyhow::Result<()> {
    let began = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        ensure!(began.elapsed() < LONG, "the shop does not open");
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
