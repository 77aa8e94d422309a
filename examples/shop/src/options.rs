//! Command line options and environment variables.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use mpesa_callbacks::Secret;

/// Port, directory and secret of the shop.
#[derive(Clone, clap::Args)]
#[allow(missing_debug_implementations, reason = "it holds the secret")]
pub struct Options {
    /// The port to listen on, on 127.0.0.1.
    #[arg(long, env = "PORT", default_value_t = 3000)]
    pub port: u16,
    /// Directory of the database files: `inbox.db` is the library's, `shop.db` the shop's.
    #[arg(long, env = "DATA_DIR", default_value = "shop-data")]
    pub data_dir: PathBuf,
    /// Secret in the callback URLs, from `openssl rand -hex 16`. Random if it is missing.
    #[arg(long, env = "CALLBACK_SECRET", hide_env_values = true)]
    pub callback_secret: Option<String>,
    /// Duration of a lease, in seconds.
    #[arg(long, env = "LEASE_SECONDS", default_value_t = 30.0)]
    pub lease_seconds: f64,
}

impl Options {
    /// Defaults, in this directory.
    pub fn in_directory(data_dir: PathBuf) -> Options {
        Options { port: 3000, data_dir, callback_secret: None, lease_seconds: 30.0 }
    }

    pub(crate) fn secret(&self) -> anyhow::Result<Secret> {
        match &self.callback_secret {
            Some(secret) => Secret::new(secret).context("CALLBACK_SECRET"),
            None => Ok(Secret::generate()?),
        }
    }

    pub(crate) fn lease(&self) -> anyhow::Result<Duration> {
        Duration::try_from_secs_f64(self.lease_seconds).context("LEASE_SECONDS")
    }
}
