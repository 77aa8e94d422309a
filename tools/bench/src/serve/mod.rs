//! The servers that are measured, each in a process of its own.

mod by_hand;

mod ours;

mod running;

use std::io::{BufRead, stdin};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{process, thread};

use mpesa_callbacks::Inbox;
use mpesa_callbacks::store::StoreError;
use tokio::runtime::Handle;
use tokio::time::sleep;

pub(crate) use self::running::{Place, Running};
use crate::side::{Framework, Kept, Side};

pub(crate) const SECRET: &str = "00112233445566778899aabbccddeeff";

#[derive(clap::Args)]
pub(crate) struct Options {
    side: Side,
    #[arg(long)]
    port: u16,
    /// Where SQLite's files are.
    #[arg(long)]
    directory: PathBuf,
    /// Where PostgreSQL's database is.
    #[arg(long, default_value = "")]
    database: String,
}

/// Serves until it is killed, or its input is closed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    if let Side::Ours(Framework::Actix, kept, work) = options.side {
        return actix_web::rt::System::new().block_on(async {
            let inbox = ours::inbox(kept, work, options).await?;
            answer(Some(inbox.clone()));
            ours::serve(Framework::Actix, address, inbox).await
        });
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match options.side {
            Side::Ours(framework, kept, work) => {
                let inbox = ours::inbox(kept, work, options).await?;
                answer(Some(inbox.clone()));
                ours::serve(framework, address, inbox).await
            }
            side => {
                let router = match side {
                    Side::ByHand(Kept::Postgres) => by_hand::postgres(&options.database).await?,
                    Side::ByHand(Kept::Sqlite) => by_hand::sqlite(&options.directory).await?,
                    Side::ByHand(Kept::Memory) => by_hand::memory(),
                    Side::Parse => by_hand::parse(),
                    _ => by_hand::empty(),
                };
                answer(None);
                by_hand::serve(address, router).await
            }
        }
    })
}

/// Answers each line that comes with a number.
fn answer(inbox: Option<Inbox>) {
    let runtime = Handle::current();
    thread::spawn(move || {
        for question in stdin().lock().lines().map_while(Result::ok) {
            let answer = match &inbox {
                Some(inbox) => runtime.block_on(ask(inbox, &question)),
                None => Ok(0),
            };
            println!("{}", answer.map_or_else(|error| error.to_string(), |number| number.to_string()));
        }
        process::exit(0);
    });
}

async fn ask(inbox: &Inbox, question: &str) -> Result<u64, StoreError> {
    let waiting = async || inbox.counts().await.map(|depth| depth.ready + depth.running);
    match question {
        PURGE => return inbox.purge(Duration::ZERO).await,
        STOP => return inbox.shutdown(Duration::ZERO).await.map(|()| 0),
        _ => {}
    }
    loop {
        let asked = Instant::now();
        let waiting = waiting().await?;
        if question != SETTLE || waiting == 0 {
            return Ok(waiting);
        }
        // Counting a million rows takes its time, which is not to be measured as theirs.
        sleep(Duration::from_millis(5).max(asked.elapsed() * 50)).await;
    }
}

/// Wait until everything is settled that was acknowledged.
const SETTLE: &str = "settle";
/// Delete the bodies of all that is done; how many there were.
const PURGE: &str = "purge";
/// Stop, and give back the running callbacks.
const STOP: &str = "stop";
/// How many callbacks wait or run.
const WAITING: &str = "waiting";
