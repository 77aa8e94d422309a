//! Time: all sides of a case one after the other, many rounds of it, and the median of each.

use std::time::{Duration, Instant};

use crate::Case;

/// How often each side is measured, and for how long each time.
const ROUNDS: usize = 41;
const LASTING: Duration = Duration::from_millis(4);

/// Nanoseconds, for each side of each case.
pub(crate) fn measure(cases: &mut [Case]) -> Vec<Vec<f64>> {
    cases.iter_mut().map(measure_one).collect()
}

fn measure_one(case: &mut Case) -> Vec<f64> {
    let often: Vec<u32> = case.sides.iter_mut().map(|side| how_often(&mut side.run)).collect();
    let mut times = vec![Vec::with_capacity(ROUNDS); case.sides.len()];
    for _ in 0..ROUNDS {
        for ((side, often), times) in case.sides.iter_mut().zip(&often).zip(&mut times) {
            let began = Instant::now();
            (0..*often).for_each(|_| (side.run)());
            times.push(began.elapsed().as_secs_f64() * 1e9 / f64::from(*often));
        }
    }
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    times.into_iter().map(median).collect()
}

/// How often it runs in the time that a measurement lasts.
fn how_often(run: &mut dyn FnMut()) -> u32 {
    let (began, mut often) = (Instant::now(), 0);
    while began.elapsed() < LASTING {
        run();
        often += 1;
    }
    often
}
