//! The bytes of a file: those that processes see, and those that a power cut cannot take.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use fastrand::Rng;

/// The size of the pieces in which a drive loses writes that were not synced.
pub(crate) const PAGE: u64 = 4096;
/// A drive writes a sector wholly or not at all; PostgreSQL's `pg_control` relies on that.
const SECTOR: usize = 512;

/// A file's bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    live: Bytes,
    durable: Bytes,
    /// The pages that were written since the last sync; none is past the end of the live content.
    dirty: BTreeSet<u64>,
    /// The smallest size, below the durable one, that the file was cut to since the last sync.
    cut_to: Option<u64>,
}

/// An absent page is zeros. None is past the end, and the rest of the last page is zeros.
#[derive(Clone, Debug, Default)]
struct Bytes {
    size: u64,
    pages: BTreeMap<u64, Page>,
}

type Page = Arc<[u8; PAGE as usize]>;

/// The effect of a power cut on writes that were not synced.
#[derive(Clone, Copy, Debug, Default)]
pub struct Losses {
    /// How many pages it spared.
    pub kept: usize,
    /// How many it took.
    pub lost: usize,
    /// How many it tore.
    pub torn: usize,
    /// How many changes of names it took.
    pub names: usize,
}

impl std::ops::AddAssign for Losses {
    fn add_assign(&mut self, other: Losses) {
        self.kept += other.kept;
        self.lost += other.lost;
        self.torn += other.torn;
        self.names += other.names;
    }
}

impl File {
    pub(crate) fn size(&self) -> u64 {
        self.live.size
    }

    pub(crate) fn read(&self, at: u64, length: u64) -> Vec<u8> {
        let mut bytes = vec![0; self.live.size.saturating_sub(at).min(length) as usize];
        for (number, within, range) in pages_of(at, bytes.len()) {
            if let Some(page) = self.live.pages.get(&number) {
                bytes[range].copy_from_slice(&page[within]);
            }
        }
        bytes
    }

    /// Some writes reach the disk at once; a later write may then be lost, and this one be back.
    pub(crate) fn write(&mut self, at: u64, bytes: &[u8], reaches_disk: bool) {
        for (number, within, range) in pages_of(at, bytes.len()) {
            let page = self.live.pages.entry(number).or_insert_with(zeros);
            Arc::make_mut(page)[within].copy_from_slice(&bytes[range]);
            self.dirty.insert(number);
            if reaches_disk && self.cut_to.is_none() && (number + 1) * PAGE <= self.durable.size {
                self.durable.pages.insert(number, page.clone());
            }
        }
        self.live.size = self.live.size.max(at + bytes.len() as u64);
    }

    pub(crate) fn resize(&mut self, size: u64) {
        if size < self.durable.size {
            self.cut_to = Some(self.cut_to.map_or(size, |earlier| earlier.min(size)));
        }
        self.dirty.split_off(&size.div_ceil(PAGE));
        if size < self.live.size && !size.is_multiple_of(PAGE) {
            self.dirty.insert(size / PAGE);
        }
        self.live.resize(size);
    }

    pub(crate) fn sync(&mut self) {
        if let Some(size) = self.cut_to.take() {
            self.durable.resize(size);
        }
        for number in std::mem::take(&mut self.dirty) {
            match self.live.pages.get(&number) {
                Some(page) => self.durable.pages.insert(number, page.clone()),
                None => self.durable.pages.remove(&number),
            };
        }
        self.durable.size = self.live.size;
    }

    /// The power is cut. About this share of the writes that were not synced reached the disk, in any order; of some pages only a part.
    pub(crate) fn lose(&mut self, share: f64, rng: &mut Rng, losses: &mut Losses) {
        let mut grown_to = self.live.size;
        if let Some(size) = self.cut_to.take() {
            if rng.f64() < share {
                self.durable.resize(size);
            } else {
                // The file was not truncated, and later writes past its end are not part of it.
                losses.lost += self.dirty.split_off(&(size / PAGE)).len();
                grown_to = self.durable.size;
            }
        }
        for number in std::mem::take(&mut self.dirty) {
            if rng.f64() >= share {
                losses.lost += 1;
                continue;
            }
            let whole = rng.u8(0..8) > 0;
            *if whole { &mut losses.kept } else { &mut losses.torn } += 1;
            let written = self.live.pages.get(&number).cloned().unwrap_or_else(zeros);
            let page = Arc::make_mut(self.durable.pages.entry(number).or_insert_with(zeros));
            for (old, new) in page.chunks_mut(SECTOR).zip(written.chunks(SECTOR)) {
                if whole || rng.bool() {
                    old.copy_from_slice(new);
                }
            }
        }
        let size = match self.durable.size {
            size if grown_to <= size || rng.f64() >= share => size,
            size if rng.bool() => rng.u64(size..=grown_to),
            _ => grown_to,
        };
        self.durable.resize(size);
        self.live = self.durable.clone();
    }
}

impl Bytes {
    fn resize(&mut self, size: u64) {
        self.size = size;
        self.pages.split_off(&size.div_ceil(PAGE));
        if let Some(last) = self.pages.get_mut(&(size / PAGE)) {
            Arc::make_mut(last)[(size % PAGE) as usize..].fill(0);
        }
    }
}

fn zeros() -> Page {
    Arc::new([0; PAGE as usize])
}

/// The pages that so many bytes from here on lie in: its number, which part of the page, and which of the bytes.
fn pages_of(at: u64, length: usize) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let end = at + length as u64;
    (at / PAGE..end.div_ceil(PAGE)).filter(move |_| length > 0).map(move |number| {
        let (from, to) = (at.max(number * PAGE), end.min((number + 1) * PAGE));
        let part = |origin: u64| (from - origin) as usize..(to - origin) as usize;
        (number, part(number * PAGE), part(at))
    })
}
