//! The parts of a measurement: the usage of processes, and its report.

mod report;

mod usage;

pub(crate) use self::report::{Report, cell};
pub(crate) use self::usage::{Family, Usage, of_ended, parent, resident};

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}
