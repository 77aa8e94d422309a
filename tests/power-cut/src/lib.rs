//! A drive whose power can be cut: it keeps what was synced, and of the rest whatever it likes, in pages and pieces of pages.
//!
//! It is a file system in memory, mounted with FUSE (Linux, as root), for what is to be tested to write to. Fsync is what makes bytes
//! durable, and of names their directory's; a cut decides from a seed what became of the rest: whole pages, sectors of pages, the end of
//! files, and names, in no order. Nothing in it flatters: a quarter of all cuts take everything, and now and then something reaches
//! the disk long before it is asked for.
#![allow(clippy::cast_possible_truncation, reason = "a drive of some megabytes, on a machine of 64 bits")]

mod bytes;

mod drive;

mod machine;

pub mod journal;

pub use self::bytes::Losses;
pub use self::drive::Drive;
pub use self::machine::{Machine, Mounted};
