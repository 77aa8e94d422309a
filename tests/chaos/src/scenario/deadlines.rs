//! The latency of acknowledgements, and of validations with slow handlers.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::Stage;
use crate::fleet::{Fleet, Manner};
use crate::journal::Heard;
use crate::load::{agent, post, send};
use crate::replica::thinks;

const PER_SECOND: u32 = 500;

/// The timeout of the replicas' validations.
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
    let longest = answers.iter().map(|(_, took)| *took).max().unwrap_or_default();
    // For validations that were decided in time: the time beside that of the handler.
    let mut beside: Vec<Duration> = answers
        .iter()
        .filter(|(thought, _)| *thought < DEADLINE / 2)
        .map(|(thought, took)| took.saturating_sub(*thought))
        .collect();
    beside.sort_unstable();
    println!(
        "acknowledgements at {PER_SECOND}/s: p50 {:?}, p99 {:?}; {} validations under a deadline of {DEADLINE:?}: at most {longest:?}, and \
         {:?} beside the handler (p50 of {}), at most {:?}",
        journal.percentile(50),
        journal.percentile(99),
        answers.len(),
        beside.get(beside.len() / 2).copied().unwrap_or_default(),
        beside.len(),
        beside.last().copied().unwrap_or_default()
    );
    ensure!(!answers.is_empty() && longest < DEADLINE + SLACK, "a validation was answered too late");
    stage.judge(&journal).await.map(drop)
}

/// Sends validations, eight at a time; returns the duration of each handler and of its response.
fn validations(fleet: &Fleet, mut random: fastrand::Rng) -> Vec<(Duration, Duration)> {
    thread::scope(|scope| {
        let asking: Vec<_> = (0..8)
            .map(|client| {
                let mut random = random.fork();
                scope.spawn(move || {
                    let agent = agent();
                    let ask = |number: u32| {
                        let trans_id = format!("V{client}{number:05}");
                        let body = format!(r#"{{"TransID":"{trans_id}","TransAmount":"10.00","BillRefNumber":"a"}}"#);
                        let began = Instant::now();
                        let (heard, answer) = post(fleet, &agent, "/c2b/validation", body, &mut random);
                        assert!(heard == Heard::Status(200) && answer.contains("ResultCode"), "{heard:?} {answer}");
                        (thinks(&trans_id), began.elapsed())
                    };
                    (0..12).map(ask).collect::<Vec<_>>()
                })
            })
            .collect();
        asking.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    })
}
