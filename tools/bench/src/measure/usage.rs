//! The usage of processes: read from `/proc`, on Linux.

use std::collections::HashMap;
use std::fs;
use std::ops::{Add, Sub};
use std::time::Duration;

use anyhow::Context;

/// The usage of processes since their start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// In their own code and in the kernel's.
    pub(crate) cpu: Duration,
    /// Bytes that they had written to disks.
    pub(crate) written: u64,
}

/// Linux counts in hundredths of a second, on every machine that matters.
const TICK: Duration = Duration::from_millis(10);

impl Usage {
    /// Of this process.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Usage> {
        let stat = stat(pid)?;
        let ticks: u32 = stat[11].parse::<u32>()? + stat[12].parse::<u32>()?;
        let io = fs::read_to_string(format!("/proc/{pid}/io"))?;
        let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).context("write_bytes")?;
        Ok(Usage { cpu: TICK * ticks, written: written.parse()? })
    }
}

/// The usage of a process and of each of its living children.
pub(crate) struct Family(HashMap<u32, Usage>);

impl Family {
    pub(crate) fn of(pid: u32) -> anyhow::Result<Family> {
        let mut family = HashMap::from([(pid, Usage::of(pid)?)]);
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(child) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if parent(child).is_ok_and(|parent| parent == pid) {
                family.insert(child, Usage::of(child).unwrap_or_default());
            }
        }
        Ok(Family(family))
    }

    /// No usage.
    pub(crate) fn none() -> Family {
        Family(HashMap::new())
    }

    /// The usage of the living processes since then. One that has ended meanwhile does not reduce that of the others.
    pub(crate) fn since(&self, earlier: &Family) -> Usage {
        let since = |(pid, usage): (&u32, &Usage)| *usage - earlier.0.get(pid).copied().unwrap_or_default();
        self.0.iter().map(since).fold(Usage::default(), Usage::add)
    }
}

/// The CPU time of the ended children of this process, and of theirs.
pub(crate) fn of_ended() -> anyhow::Result<Duration> {
    let stat = stat(std::process::id())?;
    Ok(TICK * (stat[13].parse::<u32>()? + stat[14].parse::<u32>()?))
}

impl Add for Usage {
    type Output = Usage;

    fn add(self, other: Usage) -> Usage {
        Usage { cpu: self.cpu + other.cpu, written: self.written + other.written }
    }
}

/// The usage in between.
impl Sub for Usage {
    type Output = Usage;

    fn sub(self, earlier: Usage) -> Usage {
        Usage { cpu: self.cpu.saturating_sub(earlier.cpu), written: self.written.saturating_sub(earlier.written) }
    }
}

/// The resident memory of a process, in KiB.
pub(crate) fn resident(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("its memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Which process started this one.
pub(crate) fn parent(pid: u32) -> anyhow::Result<u32> {
    Ok(stat(pid)?[1].parse()?)
}

/// The fields behind the name, which may have spaces in it: the state is the first.
fn stat(pid: u32) -> anyhow::Result<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("what a process used")?;
    let (_, fields) = stat.rsplit_once(") ").context("the process's name")?;
    Ok(fields.split(' ').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_ended_takes_nothing_off_the_others_account() {
        let used = |written| Usage { cpu: TICK, written };
        let earlier = Family(HashMap::from([(1, used(10)), (2, used(1000))]));
        let later = Family(HashMap::from([(1, used(15)), (3, used(7))]));
        assert_eq!(later.since(&earlier).written, 5 + 7, "2 has ended, 3 has come");
        assert_eq!(later.since(&Family::none()).written, 15 + 7);
    }
}
