//! Everything is read back, and held against the journal.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use mpesa_callbacks::Kind;
use mpesa_callbacks::store::{CallbackId, Entry, Filter, State, Store, Verdict};
use tokio::time::sleep;

use crate::deliveries::Delivery;
use crate::journal::Journal;
use crate::place::Place;

/// What was found; all but the first two must be 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// How many callbacks are there.
    pub callbacks: usize,
    /// How many of them contradict, and are held.
    pub held: usize,
    /// Acknowledged, and not there.
    pub lost: usize,
    /// There, and never sent.
    pub phantom: usize,
    /// Effects that were made more than once, or of what contradicts.
    pub doubled: usize,
    /// Acknowledged, and never taken effect.
    pub unapplied: usize,
    /// Judged wrongly: two firsts of one key, none, or counted too often or too rarely.
    pub misclassified: usize,
}

impl Findings {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.lost + self.phantom + self.doubled + self.unapplied + self.misclassified == 0
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Findings { callbacks, held, lost, phantom, doubled, unapplied, misclassified } = self;
        write!(
            f,
            "{callbacks} callbacks, {held} held; lost {lost}, phantom {phantom}, doubled {doubled}, unapplied {unapplied}, \
             misclassified {misclassified}"
        )
    }
}

/// Waits until nothing is left to handle.
///
/// # Errors
/// When that takes longer than this.
pub async fn settled(store: &dyn Store, limit: Duration) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let depth = store.depth().await?;
        if depth.ready + depth.running == 0 {
            return Ok(());
        }
        anyhow::ensure!(began.elapsed() < limit, "callbacks are not handled: {depth:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Reads everything back and holds it against the journal.
///
/// # Errors
/// When it cannot be read.
pub async fn check(place: &Place, store: &dyn Store, journal: &Journal) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    let effects: HashMap<String, i64> = place.effects().await?.into_iter().collect();
    let mut rows: HashMap<usize, Vec<Entry>> = HashMap::new();
    for entry in all(store).await? {
        match entry.receipt.as_deref().and_then(Delivery::of_receipt) {
            Some(delivery) => rows.entry(delivery.number).or_default().push(entry),
            None => findings.phantom += 1,
        }
    }
    for (number, sent) in journal.sent().into_iter().enumerate() {
        let there = rows.remove(&number).unwrap_or_default();
        let first = there.iter().filter(|entry| entry.verdict == Verdict::First).count();
        findings.misclassified += usize::from(first != usize::from(!there.is_empty()));
        for contradicts in [false, true] {
            let delivery = Delivery { number, contradicts };
            let sent = sent[usize::from(contradicts)];
            let made = effects.get(&delivery.receipt()).copied().unwrap_or_default();
            let mut of_it = there.iter().filter(|entry| entry.receipt.as_deref() == Some(&delivery.receipt()));
            let Some(entry) = of_it.next() else {
                findings.lost += usize::from(sent.acknowledged > 0);
                findings.doubled += usize::from(made > 0);
                continue;
            };
            findings.callbacks += 1;
            findings.phantom += usize::from(sent.all() == 0);
            findings.misclassified += of_it.count();
            findings.misclassified += usize::from(!(sent.acknowledged.max(1)..=sent.all()).contains(&entry.seen));
            match entry.verdict {
                Verdict::First => {
                    findings.unapplied += usize::from(entry.state != State::Done || made == 0);
                    findings.doubled += usize::from(made > 1);
                }
                Verdict::Conflict => {
                    findings.held += usize::from(entry.state == State::Held);
                    findings.misclassified += usize::from(entry.state != State::Held);
                    findings.doubled += usize::from(made > 0);
                }
                _ => findings.misclassified += 1,
            }
        }
    }
    findings.phantom += rows.len();
    Ok(findings)
}

async fn all(store: &dyn Store) -> anyhow::Result<Vec<Entry>> {
    let (mut all, mut before): (Vec<Entry>, Option<CallbackId>) = (Vec::new(), None);
    loop {
        let mut page = Filter::default().kind(Kind::Stk).limit(10_000);
        page.before = before;
        let page = store.list(&page).await?;
        let Some(last) = page.last() else { return Ok(all) };
        before = Some(last.id);
        all.extend(page);
    }
}
