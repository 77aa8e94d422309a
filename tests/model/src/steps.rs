//! The events that may happen next.

use stateright::{Model, Property};

use self::Action::{
    Apply, ApplyUnheard, Begin, Claim, Commit, CommitUnheard, Crash, Expire, Fail, GiveBack, Record, Renew, Rollback,
    Settle, SettleUnheard, Sweep,
};
use crate::properties::properties;
use crate::state::{DEFINITE, DELIVERIES, Key, Lease, Phase, Row, Run, Stage, State, UNKNOWN, are_of_one_key};
use crate::{Mutant, Protocol};

/// The events that may happen next, and the worker. An `Unheard` event is done, and its caller gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A delivery of this key is inserted, or found to be a duplicate.
    Record(usize),
    /// The row with this id is committed, and the sender answered.
    Commit(usize),
    /// It is committed, and the sender is not answered.
    CommitUnheard(usize),
    /// It is rolled back.
    Rollback(usize),
    /// It is claimed.
    Claim(usize),
    /// It is swept.
    Sweep(usize),
    /// The transactor's transaction and the handler in it begin, unless there is nothing to do.
    Begin(Lease),
    /// The transactor's transaction is committed.
    Apply(Lease),
    /// The same, and the answer is lost.
    ApplyUnheard(Lease),
    /// The handler fails.
    Fail(Lease),
    /// The process stops in good order, or the transactor is away: the attempt is given back.
    GiveBack(Lease),
    /// How it ended is written.
    Settle(Lease),
    /// The same, and the answer is lost.
    SettleUnheard(Lease),
    /// The lease is renewed.
    Renew(Lease),
    /// The process is killed; or it cannot reach the store, and lets go.
    Crash(Lease),
    /// The lease expires. A living worker renews in time, so this is a fault: it was paused.
    Expire(Lease),
}

fn when(condition: bool) -> Option<()> {
    condition.then_some(())
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let keys = DELIVERIES.map(|unsent| Key { unsent, ..Key::default() });
        vec![State { keys, rows: Vec::new(), runs: Vec::new(), faults: self.faults, trespassed: false }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend((0..state.keys.len()).map(Record));
        for (id, row) in state.rows.iter().enumerate() {
            actions.extend([Commit(id), CommitUnheard(id), Rollback(id), Claim(id), Sweep(id)]);
            actions.extend((1..=row.fence).map(|fence| Expire(Lease(id, fence))));
        }
        for Run { lease, .. } in state.runs.iter().copied() {
            actions.extend([Begin(lease), Apply(lease), ApplyUnheard(lease), Fail(lease), GiveBack(lease)]);
            actions.extend([Settle(lease), SettleUnheard(lease), Renew(lease), Crash(lease)]);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        state.faults = state.faults.checked_sub(u8::from(before.is_fault(action)))?;
        match action {
            Record(key) => {
                let is_known = match self.mutant {
                    Some(Mutant::ForgetsUpdates) if key == DEFINITE => {
                        before.is_known(key) || before.visible(UNKNOWN) > 0
                    }
                    Some(Mutant::UpdatesBackwards) => before.visible(key) > 0,
                    _ => before.is_known(key),
                };
                let is_open = before.rows.iter().any(|row| are_of_one_key(row.key, key) && row.stage == Stage::Open);
                // The unique index makes the second wait for the first, and look again.
                when(is_known || !is_open || self.is(Mutant::RecordsWithoutIndex))?;
                if !is_known {
                    state.rows.push(Row { key, ..Row::default() });
                }
                let key = &mut state.keys[key];
                key.unsent = key.unsent.checked_sub(1)?;
                key.acknowledged += u8::from(is_known || self.is(Mutant::AcknowledgesFirst));
            }
            Commit(id) | CommitUnheard(id) | Rollback(id) => {
                let row = &mut state.rows[id];
                when(row.stage == Stage::Open)?;
                row.stage = if action == Rollback(id) { Stage::Gone } else { Stage::Ready };
                match action {
                    _ if self.is(Mutant::AcknowledgesFirst) => {}
                    Commit(_) => state.keys[row.key].acknowledged += 1,
                    _ => state.keys[row.key].unsent += 1, // Whoever is not answered sends again.
                }
            }
            Claim(id) => {
                when(state.runs.len() < self.workers)?;
                let is_behind = state.rows[id].fence == 0 && state.rows[id..].iter().any(|later| later.fence > 0);
                when(!is_behind || !self.is(Mutant::ClaimsByCursor))?;
                let row = &mut state.rows[id];
                when(match (row.stage, self.mutant) {
                    (Stage::Ready, _) | (Stage::Running, Some(Mutant::ClaimsWithoutState)) => true,
                    (Stage::Running, Some(Mutant::Retakes | Mutant::RetakesAndCounts)) => !row.is_live(row.fence),
                    _ => false,
                })?;
                row.interruptions += u8::from(row.stage == Stage::Running && self.is(Mutant::RetakesAndCounts));
                row.stage = Stage::Running;
                row.fence += 1;
                row.live |= 1 << row.fence;
                row.attempts += 1;
                state.runs.push(Run { lease: Lease(id, row.fence), attempt: row.attempts, phase: Phase::Claimed });
            }
            Sweep(id) => {
                let row = &mut state.rows[id];
                when(row.stage == Stage::Running && (!row.is_live(row.fence) || self.is(Mutant::SweepsEarly)))?;
                row.stage = Stage::Ready;
                row.interruptions += 1;
                // Another callback may have ended the process.
                row.attempts -= u8::from(row.interruptions <= self.forgiven || self.is(Mutant::CountsLate));
            }
            Expire(Lease(id, fence)) => state.rows[id].live &= !(1 << fence),
            Crash(lease) => state.runs.retain(|run| run.lease != lease),
            Begin(lease) | Apply(lease) | ApplyUnheard(lease) | Fail(lease) | GiveBack(lease) => {
                let run = state.runs.iter_mut().find(|run| run.lease == lease)?;
                let row = &mut state.rows[lease.0];
                let key = &mut state.keys[row.key];
                let was = run.phase;
                run.phase = match (action, was) {
                    (Begin(_), Phase::Claimed) if run.attempt > self.attempts => Phase::Dead,
                    (Begin(_), Phase::Claimed) if key.marked => Phase::Done,
                    (Begin(_), Phase::Claimed) => {
                        // The key's index makes the second wait, until the first is committed or rolled back.
                        let marks =
                            |run: &Run| run.phase == Phase::HandlerFuture && before.rows[run.lease.0].key == row.key;
                        when(!before.runs.iter().any(marks) || self.is(Mutant::MarksLate))?;
                        row.begun += 1;
                        Phase::HandlerFuture
                    }
                    (Apply(_) | ApplyUnheard(_), Phase::HandlerFuture) => {
                        key.effects += 1;
                        key.marked |= !self.is(Mutant::MarksLate);
                        if action == Apply(lease) { Phase::Done } else { Phase::Released }
                    }
                    (Fail(_), Phase::HandlerFuture) if run.attempt >= self.attempts => Phase::Dead,
                    (Fail(_), Phase::HandlerFuture) => Phase::Retry,
                    (GiveBack(_), Phase::Claimed | Phase::HandlerFuture) => Phase::Released,
                    _ => return None,
                };
                row.begun -= u8::from(was == Phase::HandlerFuture && run.phase == Phase::Released);
            }
            Settle(lease) | SettleUnheard(lease) => {
                let phase = state.runs.iter().find(|run| run.lease == lease && run.phase >= Phase::Done)?.phase;
                let row = &mut state.rows[lease.0];
                let is_written = match self.mutant {
                    Some(Mutant::SettlesWithoutFence) => row.stage == Stage::Running,
                    Some(Mutant::SettlesWithoutState) => row.fence == lease.1,
                    _ => row.is_held(lease.1),
                };
                if is_written {
                    state.trespassed |= !row.is_held(lease.1);
                    row.stage = match phase {
                        Phase::Done => Stage::Done,
                        Phase::Dead => Stage::Dead,
                        _ => Stage::Ready,
                    };
                    row.live &= !(1 << lease.1);
                    row.settled += 1;
                    row.attempts = row.attempts.saturating_sub(u8::from(phase == Phase::Released));
                    state.keys[row.key].marked |= phase == Phase::Done && self.is(Mutant::MarksLate);
                }
                match action {
                    Settle(_) => state.runs.retain(|run| run.lease != lease),
                    _ => when(is_written)?, // It is settled again.
                }
            }
            Renew(lease) => {
                let row = &mut state.rows[lease.0];
                let is_held = row.is_held(lease.1);
                row.live |= u8::from(is_held) << lease.1;
                // A worker that finds its lease lost stops the handler, and settles nothing.
                state.runs.retain(|run| run.lease != lease || is_held || run.phase >= Phase::Done);
            }
        }
        state.runs.sort_unstable();
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        properties()
    }
}
