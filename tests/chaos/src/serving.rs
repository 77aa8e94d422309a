//! Serves a replica with one of the supported frameworks, with a graceful shutdown on `SIGTERM`.

use std::net::Ipv4Addr;
use std::time::Duration;

use clap::ValueEnum;
use mpesa_callbacks::{Inbox, actix_adapter, axum_adapter, rocket_adapter};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// The web framework that serves a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Framework {
    /// axum.
    Axum,
    /// actix-web.
    Actix,
    /// Rocket.
    Rocket,
}

/// Timeout for requests and handlers after `SIGTERM`.
const GRACE: Duration = Duration::from_secs(20);

/// Rocket's grace period after `SIGTERM`. The fairing always waits for all of it.
const ROCKET_GRACE_SECONDS: u32 = 2;

impl Framework {
    /// Serves the inbox on 127.0.0.1 until `SIGTERM`, then shuts it down gracefully.
    ///
    /// # Errors
    /// When it cannot listen, or cannot close the inbox.
    pub async fn serve(self, inbox: Inbox, port: u16) -> anyhow::Result<()> {
        match self {
            Framework::Axum => by_axum(&inbox, port).await?,
            Framework::Actix => by_actix(&inbox, port).await?,
            // The fairing closes the inbox.
            Framework::Rocket => return by_rocket(&inbox, port).await,
        }
        Ok(inbox.shutdown(GRACE).await?)
    }
}

async fn by_axum(inbox: &Inbox, port: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let app = axum::Router::new().nest("/pay", axum_adapter::router(inbox));
    let mut asked = signal(SignalKind::terminate())?;
    let server = mpesa_callbacks::serve(listener, app).with_graceful_shutdown(async move {
        asked.recv().await;
    });
    Ok(server.await?)
}

async fn by_actix(inbox: &Inbox, port: u16) -> anyhow::Result<()> {
    use actix_web::{App, HttpServer, web};

    let inbox = inbox.clone();
    let app = move || App::new().service(web::scope("/pay").configure(actix_adapter::configure(&inbox)));
    let server = HttpServer::new(app).workers(2).shutdown_timeout(GRACE.as_secs());
    Ok(server.bind((Ipv4Addr::LOCALHOST, port))?.run().await?)
}

async fn by_rocket(inbox: &Inbox, port: u16) -> anyhow::Result<()> {
    use rocket::config::{Config, LogLevel, Shutdown};

    let shutdown = Shutdown { grace: ROCKET_GRACE_SECONDS, ..Shutdown::default() };
    let config =
        Config { address: Ipv4Addr::LOCALHOST.into(), port, shutdown, log_level: LogLevel::Off, ..Config::default() };
    let rocket = rocket::custom(config)
        .mount("/pay", rocket_adapter::routes(inbox))
        .attach(rocket_adapter::InboxFairing::new(inbox));
    rocket.launch().await?;
    Ok(())
}
