//! Prints the stored numbers, then writes numbers until it is killed, and prints each that is durable.
//!
//! `writer store|spool|normal DIRECTORY SEED`

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use mpesa_callbacks::Kind;
use mpesa_callbacks::store::{
    Claim, Completion, Delivery, Extent, Filter, Settlement, Spool, SpoolId, Spooled, SqliteSpool, SqliteStore, Store,
};
use rusqlite::Connection;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, what, directory, seed] = &arguments[..] else { panic!("writer WHAT DIRECTORY SEED") };
    let random = fastrand::Rng::with_seed(seed.parse().expect("a seed"));
    let directory = Path::new(directory);
    let ended = match what.as_str() {
        "store" => store(directory, random).await,
        "spool" => spool(directory, random).await,
        _ => normal(directory, random),
    };
    // Only errors before the power cut matter; the test knows its time.
    if let Err(error) = ended {
        say(&format!("trouble {}", format!("{error:#}").replace('\n', " ")));
    }
}

/// In one piece: a line that is cut off would be another number.
fn say(line: &str) {
    let _ = std::io::stdout().write_all(format!("{line}\n").as_bytes());
}

fn body(number: u64, padding: usize) -> Vec<u8> {
    let padding = "x".repeat(padding);
    format!(
        r#"{{"Body":{{"stkCallback":{{"CheckoutRequestID":"{number}","ResultCode":1032,"ResultDesc":"{padding}"}}}}}}"#
    )
    .into_bytes()
}

/// The store of the library, with all that it does to a callback.
async fn store(directory: &Path, mut random: fastrand::Rng) -> anyhow::Result<()> {
    let store = SqliteStore::open(directory.join("inbox.db"))?;
    let mut number = 0;
    for entry in store.list(&Filter::default().limit(1 << 20)).await? {
        // The key, unless it was purged.
        let key = entry.key.as_str().parse::<u64>().or_else(|_| entry.receipt.as_deref().unwrap_or("-").parse());
        number = number.max(u64::try_from(entry.id.number())?);
        match key {
            Ok(key) => {
                anyhow::ensure!(
                    store.get(entry.id).await?.is_some_and(|entry| entry.body.is_some()),
                    "a body is missing"
                );
                say(&format!("there {key}"));
                number = number.max(key);
            }
            Err(_) => anyhow::bail!("a key is not one of ours"),
        }
    }
    say("looked");
    loop {
        let batch: Vec<Delivery> = (0..random.usize(1..8))
            .map(|_| {
                number += 1;
                Delivery::parse(&Kind::Stk, &body(number, random.usize(10..2000)), SystemTime::now())
            })
            .collect::<Result<_, _>>()?;
        store.record(&batch).await?;
        for delivery in &batch {
            say(&format!("acknowledged {}", delivery.key.as_str()));
        }
        if random.u8(0..4) == 0 {
            let claimed = store.claim(&Claim::new(&[Kind::Stk, Kind::Payment], 10, Duration::from_mins(1))).await?;
            let done: Vec<_> = claimed.iter().map(|one| Settlement::new(one.lease, Completion::Done)).collect();
            store.settle(&done).await?;
        }
        if random.u8(0..40) == 0 {
            // Nothing is that old; but the write-ahead log is emptied.
            store.purge(Duration::from_secs(1 << 30), Extent::All).await?;
        }
    }
}

/// The spool of the library, filled and drained.
async fn spool(directory: &Path, mut random: fastrand::Rng) -> anyhow::Result<()> {
    let spool = SqliteSpool::open(directory.join("spool"))?;
    let number_of = |spooled: &Spooled| -> anyhow::Result<u64> {
        let text = std::str::from_utf8(spooled.body.as_bytes())?;
        let id = text.split('"').nth(7).context("a body is not one of ours")?;
        Ok(id.parse()?)
    };
    let mut number = 0;
    for (_, spooled) in spool.oldest(SpoolId::default(), 1 << 20).await? {
        number = number.max(number_of(&spooled)?);
        say(&format!("there {}", number_of(&spooled)?));
    }
    say("looked");
    // An empty spool does not know its earlier deliveries.
    number += random.u64(1 << 20..1 << 40);
    loop {
        let batch: Vec<Spooled> = (0..random.usize(1..8))
            .map(|_| {
                number += 1;
                Spooled::new(Kind::Stk, body(number, random.usize(10..2000)).into(), SystemTime::now())
            })
            .collect();
        spool.put(&batch).await?;
        for spooled in &batch {
            say(&format!("acknowledged {}", number_of(spooled)?));
        }
        if random.u8(0..8) == 0 {
            let oldest = spool.oldest(SpoolId::default(), random.usize(1..40)).await?;
            for (_, spooled) in &oldest {
                say(&format!("going {}", number_of(spooled)?));
            }
            spool.remove(&oldest.into_iter().map(|(id, _)| id).collect::<Vec<_>>()).await?;
        }
    }
}

/// The control: SQLite as many libraries open it. Each row is committed, and not synced until the next checkpoint.
fn normal(directory: &Path, mut random: fastrand::Rng) -> anyhow::Result<()> {
    let database = Connection::open(directory.join("normal.db"))?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "NORMAL")?;
    database.execute_batch("CREATE TABLE IF NOT EXISTS t (number INTEGER PRIMARY KEY, body BLOB NOT NULL)")?;
    let mut number: u64 = 0;
    let mut all = database.prepare("SELECT number FROM t ORDER BY number")?;
    for there in all.query_map([], |row| row.get::<_, i64>(0))? {
        number = there?.unsigned_abs();
        say(&format!("there {number}"));
    }
    say("looked");
    loop {
        number += 1;
        let row = (i64::try_from(number)?, body(number, random.usize(10..2000)));
        database.execute("INSERT INTO t (number, body) VALUES (?1, ?2)", row)?;
        say(&format!("acknowledged {number}"));
    }
}
