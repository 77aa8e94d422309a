//! `daraja send`: one callback to a URL. Is the response the one that Daraja waits for?

use anyhow::{Context, bail, ensure};
use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::{
    Amount, B2bExpressCallback, B2bResult, B2cResult, BalanceResult, BillManagerPayment, C2bConfirmation,
    C2bValidation, LipiaCallback, QueueTimeout, RatibaCallback, ReversalResult, Sample, StatusResult, StkCallback,
    TaxResult,
};

use crate::delivery::{Poster, without_secret};

/// One callback, as Daraja sends it.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Kind of the callback: `stk`, `c2b_confirmation`, `b2c_result` and so on.
    #[arg(value_parser = kind)]
    kind: Kind,
    /// Base of the callback URLs, `http://127.0.0.1:3000/pay/<secret>`: the path of the kind is added. `-` reads it from
    /// standard input, so that the secret is not in the shell's history.
    #[arg(long, value_name = "BASE", required_unless_present = "url")]
    to: Option<String>,
    /// The whole callback URL, for a receiver with paths of its own; `-` reads it from standard input.
    #[arg(long, conflicts_with = "to")]
    url: Option<String>,
    /// Amount in KES. Default: 100.
    #[arg(long, value_name = "KES")]
    amount: Option<Amount>,
    /// Result code. Default: 0.
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// Account number.
    #[arg(long)]
    account: Option<String>,
    /// M-Pesa's receipt. Default: a new one.
    #[arg(long)]
    receipt: Option<String>,
    /// `CheckoutRequestID` or conversation id. Default: a new one.
    #[arg(long)]
    id: Option<String>,
    /// Phone number, `2547…`.
    #[arg(long)]
    phone: Option<String>,
    /// Pay bill or till.
    #[arg(long)]
    short_code: Option<String>,
    /// Sends this file instead of a sample.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["amount", "code", "account", "receipt", "id", "phone", "short_code"])]
    body: Option<std::path::PathBuf>,
    /// Sends it so often.
    #[arg(long, default_value_t = 1)]
    times: u32,
}

/// Returns the kind with this name.
fn kind(name: &str) -> Result<Kind, String> {
    name.parse().map_err(|_| {
        let all = Kind::built_in().filter(|kind| kind.default_path().is_some());
        let all: Vec<&str> = all.filter_map(|kind| kind.built_in_name()).collect();
        format!("there is no such kind. These exist: {}", all.join(", "))
    })
}

/// Sends it. Returns whether every response is what Daraja waits for.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let url = url(options)?;
    let body = match &options.body {
        Some(file) => std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?,
        None => sample(options)?,
    };
    println!("POST {}\n  {}", without_secret(&url), String::from_utf8_lossy(&body));
    let (poster, mut are_right) = (Poster::new(), true);
    for time in 1..=options.times {
        if time > 1 {
            println!("again, with the same bytes");
        }
        let response = poster.post(&options.kind, &url, &body)?;
        println!("{response}");
        are_right &= response.is_right();
    }
    Ok(are_right)
}

/// The whole URL: a base gets the path of the kind.
fn url(options: &Options) -> anyhow::Result<String> {
    let given = options.url.as_deref().or(options.to.as_deref()).unwrap_or_default();
    let given = match given {
        "-" => std::io::read_to_string(std::io::stdin())?.trim().to_owned(),
        given => given.to_owned(),
    };
    ensure!(given.starts_with("http://") || given.starts_with("https://"), "a URL begins with http:// or https://");
    if options.url.is_some() {
        return Ok(given);
    }
    let kind = &options.kind;
    let Some(path) = kind.default_path() else { bail!("`{kind}` has no path of its own: give the whole `--url`") };
    let (base, path) = (given.trim_end_matches('/'), path.trim_start_matches('/'));
    Ok(if base.ends_with(&format!("/{path}")) { base.to_owned() } else { format!("{base}/{path}") })
}

fn sample(options: &Options) -> anyhow::Result<Vec<u8>> {
    Ok(match &options.kind {
        Kind::Stk => body(StkCallback::sample(), options),
        Kind::C2bConfirmation => body(C2bConfirmation::sample(), options),
        Kind::C2bValidation => body(C2bValidation::sample(), options),
        Kind::B2cResult => body(B2cResult::sample(), options),
        Kind::B2bResult => body(B2bResult::sample(), options),
        Kind::TaxResult => body(TaxResult::sample(), options),
        Kind::StatusResult => body(StatusResult::sample(), options),
        Kind::BalanceResult => body(BalanceResult::sample(), options),
        Kind::ReversalResult => body(ReversalResult::sample(), options),
        Kind::B2bExpress => body(B2bExpressCallback::sample(), options),
        Kind::Ratiba => body(RatibaCallback::sample(), options),
        Kind::BillManager => body(BillManagerPayment::sample(), options),
        Kind::Lipia => body(LipiaCallback::sample(), options),
        kind if kind.is_timeout() => body(QueueTimeout::sample(), options),
        kind => bail!("there is no sample of `{kind}`: give a file with `--body`"),
    })
}

fn body<P>(mut sample: Sample<P>, options: &Options) -> Vec<u8> {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    // Not those of the last call: they would be duplicates.
    sample = sample.receipt(options.receipt.clone().unwrap_or_else(|| receipt(now)));
    sample = sample.key(options.id.clone().unwrap_or_else(|| format!("ws_CO_{now}")));
    if let Some(amount) = options.amount {
        sample = sample.amount(amount);
    }
    if let Some(code) = &options.code {
        sample = sample.failed(code.clone());
    }
    if let Some(account) = &options.account {
        sample = sample.account(account.clone());
    }
    if let Some(phone) = &options.phone {
        sample = sample.phone(phone.clone());
    }
    if let Some(short_code) = &options.short_code {
        sample = sample.short_code(short_code.clone());
    }
    sample.to_body()
}

/// Ten letters and digits.
fn receipt(mut number: u128) -> String {
    const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut receipt = vec![b'T'; 10];
    for place in receipt.iter_mut().skip(1).rev() {
        *place = DIGITS[usize::try_from(number % 36).unwrap_or_default()];
        number /= 36;
    }
    String::from_utf8(receipt).unwrap_or_default()
}
