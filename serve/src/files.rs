//! How many files the process may have open: every connection is one.

/// For what else the process has open: its databases, its logs, the connections that it opens itself.
const OTHERS: u64 = 256;

/// How many of these connections there is room for, after the limit was raised as far as the process may.
///
/// A process begins with 1,024 files as a rule, and may have many more (`ulimit -n` and `ulimit -Hn`). At the limit nothing can be
/// accepted, and the database cannot be opened either.
pub(super) fn room_for(connections: usize) -> usize {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHERS);
    let limit = match raised(wanted) {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "cannot tell how many files may be open; accepting connections without looking");
            return connections;
        }
    };
    let room = usize::try_from(connections_below(limit, wanted)).unwrap_or(usize::MAX).min(connections);
    if room < connections {
        tracing::warn!(
            limit,
            connections = room,
            "the limit of open files leaves room for fewer connections than {connections}; raise it (`ulimit -Hn`, `LimitNOFILE=`)"
        );
    } else {
        tracing::debug!(limit, connections, "open files");
    }
    room
}

/// Below a limit that is too low, a quarter of it is for others.
fn connections_below(limit: u64, wanted: u64) -> u64 {
    match limit >= wanted {
        true => wanted - OTHERS,
        false => limit - OTHERS.min(limit.div_ceil(4)),
    }
}

#[cfg(unix)]
fn raised(wanted: u64) -> std::io::Result<u64> {
    let (soft, _) = rlimit::Resource::NOFILE.get()?;
    if soft >= wanted { Ok(soft) } else { rlimit::increase_nofile_limit(wanted) }
}

/// Elsewhere sockets are no files.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "it can fail on Unix")]
fn raised(_: u64) -> std::io::Result<u64> {
    Ok(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_too_low_leaves_room_for_other_files() {
        assert_eq!(connections_below(u64::MAX, 1_256), 1_000);
        assert_eq!(connections_below(1_256, 1_256), 1_000);
        assert_eq!(connections_below(1_024, 16_640), 768);
        assert_eq!(connections_below(65_536, 100_000), 65_280);
        assert_eq!(connections_below(2, 16_640), 1);
        assert_eq!(connections_below(0, 16_640), 0);
    }
}
