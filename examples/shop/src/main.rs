//! A small shop with M-Pesa payments.
//!
//! ```sh
//! cargo run -p shop              # listens on 127.0.0.1:3000; PORT, DATA_DIR and CALLBACK_SECRET change it
//! cargo run -p shop -- --demo    # sends itself real callbacks and shows the result of each
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use shop::{Options, demo};
use tokio::net::TcpListener;

/// A small shop with M-Pesa payments.
#[derive(Parser)]
struct Arguments {
    /// Send real callbacks to a shop in a temporary directory, and show the result of each.
    #[arg(long)]
    demo: bool,
    #[command(flatten)]
    options: Options,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Arguments { demo, options } = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| (if demo { "off" } else { "info" }).into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    if demo {
        return demo::run().await;
    }

    let (inbox, orders) = shop::open(&options).await?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    let urls = shop::urls(&inbox, address)?;
    println!("{}", shop::directions(&urls, address)?);

    mpesa_callbacks::serve(listener, shop::app(&inbox, urls, orders)).with_graceful_shutdown(asked_to_stop()).await?;
    inbox.shutdown(Duration::from_secs(20)).await?;
    Ok(ExitCode::SUCCESS)
}

/// Waits for Ctrl-C or SIGTERM.
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
