//! A small shop that is paid by M-Pesa.
//!
//! ```sh
//! cargo run -p shop              # listens on 127.0.0.1:3000; PORT, DATA_DIR and CALLBACK_SECRET change it
//! cargo run -p shop -- --demo    # sends itself real callbacks, and shows what became of each
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use mpesa_callbacks::Secret;
use shop::{Options, Running, demo};
use tokio::net::TcpListener;

/// A small shop that is paid by M-Pesa.
#[derive(Parser)]
struct Arguments {
    /// Send real callbacks to a shop in a temporary directory, and show what became of each.
    #[arg(long)]
    demo: bool,
    /// The port to listen on, on 127.0.0.1.
    #[arg(long, env = "PORT", default_value_t = 3000)]
    port: u16,
    /// Where the inbox and the shop keep their database files.
    #[arg(long, env = "DATA_DIR", default_value = "shop-data")]
    data_dir: PathBuf,
    /// The secret in the callback URLs: what `openssl rand -hex 16` prints. Random when absent.
    #[arg(long, env = "CALLBACK_SECRET", hide_env_values = true)]
    callback_secret: Option<String>,
    /// For how long a process may handle a callback before it must ask again, in seconds.
    #[arg(long, env = "LEASE_SECONDS", default_value_t = 30.0)]
    lease_seconds: f64,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| (if arguments.demo { "off" } else { "info" }).into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    if arguments.demo {
        return demo::run().await;
    }

    let secret = match arguments.callback_secret {
        Some(secret) => Secret::new(secret).context("CALLBACK_SECRET")?,
        None => Secret::generate()?,
    };
    let lease = Duration::try_from_secs_f64(arguments.lease_seconds).context("LEASE_SECONDS")?;
    let options = Options { data_dir: arguments.data_dir, secret: secret.clone(), lease };
    let Running { app, inbox, .. } = shop::start(&options).await?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port));
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    println!("{}", shop::directions(&inbox, listener.local_addr()?, &secret));

    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(asked_to_stop()).await?;
    inbox.shutdown(Duration::from_secs(20)).await?;
    Ok(ExitCode::SUCCESS)
}

/// Ctrl-C, or what a service manager sends.
async fn asked_to_stop() {
    let interrupted = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupted => {}
                _ = terminated.recv() => {}
            }
            return;
        }
    }
    let _ = interrupted.await;
}
