//! Hints from process to process that there is something to claim: `NOTIFY`, never inside a transaction that records, where it
//! would make all commits wait for one another. Looking once a second is the truth; without a hint it only takes longer.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// At most one hint is sent in this time, however much there is.
const PAUSE: Duration = Duration::from_millis(25);

/// How long to wait before the server is asked again for a connection to listen on.
const AGAIN: Duration = Duration::from_secs(5);

/// Sends hints and hears those of others, on connections of their own.
#[derive(Debug)]
pub(super) struct Hints {
    to_send: Arc<Notify>,
    heard: Arc<Notify>,
    tasks: [JoinHandle<()>; 2],
}

impl Hints {
    /// Starts to listen at this server, which must not be a pooler that gives a connection away with each transaction.
    /// Each schema has a channel of its own.
    pub(super) fn start(options: PgConnectOptions, channel: &str) -> Hints {
        let pool = PgPoolOptions::new().max_connections(2).connect_lazy_with(options);
        let (to_send, heard) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let channel: Arc<str> = channel.into();
        let tasks = [
            tokio::spawn(send(pool.clone(), channel.clone(), to_send.clone())),
            tokio::spawn(listen(pool, channel, heard.clone())),
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

async fn send(pool: PgPool, channel: Arc<str>, to_send: Arc<Notify>) {
    loop {
        to_send.notified().await;
        if let Err(error) = sqlx::query("SELECT pg_notify($1, '')").bind(&*channel).execute(&pool).await {
            tracing::debug!(%error, "cannot tell other processes that there is something to claim; they look anyway");
        }
        sleep(PAUSE).await;
    }
}

async fn listen(pool: PgPool, channel: Arc<str>, heard: Arc<Notify>) {
    loop {
        let listening = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(&channel).await?;
            // Whatever was told before is lost, and whoever was told nothing looks.
            heard.notify_one();
            loop {
                listener.recv().await?;
                heard.notify_one();
            }
        };
        let ended: sqlx::Result<()> = listening.await;
        if let Err(error) = ended {
            tracing::debug!(%error, "cannot hear other processes' hints; looking once a second goes on");
        }
        sleep(AGAIN).await;
    }
}
