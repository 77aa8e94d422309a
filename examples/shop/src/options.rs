//! What can be said on the command line, and in the environment.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use mpesa_callbacks::Secret;

/// Where the shop listens, where it keeps things, and its secret.
#[derive(Clone, clap::Args)]
#[allow(missing_debug_implementations, reason = "it holds the secret")]
pub struct Options {
    /// The port to listen on, on 127.0.0.1.
    #[arg(long, env = "PORT", default_value_t = 3000)]
    pub port: u16,
    /// Where the inbox and the shop keep their database files: `inbox.db` is the library's, `shop.db` the shop's own.
    #[arg(long, env = "DATA_DIR", default_value = "shop-data")]
    pub data_dir: PathBuf,
    /// The secret in the callback URLs: what `openssl rand -hex 16` prints. Random when absent.
    #[arg(long, env = "CALLBACK_SECRET", hide_env_values = true)]
    pub callback_secret: Option<String>,
    /// For how long a process may handle a callback before it must ask again, in seconds.
    #[arg(long, env = "LEASE_SECONDS", default_value_t = 30.0)]
    pub lease_seconds: f64,
}

impl Options {
    /// A shop in this directory, with everything else as usual.
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
