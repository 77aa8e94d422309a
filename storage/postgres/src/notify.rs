//! Hints from process to process that there is something to claim: `NOTIFY`, never inside a
//! transaction that records, where it would make all commits wait for one another. Polling once a
//! second is the truth; without a hint it only takes longer.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::session::Session;

/// At most one hint is sent in this time, however much there is.
const NOTIFY_INTERVAL: Duration = Duration::from_millis(25);

/// Delay before the next attempt to get a connection to listen on.
const RECONNECT_DELAY: Duration = Duration::from_secs(5);

/// After so long without a hint the connection is tested: a server that lost its power sends nothing.
const TEST_AFTER_SILENCE: Duration = Duration::from_mins(1);

/// Limit of one statement.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends notifications and receives those of others, on connections of their own.
#[derive(Debug)]
pub(super) struct Hints {
    to_send: Arc<Notify>,
    heard: Arc<Notify>,
    tasks: [JoinHandle<()>; 2],
}

impl Hints {
    /// Starts to listen at this server, which must not be a pooler that gives a connection away with
    /// each transaction. Each schema has a channel of its own.
    pub(super) fn start(options: PgConnectOptions, channel: &str) -> Hints {
        let (to_send, heard) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let channel: Arc<str> = channel.into();
        let tasks = [
            tokio::spawn(send(options.clone(), channel.clone(), to_send.clone())),
            tokio::spawn(listen(options, channel, heard.clone())),
        ];
        Hints { to_send, heard, tasks }
    }

    pub(super) fn send(&self) {
        self.to_send.notify_one();
    }

    pub(super) async fn heard(&self) {
        self.heard.notified().await;
    }

    pub(super) fn stop(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Drop for Hints {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn send(options: PgConnectOptions, channel: Arc<str>, to_send: Arc<Notify>) {
    let pool = one_connection(&options);
    loop {
        to_send.notified().await;
        let notifying = async {
            let mut session = Session::acquire(&pool).await?;
            sqlx::query("SELECT pg_notify($1, '')").bind(&*channel).execute(&mut *session).await
        };
        if let Err(error) = in_time(notifying).await {
            tracing::debug!(%error, "cannot notify other processes; they poll anyway");
        }
        sleep(NOTIFY_INTERVAL).await;
    }
}

async fn listen(options: PgConnectOptions, channel: Arc<str>, heard: Arc<Notify>) {
    loop {
        // A pool for each: a listener that was silent may never give its connection back.
        let pool = one_connection(&options);
        let listening = async {
            let mut listener = in_time(async {
                let mut listener = PgListener::connect_with(&pool).await?;
                listener.listen(&channel).await?;
                Ok(listener)
            })
            .await?;
            // Notifications from before are lost, so poll once.
            heard.notify_one();
            loop {
                match timeout(TEST_AFTER_SILENCE, listener.recv()).await {
                    Ok(notification) => {
                        notification?;
                        heard.notify_one();
                    }
                    Err(_) => {
                        in_time(listener.execute("SELECT 1")).await?;
                    }
                }
            }
        };
        let ended: sqlx::Result<()> = listening.await;
        if let Err(error) = ended {
            tracing::debug!(%error, "cannot receive notifications of other processes; polling every second continues");
        }
        sleep(RECONNECT_DELAY).await;
    }
}

fn one_connection(options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new().max_connections(1).acquire_timeout(STATEMENT_TIMEOUT).connect_lazy_with(options.clone())
}

async fn in_time<T>(statement: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    timeout(STATEMENT_TIMEOUT, statement).await.unwrap_or_else(|_| Err(sqlx::Error::Io(ErrorKind::TimedOut.into())))
}
