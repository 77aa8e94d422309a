//! A drive in memory. A power cut keeps synced writes, and a random part of the others.
//!
//! A file's bytes become durable with its fsync, and its own names with them, as on ext4, XFS and Btrfs: PostgreSQL counts
//! on that. All other names wait for the fsync of their directory. Modes, owners and times are durable at once.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

use fastrand::Rng;
use fuser::{Errno, FileAttr, FileType, INodeNo, Request};

use crate::bytes::{File, Losses, PAGE};

/// A drive, in memory.
#[derive(Clone, Debug)]
pub struct Drive {
    /// How many more requests there is power for.
    pub(crate) power: u64,
    nodes: BTreeMap<u64, Node>,
    /// The changes of names since they were last synced, in order.
    changes: Vec<Change>,
    rng: Rng,
}

#[derive(Clone, Debug)]
struct Node {
    attributes: FileAttr,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    File(File),
    Directory { live: Names, durable: Names },
}

type Names = BTreeMap<OsString, u64>;
type Name<'a> = (u64, &'a OsStr);

/// Happens wholly or not at all. A rename is a change of two names.
type Change = Vec<Naming>;

/// In this directory this name belongs to that node, or to none.
#[derive(Clone, Debug)]
struct Naming {
    name: (u64, OsString),
    node: Option<u64>,
}

fn naming((directory, name): Name<'_>, node: Option<u64>) -> Naming {
    Naming { name: (directory, name.into()), node }
}

impl Drive {
    /// An empty one, on which every user may create files.
    pub fn new(seed: u64) -> Drive {
        let (nodes, changes, rng) = (BTreeMap::new(), Vec::new(), Rng::with_seed(seed));
        let mut drive = Drive { power: u64::MAX, nodes, changes, rng };
        drive.insert(INodeNo::ROOT.0, FileType::Directory, 0o777, (0, 0));
        drive
    }

    #[rustfmt::skip]
    fn insert(&mut self, number: u64, kind: FileType, mode: u32, (uid, gid): (u32, u32)) {
        let now = SystemTime::now();
        let attributes = FileAttr {
            ino: INodeNo(number), kind, perm: (mode & 0o7777) as u16, uid, gid, nlink: 1, size: 0, blocks: 0,
            atime: now, mtime: now, ctime: now, crtime: now, rdev: 0, blksize: PAGE as u32, flags: 0,
        };
        let kind = match kind {
            FileType::Directory => Kind::Directory { live: Names::new(), durable: Names::new() },
            _ => Kind::File(File::default()),
        };
        self.nodes.insert(number, Node { attributes, kind });
    }

    fn node(&mut self, number: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&number).ok_or(Errno::ENOENT)
    }

    pub(crate) fn attributes(&mut self, number: u64) -> Result<&mut FileAttr, Errno> {
        let Node { attributes, kind } = self.node(number)?;
        if let Kind::File(file) = kind {
            (attributes.size, attributes.blocks) = (file.size(), file.size().div_ceil(512));
        }
        Ok(attributes)
    }

    pub(crate) fn file(&mut self, number: u64) -> Result<&mut File, Errno> {
        match &mut self.node(number)?.kind {
            Kind::File(file) => Ok(file),
            Kind::Directory { .. } => Err(Errno::EISDIR),
        }
    }

    pub(crate) fn names(&mut self, directory: u64) -> Result<&mut Names, Errno> {
        match &mut self.node(directory)?.kind {
            Kind::Directory { live, .. } => Ok(live),
            Kind::File(_) => Err(Errno::ENOTDIR),
        }
    }

    pub(crate) fn find(&mut self, (directory, name): Name<'_>) -> Result<u64, Errno> {
        self.names(directory)?.get(name).copied().ok_or(Errno::ENOENT)
    }

    pub(crate) fn create(
        &mut self,
        name: Name<'_>,
        kind: FileType,
        mode: u32,
        by: &Request,
    ) -> Result<FileAttr, Errno> {
        let number = self.nodes.keys().next_back().map_or(INodeNo::ROOT.0, |last| last + 1);
        self.change(vec![naming(name, Some(number))])?;
        self.insert(number, kind, mode, (by.uid(), by.gid()));
        self.attributes(number).copied()
    }

    /// The node stays: a cut may bring the name back, and processes may have the file open.
    pub(crate) fn remove(&mut self, name: Name<'_>) -> Result<(), Errno> {
        let number = self.find(name)?;
        self.check_empty(number)?;
        self.change(vec![naming(name, None)])
    }

    pub(crate) fn rename(&mut self, from: Name<'_>, to: Name<'_>) -> Result<(), Errno> {
        let number = self.find(from)?;
        if let Ok(replaced) = self.find(to) {
            self.check_empty(replaced)?;
        }
        self.change(vec![naming(from, None), naming(to, Some(number))])
    }

    fn check_empty(&mut self, number: u64) -> Result<(), Errno> {
        if self.names(number).is_ok_and(|names| !names.is_empty()) { Err(Errno::ENOTEMPTY) } else { Ok(()) }
    }

    fn change(&mut self, change: Change) -> Result<(), Errno> {
        for Naming { name: (directory, name), node } in &change {
            set(self.names(*directory)?, name, *node);
        }
        self.changes.push(change);
        Ok(())
    }

    pub(crate) fn write(&mut self, number: u64, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        let reaches_disk = self.rng.u8(0..16) == 0;
        self.file(number)?.write(at, bytes, reaches_disk);
        self.attributes(number)?.mtime = SystemTime::now();
        Ok(())
    }

    pub(crate) fn sync_file(&mut self, number: u64) -> Result<(), Errno> {
        self.file(number)?.sync();
        self.keep(|naming| naming.node == Some(number));
        Ok(())
    }

    pub(crate) fn sync_directory(&mut self, directory: u64) {
        self.keep(|naming| naming.name.0 == directory);
    }

    /// Makes these changes durable, and the earlier ones that they build on: of the same names, and of the directories that
    /// they are in.
    fn keep(&mut self, mut wanted: impl FnMut(&Naming) -> bool) {
        let (mut names, mut directories) = (HashSet::new(), HashSet::new());
        let (mut kept, mut left) = (Vec::new(), Vec::new());
        for change in std::mem::take(&mut self.changes).into_iter().rev() {
            let mut needed = |naming: &Naming| {
                names.contains(&naming.name)
                    || naming.node.is_some_and(|node| directories.contains(&node))
                    || wanted(naming)
            };
            if change.iter().any(&mut needed) {
                names.extend(change.iter().map(|naming| naming.name.clone()));
                directories.extend(change.iter().map(|naming| naming.name.0));
                kept.push(change);
            } else {
                left.push(change);
            }
        }
        self.changes.extend(left.into_iter().rev());
        for Naming { name: (directory, name), node } in kept.into_iter().rev().flatten() {
            if let Ok(Node { kind: Kind::Directory { durable, .. }, .. }) = self.node(directory) {
                set(durable, &name, node);
            }
        }
    }

    /// The power was cut, and is back. A random share of the writes that were not synced is left; after a quarter of all cuts, nothing.
    pub(crate) fn lose(&mut self, seed: u64) -> Losses {
        let mut rng = Rng::with_seed(seed);
        let share = if rng.u8(0..4) == 0 { 0.0 } else { rng.f64() };
        self.keep(|_| rng.f64() < share);
        let mut losses = Losses { names: std::mem::take(&mut self.changes).len(), ..Losses::default() };
        let mut named = HashSet::from([INodeNo::ROOT.0]);
        for node in self.nodes.values_mut() {
            match &mut node.kind {
                Kind::File(file) => file.lose(share, &mut rng, &mut losses),
                Kind::Directory { live, durable } => {
                    live.clone_from(durable);
                    named.extend(durable.values());
                }
            }
        }
        self.nodes.retain(|number, _| named.contains(number));
        (self.power, self.rng) = (u64::MAX, rng);
        losses
    }
}

fn set(names: &mut Names, name: &OsStr, node: Option<u64>) {
    match node {
        Some(node) => names.insert(name.into(), node),
        None => names.remove(name),
    };
}
