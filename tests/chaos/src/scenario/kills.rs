//! Replicas are killed, and paused for longer than their leases; their successors run either version.

use std::thread::sleep;
use std::time::Duration;

use super::Stage;
use crate::fleet::{Fleet, Manner};
use crate::load::send;

const LEASE: Duration = Duration::from_millis(600);

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<()> {
    let manner = Manner { place: stage.place.clone(), lease: LEASE, spools: None, flags: vec![] };
    let fleet = Fleet::start(stage.program.clone(), manner, stage.replicas)?;
    let (deliveries, journal) = stage.deliveries();
    let (mut nemesis, times) = (stage.random.fork(), stage.options.times);
    let mut happened = 0;
    tokio::task::block_in_place(|| {
        send(&fleet, &journal, &deliveries, None, &mut stage.random, |progress| {
            while happened < times {
                progress.wait(happened, times);
                sleep(Duration::from_millis(nemesis.u64(0..100)));
                let at = nemesis.usize(0..fleet.len());
                if nemesis.u32(0..10) == 0 {
                    // It wakes up with leases that others have by now.
                    fleet.signal(at, "STOP")?;
                    sleep(LEASE * 2);
                    fleet.signal(at, "CONT")?;
                } else {
                    fleet.kill(at)?;
                    happened += 1;
                    // Any version may follow any. The last one is the newer version: callbacks that the others left must not
                    // wait for ever.
                    let is_newer = nemesis.bool() || happened == times;
                    fleet.revive_as(at, if is_newer { &["--payments"] } else { &[] })?;
                }
            }
            Ok(())
        })
    })?;
    println!("{happened} kills, of two releases");
    stage.judge(&journal).await.map(drop)
}
