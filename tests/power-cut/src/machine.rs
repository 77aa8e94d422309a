//! The drive, mounted with FUSE.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyWrite, Request, SessionACL, TimeOrNow, WriteFlags,
};

use crate::bytes::Losses;
use crate::drive::Drive;

/// A machine with a power switch.
#[derive(Clone, Debug)]
pub struct Machine(Arc<Mutex<Drive>>);

impl Machine {
    /// With this drive.
    pub fn new(drive: Drive) -> Machine {
        Machine(Arc::new(Mutex::new(drive)))
    }

    /// Serves the drive until the session ends. This process must open nothing in there itself.
    ///
    /// # Errors
    /// Where there is no FUSE, or this is not root.
    pub fn mount(&self, at: &Path) -> io::Result<Mounted> {
        let mut config = Config::default();
        config.acl = SessionACL::All;
        config.mount_options = vec![MountOption::FSName("power-cut".into()), MountOption::DefaultPermissions];
        Ok(Mounted { session: fuser::spawn_mount(self.clone(), at, &config)?, at: at.to_owned() })
    }

    /// Cuts the power after this many more requests: every later one fails with EIO.
    pub fn cut_after(&self, requests: u64) {
        self.drive().power = requests;
    }

    /// Decides which writes survived the cut. The drive must not be mounted meanwhile, because the kernel has caches.
    pub fn restore(&self, seed: u64) -> Losses {
        self.drive().lose(seed)
    }

    /// A copy of the drive as it is.
    pub fn copy(&self) -> Drive {
        self.drive().clone()
    }

    /// Another drive in its place. It must not be mounted meanwhile.
    pub fn replace(&self, drive: Drive) {
        *self.drive() = drive;
    }

    /// Whether requests are still answered.
    pub fn has_power(&self) -> bool {
        self.drive().power > 0
    }

    fn drive(&self) -> MutexGuard<'_, Drive> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every request passes through here, one at a time.
    fn with<T>(&self, work: impl FnOnce(&mut Drive) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut drive = self.drive();
        drive.power = drive.power.checked_sub(1).ok_or(Errno::EIO)?;
        work(&mut drive)
    }
}

/// A drive that is mounted.
#[derive(Debug)]
pub struct Mounted {
    session: BackgroundSession,
    at: PathBuf,
}

impl Mounted {
    /// Waits until it is unused, and unmounts it.
    pub fn unmount(self) {
        // Busy while the last process that was killed is on its way out.
        while !Command::new("umount").arg(&self.at).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        {
            sleep(Duration::from_millis(2));
        }
        // Now and then the kernel's last word is that it was aborted.
        let _ = self.session.join();
    }
}

/// The kernel may remember everything until the drive is mounted anew: nothing changes behind its back.
const FOR_EVER: Duration = Duration::from_secs(1 << 20);

/// The kernel's page cache stays, and no direct I/O: the shared memory of SQLite's WAL is a mapped file.
const CACHED: FopenFlags = FopenFlags::FOPEN_KEEP_CACHE;

/// `answer!(reply, result, value => how)`; fuser's replies share no trait.
macro_rules! answer {
    ($reply:ident, $result:expr, $value:pat => $how:expr) => {
        match $result {
            Ok($value) => $how,
            Err(error) => $reply.error(error),
        }
    };
}

/// What is left out is answered with ENOSYS, and the kernel does without it from then on. The two fsyncs must be here: it
/// would assume they succeeded. Locks are handled by the kernel, because no flag of `init` requests them.
impl Filesystem for Machine {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.with(|drive| {
            let number = drive.find((parent.0, name))?;
            drive.attributes(number).copied()
        });
        answer!(reply, found, found => reply.entry(&FOR_EVER, &found, Generation(0)));
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let found = self.with(|drive| drive.attributes(node.0).copied());
        answer!(reply, found, found => reply.attr(&FOR_EVER, &found));
    }

    #[rustfmt::skip]
    fn setattr(
        &self, _: &Request, node: INodeNo, mode: Option<u32>, uid: Option<u32>, gid: Option<u32>, size: Option<u64>,
        _: Option<TimeOrNow>, modified: Option<TimeOrNow>, _: Option<SystemTime>, _: Option<FileHandle>,
        _: Option<SystemTime>, _: Option<SystemTime>, _: Option<SystemTime>, _: Option<BsdFileFlags>, reply: ReplyAttr,
    ) {
        let changed = self.with(|drive| {
            if let Some(size) = size {
                drive.file(node.0)?.resize(size);
            }
            let attributes = drive.attributes(node.0)?;
            attributes.perm = mode.map_or(attributes.perm, |mode| (mode & 0o7777) as u16);
            (attributes.uid, attributes.gid) = (uid.unwrap_or(attributes.uid), gid.unwrap_or(attributes.gid));
            attributes.mtime = match modified {
                Some(TimeOrNow::SpecificTime(time)) => time,
                _ => SystemTime::now(),
            };
            Ok(*attributes)
        });
        answer!(reply, changed, changed => reply.attr(&FOR_EVER, &changed));
    }

    fn mkdir(&self, by: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        let made = self.with(|drive| drive.create((parent.0, name), FileType::Directory, mode, by));
        answer!(reply, made, made => reply.entry(&FOR_EVER, &made, Generation(0)));
    }

    fn create(&self, by: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, _: i32, reply: ReplyCreate) {
        let made = self.with(|drive| drive.create((parent.0, name), FileType::RegularFile, mode, by));
        answer!(reply, made, made => reply.created(&FOR_EVER, &made, Generation(0), FileHandle(0), CACHED));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, self.with(|drive| drive.remove((parent.0, name))), () => reply.ok());
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, self.with(|drive| drive.remove((parent.0, name))), () => reply.ok());
    }

    #[rustfmt::skip]
    fn rename(
        &self, _: &Request, parent: INodeNo, name: &OsStr, new_parent: INodeNo, new_name: &OsStr, flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        answer!(reply, self.with(|drive| drive.rename((parent.0, name), (new_parent.0, new_name))), () => reply.ok());
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        answer!(reply, self.with(|_| Ok(())), () => reply.opened(FileHandle(0), CACHED));
    }

    #[rustfmt::skip]
    fn read(
        &self, _: &Request, node: INodeNo, _: FileHandle, at: u64, length: u32, _: OpenFlags, _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let bytes = self.with(|drive| Ok(drive.file(node.0)?.read(at, length.into())));
        answer!(reply, bytes, bytes => reply.data(&bytes));
    }

    #[rustfmt::skip]
    fn write(
        &self, _: &Request, node: INodeNo, _: FileHandle, at: u64, bytes: &[u8], _: WriteFlags, _: OpenFlags,
        _: Option<LockOwner>, reply: ReplyWrite,
    ) {
        answer!(reply, self.with(|drive| drive.write(node.0, at, bytes)), () => reply.written(bytes.len() as u32));
    }

    fn fsync(&self, _: &Request, node: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer!(reply, self.with(|drive| drive.sync_file(node.0)), () => reply.ok());
    }

    fn fsyncdir(&self, _: &Request, node: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let synced = self.with(|drive| {
            drive.sync_directory(node.0);
            Ok(())
        });
        answer!(reply, synced, () => reply.ok());
    }

    /// In the order of their numbers, which are the position: names come and go between two calls.
    fn readdir(&self, _: &Request, node: INodeNo, _: FileHandle, after: u64, mut reply: ReplyDirectory) {
        let listed = self.with(|drive| {
            let mut names: Vec<_> = drive.names(node.0)?.iter().map(|(name, number)| (*number, name.clone())).collect();
            names.sort();
            for (number, name) in names.into_iter().filter(|(number, _)| *number > after) {
                if reply.add(INodeNo(number), number, drive.attributes(number)?.kind, name) {
                    break;
                }
            }
            Ok(())
        });
        answer!(reply, listed, () => reply.ok());
    }
}
