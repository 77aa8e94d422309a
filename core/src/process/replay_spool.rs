//! Replays the spool into the store, oldest first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use crate::error_chain::error_chain;
use crate::handler::InboxHandle;
use crate::observe;
use crate::receive::Receiver;
use crate::record::{RecordError, Recorder, Spooling, record_expecting};
use crate::store::{Delivery, SpoolId, StoreError, Verdict, catch_panic};

/// Maximum number of deliveries that are replayed in one commit.
const BATCH: usize = 256;

/// Delay before the next attempt while the store is unavailable.
const PAUSE: Duration = Duration::from_secs(1);

/// How often deliveries that could not be replayed are tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// Result of replaying one batch.
enum Replay {
    /// The batch is in the store, or can never go there. There may be more.
    Went,
    /// The spool is empty.
    Nothing,
    /// The batch is in the store, and still in the spool, which cannot be written. There may be
    /// more.
    NotRemoved,
    /// The store or the spool failed.
    Failed,
}

/// Replays until the inbox closes. After a crash between the store's commit and the removal from
/// the spool, a delivery is replayed again, and the store recognises it by its digest.
pub(crate) async fn replay_spool(receiver: Arc<Receiver>, recording_timeout: Duration, inbox: InboxHandle) {
    let recorder = receiver.recorder.clone();
    let Some(spooling) = &recorder.spooling else { return };
    let closing = &recorder.lifecycle.closing;
    let mut replayer = Replayer {
        receiver: &receiver,
        recorder: &recorder,
        spooling,
        recording_timeout,
        inbox,
        behind: SpoolId::default(),
    };
    let (mut since, mut is_owing) = (Instant::now(), false);
    while !closing.is_cancelled() {
        let began = Instant::now();
        let (pause, is_idle) = match replayer.replay().await {
            // Half of the time is left for new callbacks.
            Replay::Went => (began.elapsed(), false),
            Replay::NotRemoved => {
                is_owing = true;
                (PAUSE, false)
            }
            Replay::Failed => (PAUSE, false),
            Replay::Nothing if spooling.breaker.is_open() => {
                spooling.breaker.let_one_try();
                (PAUSE, false)
            }
            Replay::Nothing => (if is_owing { PAUSE } else { AGAIN }, true),
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = spooling.wake.notified(), if is_idle => {}
            () = closing.cancelled() => {}
        }
        // Try again what could not be removed, or was refused by the store.
        if is_idle && (is_owing || since.elapsed() >= AGAIN) {
            (replayer.behind, since, is_owing) = (SpoolId::default(), Instant::now(), false);
        }
    }
}

struct Replayer<'a> {
    receiver: &'a Receiver,
    recorder: &'a Recorder,
    spooling: &'a Spooling,
    recording_timeout: Duration,
    inbox: InboxHandle,
    /// The last delivery that was replayed.
    behind: SpoolId,
}

impl Replayer<'_> {
    /// Replays one batch from the spool into the store.
    async fn replay(&mut self) -> Replay {
        let oldest = match catch_panic(self.spooling.spool.oldest(self.behind, BATCH)).await {
            Ok(oldest) => oldest,
            Err(error) => return failed(&error),
        };
        let Some((last, _)) = oldest.last() else { return Replay::Nothing };
        let last = *last;
        let parser = &self.receiver.parser;
        let (ids, batch): (Vec<SpoolId>, Vec<Delivery>) =
            oldest.into_iter().map(|(id, spooled)| (id, parser.parse_spooled(spooled))).unzip();
        let expecting = self.recorder.expecting.as_ref();
        let unseen = expecting.map(|expecting| expecting.look_again.later_callbacks());
        let recording = record_expecting(&*self.recorder.store, expecting, batch);
        let Ok(answers) = timeout(self.recording_timeout, recording).await else {
            if let (Some(expecting), Some(unseen)) = (expecting, unseen) {
                expecting.look_again.add(unseen);
            }
            tracing::warn!("the store does not answer; the deliveries in the spool wait");
            return Replay::Failed;
        };
        let (mut recorded, mut is_away) = (Vec::new(), false);
        for (id, answer) in ids.into_iter().zip(answers) {
            match answer {
                Ok((delivery, answer)) => {
                    recorded.push(id);
                    // Usually it was recorded, and only the answer was lost: no duplicate for the
                    // application.
                    if answer.verdict != Verdict::Duplicate {
                        self.recorder.after_record(&delivery, &answer, &self.inbox);
                    }
                }
                Err(RecordError::Refused) => {
                    tracing::error!("the store refuses a delivery of the spool; it stays there");
                }
                Err(RecordError::Away) => is_away = true,
            }
        }
        // Later deliveries must not wait for a spool that cannot be written.
        if !is_away {
            self.behind = last;
        }
        if !recorded.is_empty() {
            self.recorder.store_worked();
            observe::replayed(recorded.len() as u64);
            self.recorder.ready.wake();
            if let Err(error) = catch_panic(self.spooling.spool.remove(&recorded)).await {
                failed(&error);
                return Replay::NotRemoved;
            }
        }
        if is_away { Replay::Failed } else { Replay::Went }
    }
}

fn failed(error: &StoreError) -> Replay {
    tracing::error!(cause = error_chain(error), "the spool fails");
    Replay::Failed
}
