//! Mounts `mpesa-callbacks` into a Rocket application: a request in, an acknowledgement out.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use std::fmt::Display;
use std::io::Cursor;
use std::time::Duration;

use mpesa_callbacks_core::{Acknowledgement, Inbox, Request as Head};
use rocket::data::ByteUnit;
use rocket::fairing::{self, AdHoc, Fairing, Info};
use rocket::http::{Method, Status};
use rocket::route::{Handler, Outcome};
use rocket::{Data, Orbit, Request, Response, Rocket, Route, async_trait};
use tokio_util::io::ReaderStream;

/// Returns routes for all URLs of the inbox, `/<secret>/<path of the kind>`, to mount anywhere.
///
/// ```
/// # fn example(inbox: mpesa_callbacks_core::Inbox) {
/// let rocket = rocket::build()
///     .mount("/pay", mpesa_callbacks_rocket::routes(&inbox))
///     .attach(mpesa_callbacks_rocket::InboxFairing::new(&inbox));
/// # }
/// ```
///
/// Rocket 0.5 waits without a limit for a request's head and for the first 14 bytes of its body: put a
/// proxy with timeouts in front. It also logs the path of each request, which contains the secret,
/// unless `log_level` is `critical` or `off`. The example `rocket-shop` has an access log without it.
pub fn routes(inbox: &Inbox) -> Vec<Route> {
    use Method::{Connect, Delete, Get, Head, Options, Patch, Post, Put, Trace};
    // One route per method: the secret is a parameter, so the router compares no part of it.
    let methods = [Get, Put, Post, Delete, Options, Head, Trace, Connect, Patch];
    methods.into_iter().map(|method| Route::new(method, "/<tail..>", Mounted(inbox.clone()))).collect()
}

/// Shuts an inbox down with a Rocket server: [`new`](InboxFairing::new) for an inbox that is started
/// already, [`starting`](InboxFairing::starting) for one that starts with the server.
///
/// When the server shuts down, the fairing waits for Rocket's grace period and then shuts the inbox
/// down. Handlers have 20 s to finish.
#[derive(Debug)]
pub struct InboxFairing(Inbox);

impl InboxFairing {
    /// Shuts this inbox down with the server.
    pub fn new(inbox: &Inbox) -> InboxFairing {
        InboxFairing(inbox.clone())
    }

    /// Starts an inbox when the server ignites, mounts its URLs at `mount`, and shuts it down with the
    /// server.
    ///
    /// The inbox is managed state: your own routes take it as `&State<Inbox>`. If it cannot start, the
    /// server does not launch, and the log has the error.
    ///
    /// ```
    /// # fn example<H: mpesa_callbacks_core::MpesaCallbacks + 'static>(shop: H) {
    /// use mpesa_callbacks_core::Inbox;
    /// use mpesa_callbacks_core::store::MemoryStore;
    /// use mpesa_callbacks_rocket::InboxFairing;
    ///
    /// let rocket = rocket::build().attach(InboxFairing::starting("/pay", async {
    ///     Inbox::builder(shop).store(MemoryStore::new()).secret("…").start().await
    /// }));
    /// # }
    /// ```
    pub fn starting<E: Display>(
        mount: &str,
        starting: impl Future<Output = Result<Inbox, E>> + Send + 'static,
    ) -> impl Fairing {
        let mount = mount.to_owned();
        AdHoc::try_on_ignite("M-Pesa callbacks", move |rocket| async move {
            match starting.await {
                Ok(inbox) => Ok(rocket.mount(mount, routes(&inbox)).attach(InboxFairing::new(&inbox)).manage(inbox)),
                Err(error) => {
                    rocket::error!("cannot start the inbox: {error}");
                    Err(rocket)
                }
            }
        })
    }
}

/// Timeout for running handlers at the shutdown.
const GRACE: Duration = Duration::from_secs(20);

#[derive(Clone)]
struct Mounted(Inbox);

#[async_trait]
impl Fairing for InboxFairing {
    fn info(&self) -> Info {
        Info { name: "M-Pesa callbacks", kind: fairing::Kind::Shutdown }
    }

    async fn on_shutdown(&self, rocket: &Rocket<Orbit>) {
        // Rocket 0.5 calls this at once and serves requests for its grace period. A request whose body
        // has not begun is not counted by the inbox yet.
        rocket::tokio::time::sleep(Duration::from_secs(rocket.config().shutdown.grace.into())).await;
        if let Err(error) = self.0.shutdown(GRACE).await {
            rocket::error!("cannot close the inbox: {error}");
        }
    }
}

#[async_trait]
impl Handler for Mounted {
    async fn handle<'r>(&self, request: &'r Request<'_>, data: Data<'r>) -> Outcome<'r> {
        // Not `client_ip`, which reads a header that any client can send.
        let peer = request.remote().map(|peer| peer.ip());
        let headers = request.headers();
        let values = |name: &str| headers.get(name).map(str::as_bytes).collect();
        let head = Head::new(request.method().as_str(), tail(request), &values).peer(peer);
        // The inbox limits the bytes itself.
        let body = ReaderStream::new(data.open(ByteUnit::max_value()));
        Outcome::Success(respond(self.0.receive(head, body).await))
    }
}

/// Returns the raw path below the mount.
fn tail<'r>(request: &'r Request<'_>) -> &'r str {
    let path = request.uri().path().as_str();
    let base = request.route().map_or("", |route| route.uri.base());
    path.strip_prefix(base.trim_end_matches('/')).unwrap_or(path)
}

fn respond<'r>(acknowledgement: Acknowledgement) -> Response<'r> {
    let mut response = Response::build();
    response.status(Status::new(acknowledgement.status()));
    for (name, value) in acknowledgement.headers() {
        response.raw_header(name, value);
    }
    let body = acknowledgement.into_body().into_owned();
    response.sized_body(body.len(), Cursor::new(body)).finalize()
}
