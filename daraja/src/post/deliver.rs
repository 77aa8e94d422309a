//! Posts a callback, to this machine only: a simulator that posts to any URL that a request names
//! would be a tool against others.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::queue::Post;

/// The address and the path of a callback URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    /// Client in `X-Forwarded-For`.
    pub(crate) forwarded_for: Option<IpAddr>,
}

impl Target {
    /// Below `forward_to` if that is set; else at the address that was given for its host; else only if
    /// its host is this machine.
    pub(crate) fn of(
        url: &str,
        forward_to: Option<SocketAddr>,
        hosts: &HashMap<String, SocketAddr>,
    ) -> Result<Target, String> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| "not posted: not a URL".to_owned())?;
        let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let known = forward_to.or_else(|| hosts.get(authority).copied()).or_else(|| loopback(scheme, authority));
        match known {
            Some(address) => Ok(Target { address, path, forwarded_for: None }),
            None => Err("not posted: the host is not this machine; call `forward_to` or `allow_host`".to_owned()),
        }
    }
}

fn loopback(scheme: &str, authority: &str) -> Option<SocketAddr> {
    let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, 80),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = if host == "localhost" { [127, 0, 0, 1].into() } else { host.parse::<IpAddr>().ok()? };
    (scheme == "http" && address.is_loopback()).then(|| SocketAddr::new(address, port))
}

/// Posts a body, with the headers that Daraja sends, and returns status and body of the response, or why
/// there is none.
pub(crate) async fn post(to: &Target, sent: &Post, deadline: Duration) -> (Option<u16>, String) {
    match timeout(deadline, exchange(to, sent)).await {
        Ok(Ok((status, body))) => (Some(status), body),
        Ok(Err(reason)) => (None, reason),
        Err(_) => (None, format!("no response within {deadline:?}")),
    }
}

async fn exchange(to: &Target, sent: &Post) -> Result<(u16, String), String> {
    let stream = TcpStream::connect(to.address).await.map_err(|error| error.to_string())?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let mut request = hyper::Request::post(&to.path)
        .header("host", to.address.to_string())
        .header("content-type", "application/json;charset=UTF-8")
        .header("businessshortcode", &sent.short_code);
    if let Some(client) = to.forwarded_for {
        request = request.header("x-forwarded-for", client.to_string());
    }
    let request = request.body(Paced::new(&sent.body, sent.is_slow)).map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    drop(connection);
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// A body in one piece, or in eight pieces with half a second before each.
struct Paced {
    rest: Bytes,
    piece: usize,
    pause: Option<Pin<Box<Sleep>>>,
}

const PIECES: usize = 8;
const PAUSE: Duration = Duration::from_millis(500);

impl Paced {
    fn new(body: &str, is_slow: bool) -> Paced {
        let rest = Bytes::copy_from_slice(body.as_bytes());
        let piece = if is_slow { rest.len().div_ceil(PIECES) } else { rest.len() };
        Paced { rest, piece: piece.max(1), pause: is_slow.then(|| Box::pin(sleep(PAUSE))) }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = Some(Box::pin(sleep(PAUSE)));
        }
        let piece = self.piece.min(self.rest.len());
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_posted_to_unless_told_otherwise() {
        let none = HashMap::new();
        let target = |url: &str| Target::of(url, None, &none);
        assert!(target("https://shop.example.com/pay/x/stk").is_err());
        assert!(target("http://192.0.2.1/stk").is_err());
        let Target { address, path, .. } = target("http://127.0.0.1:3000/pay/x/stk?a=b").unwrap();
        assert_eq!((address.port(), path.as_str()), (3000, "/pay/x/stk?a=b"));
        assert_eq!(target("http://localhost:3000").unwrap().path, "/");
        assert_eq!(target("http://[::1]:3000/").unwrap().address.port(), 3000);
        let here: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        let forwarded = Target::of("https://shop.example.com/pay/x/stk", Some(here), &none).unwrap();
        assert_eq!((forwarded.address, forwarded.path.as_str()), (here, "/pay/x/stk"));
        let container = HashMap::from([("web:3000".to_owned(), here)]);
        assert_eq!(Target::of("http://web:3000/stk", None, &container).unwrap().address, here);
    }
}
