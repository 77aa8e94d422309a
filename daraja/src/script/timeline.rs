//! The timeline of a callback: what its faults make of it. It is frozen when the request is taken.

use std::time::Duration;

use super::Fault;

/// A second callback follows after this.
pub(crate) const AGAIN: Duration = Duration::from_secs(1);

/// How late `late` is: after the time that most applications wait.
const LATE: Duration = Duration::from_secs(10 * 60);

/// How long a reordered callback is overtaken by those of later requests.
const OVERTAKEN: Duration = Duration::from_secs(30);

/// How many connections `flood` opens.
const FLOOD: usize = 20;

/// One transmission of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transmission {
    /// Delay after the usual moment; `None` is before the answer to the request.
    pub(crate) delay: Option<Duration>,
    /// In other words: numbers as strings, members in another order.
    pub(crate) is_variant: bool,
    /// Number of connections that bring it at once.
    pub(crate) times: usize,
}

/// Returns the transmissions of a callback, in order.
pub(crate) fn transmissions(faults: &[Fault]) -> Vec<Transmission> {
    let has = |fault| faults.contains(&fault);
    if has(Fault::Lost) {
        return Vec::new();
    }
    let delay = match () {
        () if has(Fault::Early) => None,
        () if has(Fault::Late) => Some(LATE),
        () if has(Fault::Reordered) => Some(OVERTAKEN),
        () => Some(Duration::ZERO),
    };
    let first = Transmission { delay, is_variant: false, times: if has(Fault::Flood) { FLOOD } else { 1 } };
    let again = Transmission { delay: Some(delay.unwrap_or_default() + AGAIN), ..first };
    let duplicate = has(Fault::Duplicate).then_some(again);
    let variant = has(Fault::Variant).then_some(Transmission { is_variant: true, ..again });
    [Some(first), duplicate, variant].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_make_a_timeline() {
        let delays = |faults: &[Fault]| transmissions(faults).iter().map(|one| one.delay).collect::<Vec<_>>();
        let second = Duration::from_secs(1);
        assert_eq!(delays(&[]), [Some(Duration::ZERO)]);
        assert_eq!(delays(&[Fault::Early, Fault::Duplicate]), [None, Some(second)]);
        assert_eq!(delays(&[Fault::Late, Fault::Variant]), [Some(600 * second), Some(601 * second)]);
        assert!(delays(&[Fault::Lost, Fault::Duplicate]).is_empty());
        assert_eq!(transmissions(&[Fault::Flood])[0].times, 20);
    }
}
