//! A small shop with M-Pesa payments.
//!
//! ```sh
//! cargo run -p shop              # the shop on 127.0.0.1:3000, a Daraja simulator on 127.0.0.1:2547
//! cargo run -p shop -- --demo    # plays a story with faults, and shows the result of each part
//! cargo run -p shop -- --help    # ports, directories, and the real Daraja
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use mpesa_callbacks_daraja::Daraja as Simulator;
use shop::{Checkout, Daraja, Merchant, Options, demo};
use tokio::net::TcpListener;

/// A small shop with M-Pesa payments.
#[derive(Parser)]
struct Arguments {
    /// Play a story through the simulator, in a temporary directory, and show the result of each part.
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

    let (simulator, merchant) = match options.merchant()? {
        Some(merchant) => (None, merchant),
        None => {
            let port = options.daraja_port;
            let simulator = Simulator::builder().port(port).real_time().interactive().confirm_pushes().start().await;
            let simulator = simulator.with_context(|| format!("DARAJA_PORT: cannot listen on 127.0.0.1:{port}"))?;
            let merchant = Merchant::of_sandbox(simulator.base_url(), "any key".to_owned(), "any secret".to_owned());
            (Some(simulator), merchant)
        }
    };
    let daraja = Daraja::new(merchant);
    let (inbox, orders) = shop::open(&options, Some(daraja.clone())).await?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    let urls = shop::urls(&inbox, &options, address)?;
    println!("{}", shop::directions(&urls, address)?);
    if let Some(simulator) = &simulator {
        println!("Buy at http://{address}/, pay at {}/_/, which plays Daraja and the phone.\n", simulator.base_url());
        shop::register(&daraja, &urls).await?;
    }

    let checkout = Checkout::new(orders, inbox.clone(), urls, Some(daraja));
    mpesa_callbacks::serve(listener, shop::app(checkout)).with_graceful_shutdown(asked_to_stop()).await?;
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
