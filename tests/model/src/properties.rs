//! The properties that must hold for any events in any order.

use stateright::Property;

use crate::Protocol;
use crate::state::{DEFINITE, Row, Stage, UNKNOWN};

pub(crate) fn properties() -> Vec<Property<Protocol>> {
    type Of = Property<Protocol>;
    let (always, eventually, sometimes) = (Of::always, Of::eventually, Of::sometimes);
    vec![
        always("what was acknowledged is in the store", |_, state| {
            (0..3).all(|key| state.keys[key].acknowledged == 0 || state.is_known(key))
        }),
        always("one callback of a key is the first", |_, state| (0..3).all(|key| state.visible(key) <= 1)),
        always("an unknown outcome is no news after a definite one", |_, state| {
            let first = |key| {
                state.rows.iter().position(|row| row.key == key && !matches!(row.stage, Stage::Open | Stage::Gone))
            };
            first(DEFINITE).zip(first(UNKNOWN)).is_none_or(|(definite, unknown)| unknown < definite)
        }),
        always("effects are made at most once", |_, state| state.keys.iter().all(|key| key.effects <= 1)),
        always("what is done has had its effects", |_, state| {
            state.rows.iter().all(|row| row.stage != Stage::Done || state.keys[row.key].effects > 0)
        }),
        always("one lease of a callback lives", |_, state| state.rows.iter().all(|row| row.live.count_ones() <= 1)),
        always("while a lease lives, nobody else changes the row", |_, state| {
            state.rows.iter().all(|row| (1..=row.fence).all(|fence| !row.is_live(fence) || row.is_held(fence)))
        }),
        always("whoever lost the lease changes nothing", |_, state| !state.trespassed),
        always("each claim is settled, or counted as interrupted", |_, state| {
            let ended = |row: &Row| row.fence - u8::from(row.stage == Stage::Running);
            state.rows.iter().all(|row| ended(row) == row.settled + row.interruptions)
        }),
        always("a handler is tried no more often than it may be", |protocol, state| {
            state.rows.iter().all(|row| row.begun <= protocol.attempts + protocol.forgiven)
        }),
        // Exact, because a settled callback stays settled, and there are no cycles.
        eventually("all is settled", |_, state| state.is_settled()),
        // That the model reaches these states at all:
        sometimes("an outcome is updated", |_, state| state.visible(UNKNOWN) > 0 && state.visible(DEFINITE) > 0),
        sometimes("an unknown outcome adds nothing", |_, state| {
            state.keys[UNKNOWN].acknowledged > 0 && state.visible(UNKNOWN) == 0
        }),
        sometimes("an earlier callback is committed after a later one was claimed", |_, state| {
            let is_open = |row: &Row| row.stage == Stage::Open;
            (0..state.rows.len()).any(|id| state.rows[id].fence > 0 && state.rows[..id].iter().any(is_open))
        }),
        sometimes("two workers have one callback in hand", |_, state| {
            state.runs.windows(2).any(|two| two[0].lease.0 == two[1].lease.0)
        }),
        sometimes("a callback dies", |_, state| state.rows.iter().any(|row| row.stage == Stage::Dead)),
        sometimes("all is done, whatever went wrong", |_, state| {
            state.faults == 0 && state.is_settled() && state.rows.iter().all(|row| row.stage != Stage::Dead)
        }),
    ]
}
