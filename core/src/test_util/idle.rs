//! Waiting until an inbox has nothing left to do.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::Kind;
use crate::error_chain::error_chain;
use crate::inbox::Inbox;
use crate::store::{Entry, Filter, State};

impl Inbox {
    /// Waits until every callback is done, dead, held or quarantined, and every hook has ended.
    /// Expectations that are not overdue yet may wait on. Feature `test-util`; it works on any store, and
    /// looks at every callback that is not settled.
    ///
    /// # Panics
    /// When that takes longer; the message lists the callbacks that are left.
    pub async fn idle(&self, within: Duration) {
        let began = Instant::now();
        loop {
            // Two of the tasks look for work; the others work.
            let is_working = self.engine().lifecycle.tasks.len() > 2;
            let open = self.unsettled().await;
            if open.is_empty() && !is_working {
                return;
            }
            assert!(began.elapsed() <= within, "not idle after {within:?}; left to handle: {}", describe(&open));
            sleep(Duration::from_millis(2)).await;
        }
    }

    async fn unsettled(&self) -> Vec<Entry> {
        let mut open = Vec::new();
        let now = self.engine().recorder.clock.now();
        let is_open = |entry: &Entry| entry.kind != Kind::Overdue || entry.run_at.is_none_or(|due| due <= now);
        for state in [State::Ready, State::Running] {
            let mut filter = Filter::default().state(state);
            while let Some(page) = self.next_page(&filter).await {
                filter = filter.before(page[page.len() - 1].id);
                open.extend(page.into_iter().filter(is_open));
            }
        }
        open
    }

    /// Returns a page of callbacks, unless it is empty.
    #[allow(clippy::panic, reason = "a test wants to know")]
    async fn next_page(&self, filter: &Filter) -> Option<Vec<Entry>> {
        match self.list(filter).await {
            Ok(page) => Some(page).filter(|page| !page.is_empty()),
            Err(error) => panic!("cannot list what is left to handle: {}", error_chain(&error)),
        }
    }
}

fn describe(open: &[Entry]) -> String {
    let one = |entry: &Entry| {
        let error = entry.error.as_ref().map_or("no error", |error| error.as_str());
        format!("{} ({:?}, attempt {}, {error})", entry.kind, entry.state, entry.attempts)
    };
    if open.is_empty() { "hooks".to_owned() } else { open.iter().map(one).collect::<Vec<_>>().join(", ") }
}
