//! Everything is read back, and held against the journal.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use mpesa_callbacks::Kind;
use mpesa_callbacks::store::{CallbackId, Entry, Filter, State, Store, Verdict};
use tokio::time::sleep;

use crate::deliveries::{Delivery, Meaning};
use crate::journal::Journal;
use crate::place::Place;

/// The findings; all but the first two must be 0.
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
    /// Effects that were made more than once, or for a contradiction.
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
        let depth = store.counts().await?;
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
        match Delivery::number_of(entry.key.as_str()) {
            Some(number) => rows.entry(number).or_default().push(entry),
            None => findings.phantom += 1,
        }
    }
    for (number, sent) in journal.sent().into_iter().enumerate() {
        let there = rows.remove(&number).unwrap_or_default();
        let news: Vec<&Entry> = there.iter().filter(|entry| entry.verdict.is_news()).collect();
        findings.misclassified += usize::from(!is_progress(&news, &there));
        for meaning in Meaning::ALL {
            let delivery = Delivery { number, meaning };
            let receipt = delivery.receipt();
            let sent = sent[meaning as usize];
            let made = receipt.as_ref().and_then(|receipt| effects.get(receipt)).copied().unwrap_or_default();
            let mut of_it = there.iter().filter(|entry| entry.receipt == receipt);
            let Some(entry) = of_it.next() else {
                findings.lost += usize::from(sent.acknowledged > 0);
                findings.doubled += usize::from(made > 0);
                continue;
            };
            findings.callbacks += 1;
            findings.phantom += usize::from(sent.all() == 0);
            findings.misclassified += of_it.count();
            findings.misclassified += usize::from(!(sent.acknowledged.max(1)..=sent.all()).contains(&entry.seen));
            match (entry.verdict, meaning) {
                (Verdict::First | Verdict::Variant, Meaning::Unknown) => {
                    findings.unapplied += usize::from(entry.state != State::Done);
                }
                (Verdict::First | Verdict::Update, Meaning::Paid | Meaning::PaidOtherwise) => {
                    findings.unapplied += usize::from(entry.state != State::Done || made == 0);
                    findings.doubled += usize::from(made > 1);
                }
                (Verdict::Conflict, Meaning::Paid | Meaning::PaidOtherwise) => {
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

/// Whether exactly one is the first, and one definite outcome updates an unknown one and nothing else.
fn is_progress(news: &[&Entry], there: &[Entry]) -> bool {
    let verdicts: Vec<Verdict> = news.iter().rev().map(|entry| entry.verdict).collect();
    let is_unknown = |entry: &Entry| entry.receipt.is_none();
    let has_definite = there.iter().any(|entry| !is_unknown(entry));
    match verdicts[..] {
        [] => there.is_empty(),
        [Verdict::First] => is_unknown(news[0]) != has_definite,
        // Newest first.
        [Verdict::First, Verdict::Update] => is_unknown(news[1]) && !is_unknown(news[0]),
        _ => false,
    }
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
