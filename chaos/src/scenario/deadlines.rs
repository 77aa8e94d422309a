//! How long acknowledgements take, and validations whose handlers dawdle.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::Stage;
use crate::fleet::{Fleet, Manner};
use crate::journal::Heard;
use crate::load::{agent, post, send};

const PER_SECOND: u32 = 500;

/// What the replicas' validations have.
const DEADLINE: Duration = Duration::from_secs(1);

/// A machine that does other things meanwhile may be late to send and to receive.
const SLACK: Duration = Duration::from_millis(500);

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<()> {
    let manner =
        Manner { place: stage.place.clone(), lease: Duration::from_secs(30), spools: None, flags: vec!["--good"] };
    let fleet = Fleet::start(stage.program.clone(), manner, 1)?;
    let (deliveries, journal) = stage.deliveries();
    let random = stage.random.fork();
    let mut answers = Vec::new();
    tokio::task::block_in_place(|| {
        send(&fleet, &journal, &deliveries, Some(PER_SECOND), &mut stage.random, |_| {
            answers = validations(&fleet, random);
            Ok(())
        })
    })?;
    answers.sort_unstable();
    println!(
        "acknowledgements at {PER_SECOND}/s: p50 {:?}, p99 {:?}; {} validations under a deadline of {DEADLINE:?}: at most {:?}",
        journal.percentile(50),
        journal.percentile(99),
        answers.len(),
        answers.last()
    );
    ensure!(answers.last().is_some_and(|longest| *longest < DEADLINE + SLACK), "a validation was answered too late");
    stage.judge(&journal).await.map(drop)
}

/// Asks whether payments are welcome, eight at a time; how long each answer took.
fn validations(fleet: &Fleet, mut random: fastrand::Rng) -> Vec<Duration> {
    thread::scope(|scope| {
        let asking: Vec<_> = (0..8)
            .map(|client| {
                let mut random = random.fork();
                scope.spawn(move || {
                    let agent = agent();
                    let ask = |number: u32| {
                        let body = format!(
                            r#"{{"TransID":"V{client}{number:05}","TransAmount":"10.00","BillRefNumber":"a"}}"#
                        );
                        let began = Instant::now();
                        let (heard, answer) = post(fleet, &agent, "/c2b/validation", body, &mut random);
                        assert!(heard == Heard::Status(200) && answer.contains("ResultCode"), "{heard:?} {answer}");
                        began.elapsed()
                    };
                    (0..12).map(ask).collect::<Vec<_>>()
                })
            })
            .collect();
        asking.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    })
}
