//! Interruptions: a process died, or lost its lease, while it handled a callback.

use std::time::Duration;

/// Where a callback is claimed. Callbacks that were interrupted [several times](SUSPECT_AFTER) are
/// claimed separately, because one of them may have ended the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Callbacks that are not suspect.
    Main,
    /// Suspects, several at a time.
    Suspects,
    /// Suspects, one at a time, including those that were interrupted [repeatedly](ALONE_AFTER) or
    /// in this lane. If the process ends now, that is evidence against this callback.
    Alone,
}

/// Number of interruptions after which a callback is suspect.
pub const SUSPECT_AFTER: u32 = 2;

/// Number of interruptions after which a callback runs alone. One interruption while it ran alone
/// has the same effect.
pub const ALONE_AFTER: u32 = 6;

/// Number of interruptions [alone](Lane::Alone) that cost nothing; each further one counts as an
/// attempt. Interruptions beside other callbacks never count.
pub const FORGIVEN_ALONE: u32 = 3;

/// The treatment of a callback after its lease expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interruption {
    /// Whether the attempt stays counted.
    pub is_counted: bool,
    /// Its lane from now on.
    pub lane: Lane,
    /// Delay until it is due again.
    pub after: Duration,
}

/// Longest delays after an interruption beside others, and alone.
const MAX_DELAY: Duration = Duration::from_secs(30);
const MAX_DELAY_ALONE: Duration = Duration::from_secs(3600);

impl Interruption {
    /// Returns the rule, given the lane it ran in and its previous interruptions, in total and
    /// alone.
    ///
    /// | | attempt | delay |
    /// |---|---|---|
    /// | beside others | not counted | 0, 1, 2, 4 … 30 s |
    /// | alone, up to [`FORGIVEN_ALONE`] times | not counted | 2, 4, 8 s |
    /// | alone, more often | counted | 16 s … 1 h |
    pub fn of(lane: Lane, interruptions: u32, interruptions_alone: u32) -> Interruption {
        let doubled = |times: u32| Duration::from_secs(1 << times.min(12));
        let is_alone = lane == Lane::Alone;
        let after = match (is_alone, interruptions) {
            (true, _) => doubled(interruptions_alone.saturating_add(1)).min(MAX_DELAY_ALONE),
            (false, 0) => Duration::ZERO,
            (false, _) => doubled(interruptions - 1).min(MAX_DELAY),
        };
        Interruption {
            is_counted: is_alone && interruptions_alone >= FORGIVEN_ALONE,
            lane: Lane::after(interruptions.saturating_add(1), interruptions_alone.saturating_add(u32::from(is_alone))),
            after,
        }
    }
}

impl Lane {
    /// Returns the lane after this many interruptions since the last settlement, in total and
    /// alone.
    pub fn after(interruptions: u32, interruptions_alone: u32) -> Lane {
        match interruptions {
            0..SUSPECT_AFTER => Lane::Main,
            SUSPECT_AFTER..ALONE_AFTER if interruptions_alone == 0 => Lane::Suspects,
            _ => Lane::Alone,
        }
    }

    /// Returns the lanes that a claim in this lane takes from.
    pub fn takes_from(self) -> &'static [Lane] {
        match self {
            Lane::Main => &[Lane::Main],
            Lane::Suspects => &[Lane::Suspects],
            Lane::Alone => &[Lane::Suspects, Lane::Alone],
        }
    }
}

/// Tolerance between the clocks of two machines.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

/// Returns whether a row was scheduled by a clock that was ahead: it is due in `until_due`,
/// although its delay is only `wait`. A store reschedules such rows from now, a retry by its delay
/// and a lease by its length.
pub fn is_ahead(until_due: Duration, wait: Duration) -> bool {
    until_due > wait.saturating_add(CLOCK_SLACK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ran_alone_several_times_pays_with_an_attempt() {
        for before in 0..100 {
            assert!(!Interruption::of(Lane::Main, before, 0).is_counted);
            assert!(!Interruption::of(Lane::Suspects, before, 0).is_counted);
            assert_eq!(Interruption::of(Lane::Alone, before, before).is_counted, before >= 3);
            assert_eq!(Interruption::of(Lane::Main, before, 0).lane == Lane::Main, before == 0);
        }
    }

    #[test]
    fn waits_double_up_to_a_bound() {
        let seconds = |lane, before| Interruption::of(lane, before, before).after.as_secs();
        assert_eq!([0, 1, 2, 3, 5, 6, 99].map(|before| seconds(Lane::Main, before)), [0, 1, 2, 4, 16, 30, 30]);
        assert_eq!([0, 1, 2, 10, 11, 99].map(|before| seconds(Lane::Alone, before)), [2, 4, 8, 2048, 3600, 3600]);
    }

    #[test]
    fn a_row_is_ahead_when_it_was_put_off_in_the_future() {
        let hour = Duration::from_secs(3600);
        assert!(is_ahead(hour, Duration::from_secs(2)));
        assert!(!is_ahead(hour, hour) && !is_ahead(Duration::ZERO, Duration::ZERO));
        assert!(!is_ahead(Duration::from_secs(30), Duration::ZERO), "clocks of two machines differ by seconds");
    }
}
