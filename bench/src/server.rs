//! The servers that are measured, each in a process of its own: an inbox in SQLite, mounted at `/pay`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::{actix_adapter, axum_adapter, rocket_adapter};
use tokio::net::TcpListener;

pub(crate) const SECRET: &str = "00112233445566778899aabbccddeeff";

/// Which framework, and whose server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Framework {
    /// axum, by our hardened server.
    Axum,
    /// actix-web.
    Actix,
    /// Rocket.
    Rocket,
}

#[derive(clap::Args)]
pub(crate) struct Options {
    framework: Framework,
    #[arg(long)]
    port: u16,
    #[arg(long)]
    directory: PathBuf,
}

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk]
    async fn stk(&self, _: StkCallback) {}
}

/// A server that runs, until it is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Running {
    /// Starts one in a process of its own.
    pub(crate) fn start(framework: Framework) -> anyhow::Result<Running> {
        let directory = tempfile::tempdir()?;
        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let name = framework.to_possible_value().context("a framework")?;
        let mut server = Command::new(env::current_exe()?);
        server.args(["serve", name.get_name(), "--port", &port.to_string(), "--directory"]).arg(directory.path());
        let child = server.stdout(Stdio::null()).spawn().context("the server does not start")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let began = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            ensure!(began.elapsed() < Duration::from_secs(20), "the server does not listen on {address}");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Running { child, address, _directory: directory })
    }

    /// Its resident memory, in KiB (Linux).
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).context("its memory")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until it is killed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let start = async || -> anyhow::Result<Inbox> {
        let store = SqliteStore::open(options.directory.join("inbox.db"))?;
        Ok(Inbox::builder(Shop).store(store).secret(SECRET).sandbox().start().await?)
    };
    match options.framework {
        Framework::Axum => runtime()?.block_on(async {
            let app = axum::Router::new().nest("/pay", axum_adapter::router(&start().await?));
            Ok(axum_adapter::serve(TcpListener::bind(address).await?, app).await?)
        }),
        Framework::Actix => actix_web::rt::System::new().block_on(async {
            let inbox = start().await?;
            let app = move || {
                let scope = actix_web::web::scope("/pay").configure(actix_adapter::routes(&inbox));
                actix_web::App::new().service(scope)
            };
            Ok(actix_web::HttpServer::new(app).bind(address)?.run().await?)
        }),
        Framework::Rocket => runtime()?.block_on(async {
            let inbox = start().await?;
            let config = rocket::Config {
                address: address.ip(),
                port: address.port(),
                log_level: rocket::config::LogLevel::Off,
                ..rocket::Config::release_default()
            };
            rocket::custom(config).mount("/pay", rocket_adapter::routes(&inbox)).launch().await?;
            Ok(())
        }),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
