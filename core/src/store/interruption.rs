//! What an interruption changes: a process ended, or lost its lease, with a callback in hand.

use std::time::Duration;

/// Callbacks that were in hand when their process ended, [several times](SUSPECT_AFTER), are claimed apart from the others:
/// one of them may be what ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Callbacks that are not suspect.
    Main,
    /// Suspects, several at once.
    Suspects,
    /// Suspects, those too that were interrupted [again and again](ALONE_AFTER) or in this lane before, one at a time. Should the process end meanwhile,
    /// that is evidence against the one, and the store notes it.
    Alone,
}

/// After so many interruptions a callback is suspect.
pub const SUSPECT_AFTER: u32 = 2;

/// After so many interruptions, or one of them while it ran alone, a callback runs in no other company.
pub const ALONE_AFTER: u32 = 6;

/// So many interruptions of a callback that ran [alone](Lane::Alone) cost it nothing; each one more counts as an attempt.
/// Interruptions beside others never do: whatever ended the process, it need not have been this one.
pub const FORGIVEN_ALONE: u32 = 3;

/// What a sweep makes of a callback whose lease expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interruption {
    /// Whether the attempt that was counted by the claim stays counted.
    pub is_counted: bool,
    /// In which lane it is claimed from now on, as [`Lane::after`] says.
    pub lane: Lane,
    /// How long until it is due again.
    pub after: Duration,
}

/// The longest wait after an interruption beside others, and after one alone.
const LONGEST: Duration = Duration::from_secs(30);
const LONGEST_ALONE: Duration = Duration::from_secs(3600);

impl Interruption {
    /// Of a callback that ran in this lane, and was interrupted so often before, in all and alone.
    ///
    /// The first one changes nothing but its count. From then on it waits 1, 2, 4 … 30 seconds; alone 2, 4, 8 … seconds up to
    /// an hour.
    ///
    /// | | attempt | due again after |
    /// |---|---|---|
    /// | beside others | not counted | 0, 1, 2, 4 … 30 s |
    /// | alone, up to [`FORGIVEN_ALONE`] times | not counted | 2, 4, 8 s |
    /// | alone, more often | counted | 16 s … 1 h |
    pub fn of(lane: Lane, interruptions: u32, interruptions_alone: u32) -> Interruption {
        let doubled = |times: u32| Duration::from_secs(1 << times.min(12));
        let is_alone = lane == Lane::Alone;
        let after = match (is_alone, interruptions) {
            (true, _) => doubled(interruptions_alone.saturating_add(1)).min(LONGEST_ALONE),
            (false, 0) => Duration::ZERO,
            (false, _) => doubled(interruptions - 1).min(LONGEST),
        };
        Interruption {
            is_counted: is_alone && interruptions_alone >= FORGIVEN_ALONE,
            lane: Lane::after(interruptions.saturating_add(1), interruptions_alone.saturating_add(u32::from(is_alone))),
            after,
        }
    }
}

impl Lane {
    /// Where a callback is claimed that was interrupted so often since it last came to an end, in all and alone.
    pub fn after(interruptions: u32, interruptions_alone: u32) -> Lane {
        match interruptions {
            0..SUSPECT_AFTER => Lane::Main,
            SUSPECT_AFTER..ALONE_AFTER if interruptions_alone == 0 => Lane::Suspects,
            _ => Lane::Alone,
        }
    }

    /// The lanes that a claim in this one takes from: [`Alone`](Lane::Alone), suspects are taken too.
    pub fn takes_from(self) -> &'static [Lane] {
        match self {
            Lane::Main => &[Lane::Main],
            Lane::Suspects => &[Lane::Suspects],
            Lane::Alone => &[Lane::Suspects, Lane::Alone],
        }
    }
}

/// How far ahead of its time a row may be before a clock must have been ahead: two machines' clocks differ by less.
const SLACK: Duration = Duration::from_secs(60);

/// Whether something that is due `wait` after it was put off was put off by a clock that was ahead: at a time that is still to
/// come. `until_due` is how long it is until then. A store puts such rows off anew, from now: a retry by its own wait, and a
/// lease by its own length, which whoever holds it renews.
pub fn is_ahead(until_due: Duration, wait: Duration) -> bool {
    until_due > wait.saturating_add(SLACK)
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
