//! The thread that writes. Everything that waits goes into one transaction, so into one fsync.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use mpesa_callbacks_core::store::StoreError;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::errors::{is_failed_fsync, store_error};

/// Maximum number of pieces of work per commit.
const MAX_BATCH: usize = 64;

/// A handle of the writing thread.
#[derive(Debug)]
pub(super) struct Writer {
    sender: Mutex<Option<Sender<Order>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A message to the thread.
enum Order {
    /// Work, and the number of callbacks in it.
    Write(Box<dyn Work>, usize),
    Checkpoint,
}

/// A piece of work. It runs inside a transaction, perhaps again in a later one, and is answered after
/// the commit.
trait Work: Send {
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
    /// Whether it is still wanted.
    fn is_wanted(&self) -> bool;
}

struct Task<F, T> {
    work: F,
    /// Without its caller it is harmful.
    is_for_caller: bool,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Work for Task<F, T>
where
    F: FnMut(&Connection) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.result = Some((self.work)(connection)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Task { result, reply, .. } = *self;
        // The caller may be gone; the work is done.
        let _ = reply.send(committed.and_then(|()| result.ok_or(StoreError::Closed)));
    }

    fn is_wanted(&self) -> bool {
        !self.is_for_caller || !self.reply.is_closed()
    }
}

impl Writer {
    pub(super) fn start(connection: Connection, path: &Path) -> Result<Writer, StoreError> {
        let (sender, receiver) = channel();
        let path = path.to_owned();
        let thread = thread::Builder::new()
            .name("mpesa-callbacks-sqlite".into())
            .spawn(move || write_all(connection, &receiver, &path))
            .map_err(|error| StoreError::Unavailable(error.into()))?;
        Ok(Writer { sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) })
    }

    /// Runs work with this number of callbacks in a transaction, and returns after the commit. It is done
    /// also if the caller gives up meanwhile: a delivery that was answered with an error is not sent again.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        callbacks: usize,
        work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.order(callbacks, work, false).await
    }

    /// The same, unless the caller has given up before it begins: a claim would lease callbacks that no
    /// process handles.
    pub(super) async fn write_for_caller<T: Send + 'static>(
        &self,
        callbacks: usize,
        work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.order(callbacks, work, true).await
    }

    async fn order<T: Send + 'static>(
        &self,
        callbacks: usize,
        work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
        is_for_caller: bool,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let task = Box::new(Task { work, is_for_caller, result: None, reply });
        match &*self.sender.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(sender) => sender.send(Order::Write(task, callbacks)).map_err(|_| StoreError::Closed)?,
            None => return Err(StoreError::Closed),
        }
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Requests that the thread moves the WAL into the database and to empty it.
    pub(super) fn checkpoint(&self) {
        if let Some(sender) = &*self.sender.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = sender.send(Order::Checkpoint);
        }
    }

    /// Waits until the thread has written all that waits and has closed the file.
    pub(super) fn close(&self) {
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
    }
}

fn write_all(connection: Connection, receiver: &Receiver<Order>, path: &Path) {
    let mut fsync_failed = false;
    let mut since_checkpoint = 0;
    while let Ok(first) = receiver.recv() {
        let mut batch = Vec::new();
        let mut empty_wal = false;
        for order in std::iter::once(first).chain(receiver.try_iter().take(MAX_BATCH - 1)) {
            match order {
                Order::Write(work, _) if !work.is_wanted() => {}
                Order::Write(work, callbacks) => {
                    since_checkpoint += callbacks;
                    batch.push(work);
                }
                Order::Checkpoint => empty_wal = true,
            }
        }
        fsync_failed = write_batch(&connection, batch, path, fsync_failed);
        if !fsync_failed && (since_checkpoint >= CHECKPOINT_INTERVAL || empty_wal) {
            fsync_failed = checkpoint(&connection, empty_wal);
            since_checkpoint = 0;
        }
    }
}

/// Writes and answers. Returns whether an fsync has failed.
fn write_batch(connection: &Connection, mut batch: Vec<Box<dyn Work>>, path: &Path, mut fsync_failed: bool) -> bool {
    if !fsync_failed && batch.len() > 1 {
        match commit(connection, &mut batch) {
            Ok(()) => {
                for work in batch {
                    work.answer(Ok(()));
                }
                return false;
            }
            Err(error) => fsync_failed = is_failed_fsync(&error),
        }
    }
    // Piece by piece, so that a failing one does not fail the others.
    for mut work in batch {
        if fsync_failed {
            work.answer(Err(StoreError::Unavailable(FSYNC_FAILED.into())));
            continue;
        }
        let committed = commit(connection, std::slice::from_mut(&mut work));
        fsync_failed = committed.as_ref().is_err_and(is_failed_fsync);
        work.answer(committed.map_err(|error| store_error(path, error)));
    }
    fsync_failed
}

/// Callbacks between two checkpoints: some megabytes of WAL.
const CHECKPOINT_INTERVAL: usize = 500;

/// Moves the WAL into the database. Returns whether an fsync failed. A full disk or a reader only
/// delays it.
fn checkpoint(connection: &Connection, empty: bool) -> bool {
    let mode = if empty { "PRAGMA wal_checkpoint(TRUNCATE)" } else { "PRAGMA wal_checkpoint(PASSIVE)" };
    match connection.query_row(mode, [], |_| Ok(())) {
        Ok(()) => false,
        Err(error) => {
            tracing::warn!(%error, "cannot checkpoint the write-ahead log yet");
            is_failed_fsync(&error)
        }
    }
}

const FSYNC_FAILED: &str =
    "an fsync failed, and nothing written to this file can be relied on; restart on a sound disk";

/// Runs a batch in one transaction.
fn commit(connection: &Connection, batch: &mut [Box<dyn Work>]) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let written = batch.iter_mut().try_for_each(|work| work.run(connection));
    let committed = written.and_then(|()| connection.execute_batch("COMMIT"));
    if committed.is_err() && !connection.is_autocommit() {
        // It fails if SQLite has rolled back already.
        let _ = connection.execute_batch("ROLLBACK");
    }
    committed
}
