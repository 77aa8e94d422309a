//! Connections on which answers get lost.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Stands in front of a PostgreSQL server. It can cut a connection off between a commit and its
/// answer: the server has committed, and nobody hears of it. It can also go silent, like a machine
/// that lost its power: connections stay open, and nothing comes back on them.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    cuts: Arc<AtomicU32>,
    is_off: watch::Sender<bool>,
    silences: watch::Sender<u32>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// In front of the server at this port of 127.0.0.1.
    ///
    /// # Panics
    /// When there is no port to be had.
    pub async fn before(server: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let cuts = Arc::new(AtomicU32::new(0));
        let to_cut = cuts.clone();
        let (is_off, off) = watch::channel(false);
        let (silences, silenced) = watch::channel(0);
        let accepting = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (cuts, mut off) = (to_cut.clone(), off.clone());
                let mut silenced = silenced.clone();
                silenced.mark_unchanged();
                tokio::spawn(async move {
                    let passing = async {
                        tokio::select! {
                            _ = pass(&mut client, (Ipv4Addr::LOCALHOST, server).into(), &cuts) => return,
                            _ = silenced.changed() => {}
                        }
                        // Bytes are accepted and not passed on, as by a machine with a pulled cable.
                        let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
                    };
                    // A closed connection is intended.
                    tokio::select! {
                        () = passing => {}
                        _ = off.wait_for(|is_off| *is_off) => {}
                    }
                });
            }
        });
        Proxy { port, cuts, is_off, silences, accepting }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// So many commits from now on get no answer.
    pub fn cut_commits(&self, count: u32) {
        self.cuts.store(count, Ordering::SeqCst);
    }

    /// Cuts all connections, and accepts no new one until it is healed.
    pub fn cut_off(&self, is_off: bool) {
        self.is_off.send_replace(is_off);
    }

    /// Lets nothing through any more on the connections that are open, and keeps them open. New ones
    /// work, as when another machine took over the address.
    pub fn silence(&self) {
        self.silences.send_modify(|count| *count += 1);
    }

    /// How many of them are still to come.
    pub fn left(&self) -> u32 {
        self.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Passes bytes on from either side, until one closes or an answer is to be lost.
async fn pass(client: &mut TcpStream, server: SocketAddr, cuts: &AtomicU32) -> std::io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    let (mut from_client, mut from_server) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            count = client.read(&mut from_client) => {
                let sent = &from_client[..count?];
                if sent.is_empty() {
                    return Ok(());
                }
                let is_commit = sent.windows(7).any(|window| window == b"COMMIT\0");
                server.write_all(sent).await?;
                let takes = |left: u32| left.checked_sub(1);
                if is_commit && cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, takes).is_ok() {
                    // It is done once the server answers.
                    return server.read(&mut from_server).await.map(drop);
                }
            }
            count = server.read(&mut from_server) => {
                let answered = &from_server[..count?];
                if answered.is_empty() {
                    return Ok(());
                }
                client.write_all(answered).await?;
            }
        }
    }
}
