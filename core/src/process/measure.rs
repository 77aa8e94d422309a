//! The sizes of the queues, for metrics and for a warning about kinds without a handler.

use std::collections::HashSet;
use std::mem::replace;
use std::sync::PoisonError;
use std::time::Duration;

use super::processor::Processor;
use super::ticks::every;
use crate::error_chain::error_chain;
use crate::observe;
use crate::store::{Waiting, catch_panic};

/// Interval between two measurements of the queues.
const MEASURE_INTERVAL: Duration = Duration::from_secs(15);

/// A queue without a handler is logged as a warning after this long. A deployment takes less.
const UNHANDLED_AFTER: Duration = Duration::from_secs(60);

pub(super) async fn keep_measuring(processor: &Processor) {
    let mut ticks = every(MEASURE_INTERVAL);
    loop {
        ticks.tick().await;
        processor.measure().await;
    }
}

impl Processor {
    async fn measure(&self) {
        match self.store.counts().await {
            Ok(depth) => observe::depth(&depth),
            Err(error) => tracing::warn!(cause = error_chain(&error), "cannot count callbacks"),
        }
        match self.store.waiting().await {
            Ok(waiting) => self.show_waiting(&waiting),
            Err(error) => tracing::warn!(cause = error_chain(&error), "cannot count callbacks by kind"),
        }
        let Some(spooling) = &self.recorder.spooling else { return };
        match catch_panic(spooling.spool.depth()).await {
            Ok(depth) => observe::spool_depth(&depth, self.clock.now()),
            Err(error) => tracing::warn!(cause = error_chain(&error), "cannot count the deliveries in the spool"),
        }
    }

    /// Reports the queue per kind. A kind that this process does not handle waits for another
    /// process; if there is none, an operator must know.
    fn show_waiting(&self, waiting: &[Waiting]) {
        let now = self.clock.now();
        observe::waiting(waiting, now);
        let kinds: HashSet<_> = waiting.iter().map(|waiting| waiting.kind.clone()).collect();
        let earlier = replace(&mut *self.shown.lock().unwrap_or_else(PoisonError::into_inner), kinds.clone());
        earlier.difference(&kinds).for_each(observe::waits_no_more);
        for Waiting { kind, count, due_since } in waiting {
            let overdue = now.duration_since(*due_since).unwrap_or_default();
            if self.routes.of(kind).is_none() && overdue > UNHANDLED_AFTER {
                tracing::warn!(
                    %kind,
                    callbacks = count,
                    seconds = overdue.as_secs(),
                    "callbacks are due of a kind that this process does not handle"
                );
            }
        }
    }
}
