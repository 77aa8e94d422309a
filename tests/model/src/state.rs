//! Everything there is, at one moment.

use crate::steps::Action;

/// How often each of three sayings is delivered.
pub(crate) const DELIVERIES: [u8; 3] = [2, 1, 1];

/// The second callback reports an unknown outcome, and then a definite one, under one key.
pub(crate) const UNKNOWN: usize = 1;
pub(crate) const DEFINITE: usize = 2;

/// Whether two sayings are under one key.
pub(crate) fn are_of_one_key(one: usize, other: usize) -> bool {
    one == other || (one != 0 && other != 0)
}

/// Everything there is, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// By content.
    pub(crate) keys: [Key; 3],
    /// The store's rows, by id: in the order in which they were inserted, not committed.
    pub(crate) rows: Vec<Row>,
    /// The callbacks in the workers' hands, sorted, so that states are equal that differ only by worker.
    pub(crate) runs: Vec<Run>,
    /// How often something may still go wrong.
    pub(crate) faults: u8,
    /// Whether a worker changed a row without its lease.
    pub(crate) trespassed: bool,
}

/// The knowledge of the sender of a callback, and the keys in the transactor: a key and a content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) unsent: u8,
    pub(crate) acknowledged: u8,
    pub(crate) effects: u8,
    pub(crate) marked: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) key: usize,
    pub(crate) stage: Stage,
    pub(crate) fence: u8,
    pub(crate) attempts: u8,
    pub(crate) interruptions: u8,
    /// The fences that have not expired, as bits. The store knows it of the last one: `lease_until >= now`.
    pub(crate) live: u8,
    /// For the properties alone: how many settlements were written.
    pub(crate) settled: u8,
    /// The same: how many handlers began, but for those whose attempt was given back.
    pub(crate) begun: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Inserted, and not committed: invisible.
    #[default]
    Open,
    /// Rolled back; its id is not given again.
    Gone,
    Ready,
    Running,
    Done,
    Dead,
}

/// A callback's id, and the fence of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lease(pub(crate) usize, pub(crate) u8);

/// A claimed callback in a worker's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Run {
    pub(crate) lease: Lease,
    pub(crate) attempt: u8,
    pub(crate) phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Phase {
    Claimed,
    /// The handler runs, in the transactor's transaction.
    HandlerFuture,
    /// From here on it has ended, and is to be settled so.
    Done,
    Retry,
    Released,
    Dead,
}

impl Row {
    /// `state = 1 AND fence = $2`
    pub(crate) fn is_held(&self, fence: u8) -> bool {
        self.stage == Stage::Running && self.fence == fence
    }

    pub(crate) fn is_live(&self, fence: u8) -> bool {
        self.live & 1 << fence != 0
    }
}

impl State {
    /// Whether this is known, or adds nothing to what is.
    pub(crate) fn is_known(&self, key: usize) -> bool {
        self.visible(key) > 0 || (key == UNKNOWN && self.visible(DEFINITE) > 0)
    }

    /// The number of visible callbacks with this content.
    pub(crate) fn visible(&self, key: usize) -> usize {
        self.rows.iter().filter(|row| row.key == key && !matches!(row.stage, Stage::Open | Stage::Gone)).count()
    }

    pub(crate) fn is_fault(&self, action: Action) -> bool {
        use Action::{Apply, Begin, Claim, Commit, Expire, Record, Renew, Settle, Sweep};
        match action {
            Record(_) | Commit(_) | Claim(_) | Sweep(_) | Begin(_) | Apply(_) | Settle(_) | Renew(_) => false,
            Expire(lease) => self.runs.iter().any(|run| run.lease == lease),
            _ => true,
        }
    }

    /// Everything was acknowledged, and has come to its end.
    pub(crate) fn is_settled(&self) -> bool {
        let is_ended = |row: &Row| matches!(row.stage, Stage::Done | Stage::Dead | Stage::Gone);
        self.keys.iter().all(|key| key.unsent == 0) && self.rows.iter().all(is_ended)
    }
}
