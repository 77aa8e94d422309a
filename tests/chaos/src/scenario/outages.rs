//! The database goes away: killed, cut off, and with answers to commits that get lost.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mpesa_callbacks_test_servers::Proxy;

use super::Stage;
use crate::fleet::{Fleet, Manner};
use crate::load::send;
use crate::place::Place;

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<()> {
    let mut server = stage.server.take().context("outages are PostgreSQL's")?;
    let proxy = Proxy::before(server.port()).await;
    let behind = stage.place.argument().replace(&server.port().to_string(), &proxy.port().to_string());
    let manner = Manner {
        place: Place::Postgres(behind),
        lease: Duration::from_secs(2),
        spools: Some(stage.directory.path().to_owned()),
        flags: vec![],
    };
    let fleet = Fleet::start(stage.program.clone(), manner, stage.replicas)?;
    let (deliveries, journal) = stage.deliveries();
    let (mut nemesis, times) = (stage.random.fork(), stage.options.times);
    let (mut outages, mut cut) = (0, 0);
    tokio::task::block_in_place(|| {
        send(&fleet, &journal, &deliveries, None, &mut stage.random, |progress| {
            while outages < times {
                progress.wait(outages, times);
                sleep(Duration::from_millis(nemesis.u64(0..200)));
                match nemesis.u32(0..3) {
                    0 => server.kill_and_restart(),
                    1 => {
                        // Nothing gets through for a while.
                        proxy.cut_off(true);
                        sleep(Duration::from_millis(nemesis.u64(100..1500)));
                        proxy.cut_off(false);
                    }
                    _ => {
                        proxy.cut_commits(5);
                        sleep(Duration::from_millis(200));
                        cut += 5 - proxy.left();
                        proxy.cut_commits(0);
                        continue;
                    }
                }
                outages += 1;
            }
            Ok(())
        })
    })?;
    println!("{outages} outages, {cut} answers to commits lost");
    let sent = journal.totals();
    ensure!(sent.refused == 0, "{} were refused although there is a spool", sent.refused);
    // Spools are drained first: only then is everything in the store.
    for at in 0..fleet.len() {
        let began = Instant::now();
        while fleet.spooled(at).await? > 0 {
            ensure!(began.elapsed() < Duration::from_mins(2), "a spool is not drained");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let judged = stage.judge(&journal).await.map(drop);
    drop(server);
    judged
}
