//! The simulator, as tests and programs use it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::api;
use crate::post::{Act, Callback, Clock, Exchange, Follower, Post};
use crate::rule_builder::RuleBuilder;
#[cfg(feature = "toml")]
use crate::script::RuleError;
use crate::script::{Matcher, Rule};
use crate::server::router;
use crate::state::Behaviour;
use crate::world::{VALIDATION_DEADLINE, World};

/// A local Daraja on a free port of `127.0.0.1`. Dropping it stops it.
///
/// See the [crate's documentation](crate) for an example.
pub struct Daraja {
    world: Arc<World>,
    address: SocketAddr,
    _server: AbortOnDropHandle<()>,
    _timer: Option<AbortOnDropHandle<()>>,
}

/// Builds a [`Daraja`].
#[derive(Clone, Debug)]
#[must_use]
pub struct DarajaBuilder {
    behaviour: Behaviour,
    listen: SocketAddr,
    is_real_time: bool,
    beginning: Option<SystemTime>,
    rules: Vec<Rule>,
}

impl DarajaBuilder {
    /// Sets the seed of ids and receipts. Default: 0.
    pub fn seed(mut self, seed: u64) -> DarajaBuilder {
        self.behaviour.seed = seed;
        self
    }

    /// Sets the port. Default: a free one.
    pub fn port(mut self, port: u16) -> DarajaBuilder {
        self.listen.set_port(port);
        self
    }

    /// Sets the address to listen on. Default: a free port of `127.0.0.1`. Everybody who reaches another
    /// address can send requests, but the page and everything below `/_/` answer only to this machine's
    /// names.
    pub fn listen(mut self, address: SocketAddr) -> DarajaBuilder {
        self.listen = address;
        self
    }

    /// Accepts only this consumer key and secret. Default: any.
    pub fn credentials(mut self, key: &str, secret: &str) -> DarajaBuilder {
        self.behaviour.credentials = Some(format!("{key}:{secret}"));
        self
    }

    /// Posts callbacks as a proxy would that got them from this address: with `X-Forwarded-For`. So an
    /// application can keep its list of Safaricom's addresses. Default: no such header.
    pub fn forwarded_for(mut self, client: IpAddr) -> DarajaBuilder {
        self.behaviour.forwarded_for = Some(client);
        self
    }

    /// Behaves as production: callback URLs must be public and `https`, C2B URLs are registered once,
    /// and there is no simulation of payments. Default: as the sandbox.
    pub fn production(mut self) -> DarajaBuilder {
        self.behaviour.is_production = true;
        self
    }

    /// Lets time pass with the machine's clock, for programs that people use. Default: time stands
    /// still until your test moves it.
    pub fn real_time(mut self) -> DarajaBuilder {
        self.is_real_time = true;
        self
    }

    /// Sets where virtual time begins, for an application that compares Daraja's times with its own
    /// clock: `starts_at(SystemTime::now())`. Default: 1 January 2026, 08:00 in Nairobi, so that the same
    /// seed gives the same ids, receipts and times.
    pub fn starts_at(mut self, beginning: SystemTime) -> DarajaBuilder {
        self.beginning = Some(beginning);
        self
    }

    /// Lets phones ring until a person answers, on the page or with [`Daraja::answer`]; after 60 s the
    /// push ends with 1037. Rules and the numbers `2547000xxxxx` still decide at once. Default: a push
    /// is paid after 2 s.
    pub fn interactive(mut self) -> DarajaBuilder {
        self.behaviour.is_interactive = true;
        self
    }

    /// Reports every push to a short code with registered C2B URLs as a C2B confirmation, too, as M-Pesa
    /// does (log of 2021; samerior/mobile-money, C2B guide). Default: only a push with
    /// [`Fault::Twin`](crate::Fault::Twin).
    pub fn confirm_pushes(mut self) -> DarajaBuilder {
        self.behaviour.confirms_pushes = true;
        self
    }

    /// Sets how long an application may take to answer a validation, in the machine's time. Default:
    /// 8 s, as M-Pesa's.
    pub fn validation_deadline(mut self, deadline: Duration) -> DarajaBuilder {
        self.behaviour.validation_deadline = deadline;
        self
    }

    /// Adds the rules of a TOML file.
    ///
    /// ```
    /// # use mpesa_callbacks_daraja::{Daraja, RuleError};
    /// let rules = r#"
    ///     [[rule]]
    ///     match = { product = "push", party = "254712345678" }
    ///     ends = "1032"
    ///     faults = ["duplicate"]
    /// "#;
    /// let builder = Daraja::builder().rules(rules)?;
    /// # Ok::<_, RuleError>(())
    /// ```
    ///
    /// # Errors
    /// [`RuleError`]: the text is not TOML, or a rule makes no sense.
    #[cfg(feature = "toml")]
    #[cfg_attr(docsrs, doc(cfg(feature = "toml")))]
    pub fn rules(mut self, toml: &str) -> Result<DarajaBuilder, RuleError> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            #[serde(default)]
            rule: Vec<Rule>,
        }
        let file: File = toml::from_str(toml).map_err(|error| RuleError::Syntax(error.to_string()))?;
        for rule in file.rule {
            self.rules.push(rule.checked()?);
        }
        Ok(self)
    }

    /// Starts the simulator.
    ///
    /// # Errors
    /// When the port cannot be bound.
    pub async fn start(self) -> io::Result<Daraja> {
        let clock = if self.is_real_time { Clock::running() } else { Clock::standing(self.beginning) };
        let world = Arc::new(World::new(clock, self.behaviour));
        for rule in self.rules {
            world.state().rules.add(rule);
        }
        let listener = TcpListener::bind(self.listen).await?;
        let address = listener.local_addr()?;
        let app = router(world.clone());
        let server = tokio::spawn(async move {
            // It ends only when it is aborted.
            let _ = axum::serve(listener, app).await;
        });
        let timer = self.is_real_time.then(|| AbortOnDropHandle::new(tokio::spawn(pass_time(world.clone()))));
        Ok(Daraja { world, address, _server: AbortOnDropHandle::new(server), _timer: timer })
    }
}

/// Lets events happen when they are due by the machine's clock.
async fn pass_time(world: Arc<World>) {
    loop {
        let (now, due) = {
            let state = world.state();
            (state.now(), state.queue.due())
        };
        match due {
            Some(due) if due <= now => {
                world.step(now).await;
            }
            due => {
                let pause = due.map_or(Duration::from_secs(60), |due| due.saturating_sub(now));
                tokio::select! {
                    () = sleep(pause) => {}
                    () = world.added.notified() => {}
                }
            }
        }
    }
}

impl Daraja {
    /// Starts a simulator for a test: a free port, seed 0, and time that stands still.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start() -> io::Result<Daraja> {
        Daraja::builder().start().await
    }

    /// Returns a builder.
    pub fn builder() -> DarajaBuilder {
        let behaviour = Behaviour {
            seed: 0,
            is_production: false,
            is_interactive: false,
            confirms_pushes: false,
            validation_deadline: VALIDATION_DEADLINE,
            credentials: None,
            forwarded_for: None,
        };
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        DarajaBuilder { behaviour, listen, is_real_time: false, beginning: None, rules: Vec::new() }
    }

    /// Returns the base URL for your client, in place of `https://sandbox.safaricom.co.ke`.
    pub fn base_url(&self) -> String {
        // Whoever listens everywhere is here, too.
        match self.address.ip().is_unspecified() {
            true => format!("http://127.0.0.1:{}", self.address.port()),
            false => format!("http://{}", self.address),
        }
    }

    /// Posts callbacks to this address, whatever the host of their URL is. So your application keeps
    /// its public `https` URLs.
    pub fn forward_to(&self, address: SocketAddr) {
        self.world.state().forward_to = Some(address);
    }

    /// Posts callbacks for this host (and port, as the URL has it) to an address: `web:3000` of a
    /// container, for example. Without this and [`forward_to`](Daraja::forward_to) only loopback
    /// addresses are posted to.
    pub fn allow_host(&self, host: &str, address: SocketAddr) {
        self.world.state().hosts.insert(host.to_owned(), address);
    }

    /// Adds a rule for the requests that match; the first match wins.
    pub fn on(&self, matcher: Matcher) -> RuleBuilder<'_> {
        let number = self.world.state().rules.add(Rule::new(matcher));
        RuleBuilder::new(&self.world, number)
    }

    /// A customer pays a short code from the phone's menu, in whole shillings. No request of your
    /// application causes it: the registered URLs get a validation and a confirmation.
    pub fn customer_pays(&self, phone: &str, short_code: &str, amount: i64, account: &str) {
        self.world.act("customer pays", |state| api::pay(state, phone, short_code, amount, account, false));
    }

    /// The customer answers a prompt: `"0"` pays, `"1032"` cancels. Returns `false` if there is no such
    /// prompt, or it is answered. For [interactive](DarajaBuilder::interactive) simulators.
    pub fn answer(&self, checkout_request_id: &str, code: &str) -> bool {
        let answered = api::answer(&mut self.world.state(), checkout_request_id, code);
        self.world.added.notify_one();
        answered
    }

    /// Posts the callback of a request again, with the same bytes; `false` if it has none.
    pub fn resend(&self, exchange: usize) -> bool {
        resend(&self.world, exchange)
    }

    /// Sets the passkey of a short code. Pushes with another one get `Wrong credentials`. Default: that
    /// of 174379 is known, and any other is accepted.
    pub fn passkey(&self, short_code: &str, passkey: &str) {
        self.world.state().bank.passkeys.insert(short_code.to_owned(), passkey.to_owned());
    }

    /// Sets the money of a short code, in whole shillings, before its transactions. Default: 1,000,000.
    pub fn funds(&self, short_code: &str, shillings: i64) {
        self.world.state().bank.funds.insert(short_code.to_owned(), shillings);
    }

    /// Returns the money of a short code now, in whole shillings.
    pub fn balance(&self, short_code: &str) -> i64 {
        let state = self.world.state();
        state.bank.funds(short_code, state.now())
    }

    /// Moves time until nothing is left to happen: everything that Safaricom would ever send was sent,
    /// and answered. Whatever your application does in the background afterwards is its own:
    /// `Inbox::idle` (feature `test-util`) waits for that.
    pub async fn settled(&self) {
        while self.world.step(Duration::MAX).await.is_some() {}
    }

    /// Moves time to the next callback, posts it, and returns it; `None` if there is none.
    pub async fn step(&self) -> Option<Callback> {
        loop {
            if let Some(callback) = self.world.step(Duration::MAX).await? {
                return Some(callback);
            }
        }
    }

    /// Moves time by this duration, and lets everything happen that is due by then.
    pub async fn advance(&self, duration: Duration) {
        let until = self.world.state().now() + duration;
        while self.world.step(until).await.is_some() {}
        self.world.state().clock.move_to(until);
    }

    /// Follows what happens from now on, as it happens.
    pub fn follow(&self) -> Follower {
        self.world.followers.follow()
    }

    /// Returns the requests so far, with their answers and callbacks: the newest 5,000. Credentials
    /// are struck out.
    pub fn journal(&self) -> Vec<Exchange> {
        self.world.state().journal.all()
    }

    /// Returns the requests to a path: `/mpesa/stkpush/v1/processrequest`.
    pub fn requests(&self, path: &str) -> Vec<Exchange> {
        let mut requests = self.journal();
        requests.retain(|exchange| exchange.path == path);
        requests
    }

    /// Returns the request with this number, from 0.
    pub fn exchange(&self, number: usize) -> Option<Exchange> {
        self.world.state().journal.get(number).cloned()
    }

    /// Returns all callbacks so far, in the order of their requests.
    pub fn callbacks(&self) -> Vec<Callback> {
        self.journal().iter().flat_map(|exchange| exchange.callbacks().to_vec()).collect()
    }
}

/// Posts the first callback of an exchange again.
pub(crate) fn resend(world: &World, exchange: usize) -> bool {
    let first = world.state().journal.get(exchange).and_then(|exchange| exchange.callbacks().first().cloned());
    first.is_some_and(|first| send_changed(world, exchange, 0, first.body))
}

/// Posts a callback of an exchange again, with this body; `false` if there is no such callback.
pub(crate) fn send_changed(world: &World, exchange: usize, callback: usize, body: String) -> bool {
    let mut state = world.state();
    let known = state.journal.get(exchange).and_then(|exchange| exchange.callbacks().get(callback).cloned());
    let Some(Callback { kind, url, .. }) = known else { return false };
    state.exchange = exchange;
    let post = Post { kind, url, body, short_code: String::new(), times: 1, is_slow: false };
    state.later(Duration::ZERO, Act::Post(post));
    drop(state);
    world.added.notify_one();
    true
}

impl fmt::Debug for Daraja {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daraja").field("address", &self.address).finish_non_exhaustive()
    }
}
