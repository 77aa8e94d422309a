//! As much as comes in an hour at 100 a second waits in the spool.

use std::time::{Duration, Instant, SystemTime};

use anyhow::ensure;
use mpesa_callbacks::Kind;
use mpesa_callbacks::store::{Spool, Spooled, SqliteSpool, Verdict};
use tokio::time::sleep;

use super::Stage;
use crate::deliveries::{Delivery, Meaning};
use crate::fleet::{Fleet, Manner};

/// The callbacks of an hour at 100 per second, and how long their replay may take.
const AN_HOUR: (u32, Duration) = (360_000, Duration::from_mins(5));

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<()> {
    let callbacks = stage.options.callbacks;
    let spools = stage.directory.path().to_owned();
    // Put there without the hour.
    let spool = SqliteSpool::open_with_budget(spools.join("0"), 1 << 30)?;
    let now = SystemTime::now();
    let spooled =
        |number| Spooled::new(Kind::Stk, Delivery { number, meaning: Meaning::Paid }.body().into_bytes().into(), now);
    for from in (0..callbacks).step_by(1000) {
        let batch: Vec<_> = (from..callbacks.min(from + 1000)).map(spooled).collect();
        spool.put(&batch).await?;
    }
    spool.close().await?;
    let manner = Manner {
        place: stage.place.clone(),
        lease: Duration::from_secs(30),
        spools: Some(spools),
        flags: vec!["--good"],
    };
    let store = stage.place.store().await?;
    let began = Instant::now();
    let fleet = Fleet::start(stage.program.clone(), manner, 1)?;
    let share = f64::from(u32::try_from(callbacks)?) / f64::from(AN_HOUR.0);
    let limit = AN_HOUR.1.mul_f64(share) + Duration::from_secs(5);
    while fleet.spooled(0).await? > 0 {
        ensure!(began.elapsed() < limit * 4, "the spool is not drained");
        sleep(Duration::from_millis(50)).await;
    }
    let took = began.elapsed();
    println!(
        "{callbacks} drained in {:.1} s, handlers running beside; an hour's worth at 100/s would take {:.0} s",
        took.as_secs_f64(),
        took.as_secs_f64() / share
    );
    ensure!(took < limit, "an hour's worth would take more than five minutes");
    crate::check::settled(&*store, Duration::from_mins(10)).await?;
    let effects = stage.place.effects().await?;
    ensure!(effects.len() == callbacks && effects.iter().all(|(_, made)| *made == 1), "{} effects", effects.len());
    let wrong = mpesa_callbacks::store::Filter::default().verdict(Verdict::Conflict);
    ensure!(store.list(&wrong).await?.is_empty());
    Ok(())
}
