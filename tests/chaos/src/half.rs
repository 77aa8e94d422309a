//! Requests that are in flight when a replica gets `SIGTERM`.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use crate::deliveries::Delivery;
use crate::journal::{Heard, Journal};
use crate::replica::SECRET;

/// A request of which the head and half of the body were sent.
#[derive(Debug)]
pub struct Half {
    delivery: Delivery,
    connection: BufReader<TcpStream>,
    rest: String,
    began: Instant,
}

/// Timeout for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

impl Half {
    /// Sends the head, waits for `100 Continue`, which shows that the replica reads the request,
    /// and sends half of the body.
    ///
    /// # Errors
    /// When the replica does not read the body.
    pub fn begin(port: u16, delivery: Delivery) -> anyhow::Result<Half> {
        let began = Instant::now();
        let mut connection = BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?);
        connection.get_ref().set_read_timeout(Some(PATIENCE))?;
        let body = delivery.body();
        let head = format!(
            "POST /pay/{SECRET}/stk HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection.get_mut().write_all(head.as_bytes())?;
        let answer = Half::head(&mut connection)?;
        anyhow::ensure!(answer.starts_with("HTTP/1.1 100"), "a replica does not ask for the body: {answer:?}");
        let (now, rest) = body.split_at(body.len() / 2);
        connection.get_mut().write_all(now.as_bytes())?;
        Ok(Half { delivery, connection, rest: rest.to_owned(), began })
    }

    /// Sends the rest, and records the answer in the journal.
    pub fn end(mut self, journal: &Journal) {
        let sent = self.connection.get_mut().write_all(self.rest.as_bytes());
        let answer = sent.and_then(|()| Half::head(&mut self.connection)).unwrap_or_default();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let heard = status.map_or(Heard::Nothing, Heard::Status);
        journal.note(self.delivery, heard, self.began.elapsed());
    }

    /// Reads the head of the next answer, up to its empty line. Empty if the connection is closed.
    fn head(connection: &mut BufReader<TcpStream>) -> std::io::Result<String> {
        let mut head = String::new();
        while connection.read_line(&mut head)? > 2 {}
        Ok(head)
    }
}
