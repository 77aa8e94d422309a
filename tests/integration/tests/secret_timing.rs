//! The time of a refusal does not depend on the secret: Welch's t-test on the times of two kinds of wrong secrets.
//!
//! Not for a busy machine, so not in CI: `cargo xtask timing` runs it.

use std::hint::black_box;
use std::time::Instant;

use mpesa_callbacks::Request;
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::MemoryStore;
use mpesa_callbacks_tests::{Chunks, SECRET};

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk]
    async fn stk(&self, _: StkCallback) {}
}

/// Beyond this, two samples are not of the same thing (the threshold of dudect).
const THRESHOLD: f64 = 4.5;

/// Welch's t for how long two inputs take, in random order, from one place in memory; the slowest tenth is the machine's, and
/// left out.
#[allow(clippy::cast_precision_loss, reason = "nanoseconds, and counts of millions")]
fn t(samples: usize, inputs: [&str; 2], mut measured: impl FnMut(&str)) -> f64 {
    let mut input = String::with_capacity(256);
    let mut times = [Vec::with_capacity(samples), Vec::with_capacity(samples)];
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..2 * samples {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let which = random & 1 == 1;
        input.clear();
        input.push_str(inputs[usize::from(which)]);
        let began = Instant::now();
        measured(black_box(&input));
        times[usize::from(which)].push(began.elapsed().as_nanos() as f64);
    }
    let mut all = times.concat();
    all.sort_by(f64::total_cmp);
    let slowest = all[all.len() * 9 / 10];
    let [one, other] = times.map(|times| {
        let kept: Vec<f64> = times.into_iter().filter(|time| *time <= slowest).collect();
        let mean = kept.iter().sum::<f64>() / kept.len() as f64;
        let variance = kept.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (kept.len() as f64 - 1.0);
        (mean, variance / kept.len() as f64)
    });
    (one.0 - other.0) / (one.1 + other.1).sqrt()
}

/// A comparison as one must not write it.
fn naive(one: &[u8], other: &[u8]) -> bool {
    one.iter().zip(other).all(|(one, other)| black_box(one) == black_box(other))
}

#[test]
#[ignore = "measures time: `cargo xtask timing`"]
fn a_secret_that_is_nearly_right_takes_as_long_to_refuse_as_one_that_is_not() {
    let samples = std::env::var("SAMPLES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let near = format!("{}0", &SECRET[..SECRET.len() - 1]);
    let far = format!("f{}", &SECRET[1..]);
    let control = t(samples, [&far, &near], |candidate| {
        black_box(naive(candidate.as_bytes(), SECRET.as_bytes()));
    });
    println!("a naive comparison: t = {control:.1}");
    assert!(control.abs() > THRESHOLD, "this machine could not tell even a naive comparison: t = {control:.1}");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let inbox = runtime
        .block_on(Inbox::builder(Shop).store(MemoryStore::new()).secret(SECRET).secret(near.replace('f', "e")).start())
        .unwrap();
    let good = inbox.urls_at("https://shop.example.com/pay").unwrap().stk_for("order-123").unwrap();
    let token = good.as_str().split('/').nth(4).unwrap();
    // A token with a MAC that differs in its last byte, and one in its first.
    let damaged = |at: usize| {
        let replacement = if token.as_bytes()[at] == b'0' { '1' } else { '0' };
        format!("/{}{replacement}{}/stk", &token[..at], &token[at + 1..])
    };
    for (what, near, far) in
        [("a secret", format!("/{near}/stk"), format!("/{far}/stk")), ("a token", damaged(33), damaged(11))]
    {
        let t = t(samples, [&far, &near], |path| {
            let request = Request::new("POST", path, &|_| Vec::new());
            let answer = runtime.block_on(inbox.receive(request, Chunks(Vec::new())));
            assert_eq!(answer.status(), 404);
        });
        println!("{what}: t = {t:.1}");
        assert!(t.abs() < THRESHOLD, "{what} that is nearly right takes another time to refuse: t = {t:.1}");
    }
}
