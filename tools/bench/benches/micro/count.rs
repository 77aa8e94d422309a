//! Instructions: the same program under callgrind, which counts those of one function and its callees. (It knows no instructions for
//! SHA-256: fingerprints count for more there than they cost.)

use std::env;
use std::process::{Command, Stdio};

use crate::Case;

/// Set where this program runs under callgrind.
pub(crate) const COUNTED: &str = "MPESA_CALLBACKS_COUNTED";

/// How often each side is counted.
const OFTEN: u32 = 20;

/// The functions that callgrind counts.
#[inline(never)]
fn counted_by_callgrind(run: &mut dyn FnMut()) {
    (0..OFTEN).for_each(|_| run());
}

/// Runs one side, by its number, to warm up, and then to be counted.
pub(crate) fn run(cases: &mut [Case], number: &str) {
    let mut sides = cases.iter_mut().flat_map(|case| &mut case.sides);
    if let Some(side) = number.parse().ok().and_then(|number| sides.nth(number)) {
        (0..3).for_each(|_| (side.run)());
        counted_by_callgrind(&mut *side.run);
    }
}

/// Instructions, for each side of each case in turn; none without valgrind.
pub(crate) fn under_callgrind(arguments: &[String], cases: &[Case]) -> Option<Vec<f64>> {
    let sides: usize = cases.iter().map(|case| case.sides.len()).sum();
    let counts: Option<Vec<f64>> = (0..sides).map(|number| count(arguments, number)).collect();
    if counts.is_none() {
        println!("instructions are not counted: valgrind is not installed, or does not run here");
    }
    counts
}

fn count(arguments: &[String], number: usize) -> Option<f64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--toggle-collect=*counted_by_callgrind*", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(env::current_exe().ok()?).args(arguments).env(COUNTED, number.to_string());
    let output = valgrind.stdout(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    let told = String::from_utf8(output.stderr).ok()?;
    let (_, total) = told.lines().find_map(|line| line.split_once("Collected : "))?;
    Some(total.trim().parse::<f64>().ok()? / f64::from(OFTEN))
}
