//! The one thread that writes. Whatever waits goes into one transaction, and so into one fsync.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use mpesa_callbacks_core::store::StoreError;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::errors::{is_failed_fsync, store_error};

/// How many pieces of work share a commit at most.
const BATCH: usize = 64;

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Writer {
    sender: Mutex<Option<Sender<Box<dyn Work>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A piece of work: runs inside the transaction, perhaps again in a later one, and is answered after the commit.
trait Work: Send {
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Task<F, T> {
    work: F,
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
        // Whoever asked may have gone; the work is done.
        let _ = reply.send(committed.and_then(|()| result.ok_or(StoreError::Closed)));
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

    /// Runs this in a transaction, and answers once that is committed.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let task = Box::new(Task { work, result: None, reply });
        match &*self.sender.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(sender) => sender.send(task).map_err(|_| StoreError::Closed)?,
            None => return Err(StoreError::Closed),
        }
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Lets the thread write what it was given, and waits for it to close the file.
    pub(super) fn close(&self) {
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A panic in the thread was printed when it happened.
            let _ = thread.join();
        }
    }
}

fn write_all(connection: Connection, receiver: &Receiver<Box<dyn Work>>, path: &Path) {
    let mut fsync_failed = false;
    while let Ok(first) = receiver.recv() {
        let mut batch = vec![first];
        batch.extend(receiver.try_iter().take(BATCH - 1));
        if !fsync_failed && batch.len() > 1 {
            match commit(&connection, &mut batch) {
                Ok(()) => {
                    for work in batch {
                        work.answer(Ok(()));
                    }
                    continue;
                }
                Err(error) => fsync_failed = is_failed_fsync(&error),
            }
        }
        // One piece of work must not fail the others: one by one, then.
        for mut work in batch {
            if fsync_failed {
                work.answer(Err(StoreError::Unavailable(FSYNC_FAILED.into())));
                continue;
            }
            let committed = commit(&connection, std::slice::from_mut(&mut work));
            fsync_failed = committed.as_ref().is_err_and(is_failed_fsync);
            work.answer(committed.map_err(|error| store_error(path, error)));
        }
    }
}

const FSYNC_FAILED: &str =
    "an fsync failed, and nothing written to this file can be relied on; restart on a sound disk";

/// Begin, write, commit, and only then answer.
fn commit(connection: &Connection, batch: &mut [Box<dyn Work>]) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let written = batch.iter_mut().try_for_each(|work| work.run(connection));
    let committed = written.and_then(|()| connection.execute_batch("COMMIT"));
    if committed.is_err() && !connection.is_autocommit() {
        // It fails when SQLite rolled back itself.
        let _ = connection.execute_batch("ROLLBACK");
    }
    committed
}
