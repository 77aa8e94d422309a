//! The limit of open files: every connection is one.

/// Reserve for the process's databases, logs and outgoing connections.
const RESERVED_FILES: u64 = 256;

/// Raises the limit of open files as far as possible, and returns how many of these connections fit.
///
/// A process usually starts with a soft limit of 1,024 and a much higher hard limit (`ulimit -n`,
/// `ulimit -Hn`). At the limit no connection can be accepted and no database opened.
pub(super) fn room_for(connections: usize) -> usize {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(RESERVED_FILES);
    let limit = match raised(wanted) {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files is unknown; connections are accepted without checking it");
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

/// If the limit is too low, a quarter of it is reserved.
fn connections_below(limit: u64, wanted: u64) -> u64 {
    match limit >= wanted {
        true => wanted - RESERVED_FILES,
        false => limit - RESERVED_FILES.min(limit.div_ceil(4)),
    }
}

#[cfg(unix)]
fn raised(wanted: u64) -> std::io::Result<u64> {
    let (soft, _) = rlimit::Resource::NOFILE.get()?;
    if soft >= wanted { Ok(soft) } else { rlimit::increase_nofile_limit(wanted) }
}

/// On other systems sockets are not files.
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
