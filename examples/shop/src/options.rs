//! Command line options and environment variables.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use mpesa_callbacks::Secret;

use crate::daraja::Merchant;

/// Port, directory and secrets of the shop.
#[derive(Clone, clap::Args)]
#[allow(missing_debug_implementations, reason = "it holds secrets")]
pub struct Options {
    /// The port to listen on, on 127.0.0.1.
    #[arg(long, env = "PORT", default_value_t = 3000)]
    pub port: u16,
    /// The port of the Daraja simulator, which runs beside the shop if there is no consumer key.
    #[arg(long, env = "DARAJA_PORT", default_value_t = 2547)]
    pub daraja_port: u16,
    /// Directory of the database files: `inbox.db` is the library's, `shop.db` the shop's.
    #[arg(long, env = "DATA_DIR", default_value = "shop-data")]
    pub data_dir: PathBuf,
    /// Secret in the callback URLs, from `openssl rand -hex 16`. Random if it is missing.
    #[arg(long, env = "CALLBACK_SECRET", hide_env_values = true)]
    pub callback_secret: Option<String>,
    /// Duration of a lease, in seconds.
    #[arg(long, env = "LEASE_SECONDS", default_value_t = 30.0)]
    pub lease_seconds: f64,
    /// Minutes after which a push whose answer was lost and that nobody has paid counts as not made.
    #[arg(long, env = "GIVE_UP_MINUTES", default_value_t = 30)]
    pub give_up_minutes: u64,
    /// Consumer key of your application at Daraja. With it the shop talks to the real one.
    #[arg(long, env = "CONSUMER_KEY", hide_env_values = true)]
    pub consumer_key: Option<String>,
    /// Consumer secret of your application at Daraja.
    #[arg(long, env = "CONSUMER_SECRET", hide_env_values = true)]
    pub consumer_secret: Option<String>,
    /// Base URL of the real Daraja.
    #[arg(long, env = "DARAJA_URL", default_value = "https://sandbox.safaricom.co.ke")]
    pub daraja_url: String,
    /// Your pay bill. Default: that of the sandbox.
    #[arg(long, env = "SHORT_CODE")]
    pub short_code: Option<String>,
    /// Passkey of your pay bill. Default: that of the sandbox.
    #[arg(long, env = "PASSKEY", hide_env_values = true)]
    pub passkey: Option<String>,
    /// Where Safaricom reaches the shop: `https://shop.example.com/pay`. Needed with a consumer key.
    #[arg(long, env = "PUBLIC_URL")]
    pub public_url: Option<String>,
}

impl Options {
    /// Defaults, in this directory.
    pub fn in_directory(data_dir: PathBuf) -> Options {
        Options {
            port: 3000,
            daraja_port: 2547,
            data_dir,
            callback_secret: None,
            lease_seconds: 30.0,
            give_up_minutes: 30,
            consumer_key: None,
            consumer_secret: None,
            daraja_url: "https://sandbox.safaricom.co.ke".to_owned(),
            short_code: None,
            passkey: None,
            public_url: None,
        }
    }

    /// Returns the merchant at the real Daraja; `None` without a consumer key.
    ///
    /// # Errors
    /// When the secret or the public URL is missing.
    pub fn merchant(&self) -> anyhow::Result<Option<Merchant>> {
        let Some(consumer_key) = self.consumer_key.clone() else { return Ok(None) };
        let consumer_secret = self.consumer_secret.clone().context("CONSUMER_SECRET is missing")?;
        ensure!(self.public_url.is_some(), "PUBLIC_URL is missing: Safaricom cannot reach 127.0.0.1");
        let sandbox = Merchant::of_sandbox(self.daraja_url.clone(), consumer_key, consumer_secret);
        Ok(Some(Merchant {
            short_code: self.short_code.clone().unwrap_or(sandbox.short_code),
            passkey: self.passkey.clone().unwrap_or(sandbox.passkey),
            ..sandbox
        }))
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
