//! The first head of a connection, read before anything is allocated for it.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// hyper refuses longer heads.
const MAX_HEAD: usize = 16 * 1024;

/// Reads until a head is complete, and returns all bytes. Ten thousand slow clients cost a small buffer
/// each; hyper would allocate more than 20 KiB for each.
pub(super) async fn gather(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(512);
    let mut searched = 0;
    while !has_end(&head[searched..]) && head.len() < MAX_HEAD {
        // The end may be split between two reads.
        searched = head.len().saturating_sub(3);
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

/// Finds the empty line. Lines may end in a bare line feed (RFC 9112, 2.2).
fn has_end(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|end| end == b"\n\n") || bytes.windows(3).any(|end| end == b"\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line() {
        for whole in ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\n\n", "a\r\n\r\nbody"] {
            assert!(has_end(whole.as_bytes()));
        }
        for part in ["", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\n\r", "a\n"] {
            assert!(!has_end(part.as_bytes()));
        }
    }
}
