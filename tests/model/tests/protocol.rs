//! The protocol holds, and every mutant is refuted.

use std::env;

use mpesa_callbacks_model::{Action, Mutant, Protocol};
use stateright::{Checker, HasDiscoveries, Model};

const PROTOCOL: Protocol = Protocol { workers: 2, attempts: 1, forgiven: 1, faults: 2, mutant: None };

/// `WORKERS`, `ATTEMPTS` and `FAULTS` make it larger: `cargo xtask model`.
#[test]
fn the_protocol_holds() {
    let larger = |name: &str, usual: u8| env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(usual);
    let protocol = Protocol {
        workers: larger("WORKERS", 2).into(),
        attempts: larger("ATTEMPTS", PROTOCOL.attempts),
        faults: larger("FAULTS", PROTOCOL.faults),
        forgiven: PROTOCOL.forgiven,
        mutant: None,
    };
    let checked = protocol.checker().spawn_bfs().join();
    println!("{protocol:?}: {} states", checked.unique_state_count());
    checked.assert_properties();
}

#[test]
fn every_mutant_is_refuted() {
    let refuted = [
        (Mutant::AcknowledgesFirst, "what was acknowledged is in the store"),
        (Mutant::RecordsWithoutIndex, "one callback of a key is the first"),
        (Mutant::ClaimsWithoutState, "one lease of a callback lives"),
        (Mutant::ClaimsByCursor, "all is settled"),
        (Mutant::Retakes, "each claim is settled, or counted as interrupted"),
        (Mutant::CountsLate, "a handler is tried no more often than it may be"),
        (Mutant::ForgetsUpdates, "what was acknowledged is in the store"),
        (Mutant::UpdatesBackwards, "an unknown outcome is no news after a definite one"),
        (Mutant::MarksLate, "effects are made at most once"),
        (Mutant::SettlesWithoutFence, "one lease of a callback lives"),
        (Mutant::SettlesWithoutFence, "whoever lost the lease changes nothing"),
        (Mutant::SettlesWithoutState, "each claim is settled, or counted as interrupted"),
        (Mutant::SweepsEarly, "one lease of a callback lives"),
    ];
    for (mutant, property) in refuted {
        println!("{mutant:?}: {property}: {:?}", shortest(mutant, property));
    }
}

/// The contract forbids it, but it does no harm here: the same states are reached by reclaiming and claiming.
#[test]
fn a_claim_that_sweeps_is_a_sweep_and_a_claim() {
    let mutant = Some(Mutant::RetakesAndCounts);
    Protocol { mutant, ..PROTOCOL }.checker().spawn_bfs().join().assert_properties();
}

/// As few faults as will do, and then as few steps: stateright keeps the last counterexample that it comes across, not the
/// first, so it is let go one step further each time.
fn shortest(mutant: Mutant, property: &'static str) -> Vec<Action> {
    let search = |faults, depth| {
        let model = Protocol { mutant: Some(mutant), faults, ..PROTOCOL };
        let enough = HasDiscoveries::AnyOf([property].into());
        model.checker().target_max_depth(depth).finish_when(enough).spawn_bfs().join().discovery(property)
    };
    let faults = (0..=PROTOCOL.faults).find(|faults| search(*faults, 20).is_some());
    let faults = faults.unwrap_or_else(|| panic!("{mutant:?} does no harm to: {property}"));
    (2..).find_map(|depth| search(faults, depth)).unwrap().into_actions()
}
