//! `daraja dev`: M-Pesa on this machine, with a page, and a line for everything that happens.

mod lines;

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use mpesa_callbacks_daraja::{
    BusinessPush, CustomerPayment, Daraja, DarajaBuilder, Fault, Happening, Payout, Push, Query, RuleBuilder,
    StandingOrder,
};
use tokio::net::lookup_host;

use self::lines::{Lines, Summary};

/// Plays Daraja.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where your application listens: callbacks for any host are posted there, with their path unchanged.
    #[arg(long, value_name = "ADDRESS")]
    forward_to: Option<String>,
    /// The address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2547")]
    listen: SocketAddr,
    /// As production: callback URLs must be public and https, C2B URLs are registered once, nothing is simulated.
    #[arg(long = "as", value_name = "ENVIRONMENT", value_enum, default_value = "sandbox")]
    environment: Environment,
    /// Seed of ids and receipts. Default: a random one, which is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Phones ring until you answer on the page, or pay by themselves.
    #[arg(long, value_enum, default_value = "ask")]
    answer: Answer,
    /// A TOML file of rules.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// A fault for every request that can have it; again for a second one. `daraja dev --fault help` lists them.
    #[arg(long = "fault", value_name = "NAME")]
    faults: Vec<String>,
    /// Accepts only this consumer key and secret. Default: any.
    #[arg(long, value_name = "KEY:SECRET")]
    credentials: Option<String>,
    /// Short code whose `--passkey` is set.
    #[arg(long, requires = "passkey")]
    short_code: Option<String>,
    /// Passkey of `--short-code`. Default: that of the sandbox for 174379, any for others.
    #[arg(long, requires = "short_code")]
    passkey: Option<String>,
    /// Adds `X-Forwarded-For` to callbacks, as your proxy would: `196.201.212.69` is one of Safaricom's.
    #[arg(long, value_name = "IP")]
    forwarded_for: Option<IpAddr>,
    /// Posts callbacks for this host to its own address, `web:3000` for a container.
    #[arg(long, value_name = "HOST:PORT")]
    allow_host: Vec<String>,
    /// Reports every push to a pay bill with registered C2B URLs by a C2B confirmation, too.
    #[arg(long)]
    confirm_pushes: bool,
    /// Appends every exchange and callback to a file, for `daraja replay`. Credentials are struck out.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Prints no lines.
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Environment {
    Sandbox,
    Production,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Answer {
    Ask,
    Auto,
}

/// Plays until Ctrl-C.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    if options.faults.iter().any(|name| name == "help") {
        print!("{}", faults());
        return Ok(());
    }
    let seed = options.seed.unwrap_or_else(|| u64::from(std::process::id()));
    let daraja = builder(options, seed)?.start().await;
    let daraja = daraja.with_context(|| format!("cannot listen on {}", options.listen))?;
    prepare(&daraja, options).await?;
    let record = options.record.as_ref().map(|path| {
        File::options().create(true).append(true).open(path).with_context(|| format!("cannot write {}", path.display()))
    });
    let mut record = record.transpose()?;

    println!("{}", greeting(&daraja, options, seed));
    let (mut follower, mut lines, mut summary) =
        (daraja.follow(), Lines::new(options.forward_to.is_some()), Summary::default());
    let stop = tokio::signal::ctrl_c();
    tokio::pin!(stop);
    loop {
        let happening = tokio::select! {
            _ = &mut stop => break,
            Some(happening) = follower.next() => happening,
        };
        summary.count(&happening);
        if let Some(file) = &mut record {
            write(file, &happening).context("cannot write the record")?;
        }
        if !options.quiet {
            for line in lines.of(&happening) {
                println!("{line}");
            }
        }
    }
    println!("\n{summary}");
    Ok(())
}

fn builder(options: &Options, seed: u64) -> anyhow::Result<DarajaBuilder> {
    let mut builder = Daraja::builder().listen(options.listen).seed(seed).real_time();
    if options.environment == Environment::Production {
        builder = builder.production();
    }
    if options.answer == Answer::Ask {
        builder = builder.interactive();
    }
    if options.confirm_pushes {
        builder = builder.confirm_pushes();
    }
    if let Some(file) = &options.rules {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        builder = builder.rules(&text).with_context(|| file.display().to_string())?;
    }
    if let Some(credentials) = &options.credentials {
        let (key, secret) = credentials.split_once(':').context("--credentials: write KEY:SECRET")?;
        builder = builder.credentials(key, secret);
    }
    if let Some(client) = options.forwarded_for {
        builder = builder.forwarded_for(client);
    }
    Ok(builder)
}

async fn prepare(daraja: &Daraja, options: &Options) -> anyhow::Result<()> {
    if let (Some(short_code), Some(passkey)) = (&options.short_code, &options.passkey) {
        daraja.passkey(short_code, passkey);
    }
    if let Some(host) = &options.forward_to {
        daraja.forward_to(resolved(host).await.context("--forward-to")?);
    }
    for host in &options.allow_host {
        daraja.allow_host(host, resolved(host).await.context("--allow-host")?);
    }
    if options.faults.is_empty() {
        return Ok(());
    }
    let faults = options.faults.iter().map(|name| name.parse::<Fault>());
    let faults = faults.collect::<Result<Vec<_>, _>>().context("`daraja dev --fault help` lists the names")?;
    let every = [
        ("push", Push::any()),
        ("payout", Payout::any()),
        ("query", Query::any()),
        ("customer-payment", CustomerPayment::any()),
        ("business-push", BusinessPush::any()),
        ("standing-order", StandingOrder::any()),
    ];
    for (product, matcher) in every {
        let fitting: Vec<Fault> =
            faults.iter().copied().filter(|fault| fault.products().any(|name| name == product)).collect();
        if !fitting.is_empty() {
            fitting.into_iter().try_fold(daraja.on(matcher), RuleBuilder::try_fault)?;
        }
    }
    Ok(())
}

/// An address, or a host with a port.
async fn resolved(host: &str) -> anyhow::Result<SocketAddr> {
    let host = host.trim_start_matches("http://").trim_end_matches('/');
    ensure!(host.contains(':'), "`{host}` has no port: write {host}:3000");
    let mut found = lookup_host(host).await.with_context(|| format!("`{host}` is not an address, and not a host"))?;
    found.next().with_context(|| format!("`{host}` has no address"))
}

fn greeting(daraja: &Daraja, options: &Options, seed: u64) -> String {
    let base = daraja.base_url();
    let environment = match options.environment {
        Environment::Sandbox => "sandbox",
        Environment::Production => "production",
    };
    let mut text = format!(
        "Daraja plays on {base} ({environment}, seed {seed}). It is not Safaricom's.\n\
         \x20 base URL     {base}, in place of https://sandbox.safaricom.co.ke\n\
         \x20 credentials  {}; short code 174379 with the sandbox's passkey\n\
         \x20 page         {base}/_/: phones that ring, and the journal\n",
        if options.credentials.is_some() { "as you set them" } else { "any key and secret" },
    );
    match &options.forward_to {
        Some(host) => text += &format!("Callbacks for any host go to {host}.\n"),
        None => {
            text += "Callbacks are posted to this machine only; `--forward-to 127.0.0.1:3000` takes those for public URLs.\n";
        }
    }
    if !options.listen.ip().is_loopback() {
        text += "Others can reach it: anybody on this network can send requests.\n";
    }
    text
}

fn write(file: &mut File, happening: &Happening) -> anyhow::Result<()> {
    let line = match happening {
        Happening::Exchange(exchange) => serde_json::json!({ "exchange": exchange }),
        Happening::Callback { exchange, callback, .. } => {
            serde_json::json!({ "number": exchange, "callback": callback })
        }
        _ => return Ok(()),
    };
    Ok(writeln!(file, "{line}")?)
}

fn faults() -> String {
    let line = |fault: Fault| format!("{:24}{}\n", fault.name(), fault.timeline());
    let all: String = Fault::ALL.into_iter().map(line).collect();
    format!("A is the answer to the request, C(x) a callback with result code x.\n\n{all}")
}
