//! The task of one stream: reads requests, watches views, feeds the state machine, hands over responses.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tonic::Status;
use tracing::{debug, info, warn};

use super::body::{Epitaph, Outgoing};
use super::connection::Leave;
use super::requests::Requests;
use super::wire::Frames;
use super::{Shared, questions};
use crate::debug::is_debug;
use crate::protocol::{Outcome, Request, Response, StreamState, Variant};
use crate::provider::{NodeInfo, Peer, ProxySession, ResourceView, StreamReport};
use crate::status::StreamEnd;
use reef_xds::ResourceType;

/// Responses that may wait between a stream's task and its body. Two keep the transport busy while the next one is
/// computed; what is not computed yet merges with what comes.
pub(super) const RESPONSES_WAITING: usize = 2;

/// Names compared on the stream's own task; about a microsecond each. More of them would hold up the other streams of
/// the thread for longer than a millisecond.
const NAMES_AT_ONCE: usize = 1000;

/// What the transport established before the first request.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) variant: Variant,
    pub(super) only: Option<ResourceType>,
    pub(super) peer: Peer,
    /// Says when the connection has to go; `None` where there is none.
    pub(super) leave: Option<Arc<Leave>>,
}

/// The way out of a stream's task.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) responses: mpsc::Sender<Box<Outgoing>>,
    pub(super) epitaph: Epitaph,
}

/// Runs a stream to its end and says why it ended.
pub(super) async fn run<M: Message + Default + 'static>(
    shared: Arc<Shared>,
    opening: Opening,
    mut requests: Requests<M>,
    read: fn(M) -> Request,
    outlet: Outlet,
) {
    let _panics = super::PanicCount(shared.metrics.clone());
    let end = drive(&shared, opening, &mut requests, read, &outlet.responses).await;
    let status = match &end {
        Ok(()) => Status::ok(""),
        Err(Ended::Client(status)) => {
            debug!(code = ?status.code(), "stream broken by the client");
            status.clone()
        }
        Err(Ended::Server(end)) => {
            shared.metrics.stream_ended(end);
            info!(reason = %end, "stream ended");
            crate::status::status(end)
        }
    };
    // Set once, here.
    outlet.epitaph.get_or_init(|| status);
}

/// Who ended a stream.
pub(super) enum Ended {
    Client(Status),
    Server(StreamEnd),
}

impl From<StreamEnd> for Ended {
    fn from(end: StreamEnd) -> Self {
        Self::Server(end)
    }
}

/// What the first request of a stream opens.
enum Opened<'a> {
    /// The session of a proxy; boxed, because the other is small.
    Session(Box<Stream<'a>>),
    /// Questions for debug data; the first of them.
    Questions(Arc<NodeInfo>, Box<Request>),
}

/// Waits for the first request and opens what it asks for; `None` when the client ended the stream before.
async fn open<'a, M: Message + Default + 'static>(
    shared: &'a Arc<Shared>,
    opening: &Opening,
    requests: &mut Requests<M>,
    read: fn(M) -> Request,
) -> Result<Option<Opened<'a>>, Ended> {
    // Before a word is read: what a stranger says takes memory.
    let admitted = shared.provider.admit(&opening.peer).await;
    admitted.map_err(StreamEnd::Refused)?;
    let first = requests.message().await.map_err(Ended::Client)?;
    let Some(first) = first else { return Ok(None) };
    shared.metrics.received(first.encoded_len());
    let mut first = read(first);
    let node = match first.node.take() {
        Some(node) if !node.id.is_empty() => Arc::new(node),
        _ => return Err(StreamEnd::MissingNode.into()),
    };
    if is_debug(&first.type_url) {
        return Ok(Some(Opened::Questions(node, Box::new(first))));
    }
    let session = shared.provider.open(&node, &opening.peer).await;
    let session = session.map_err(StreamEnd::Refused)?;
    let mut stream = Stream::new(shared, opening, Arc::from(node.id.as_str()), session);
    info!(node = %node.id, peer = ?opening.peer.address, variant = ?opening.variant, "stream opened");
    stream.take(&first)?;
    Ok(Some(Opened::Session(Box::new(stream))))
}

async fn drive<M: Message + Default + 'static>(
    shared: &Arc<Shared>,
    opening: Opening,
    requests: &mut Requests<M>,
    read: fn(M) -> Request,
    responses: &mpsc::Sender<Box<Outgoing>>,
) -> Result<(), Ended> {
    let opened = tokio::select! {
        // Boxed: what opening takes is not held for the life of the stream.
        opened = Box::pin(open(shared, &opening, requests, read)) => opened?,
        why = over(shared, opening.leave.as_deref()) => return Err(why.into()),
    };
    let mut stream = match opened {
        Some(Opened::Session(stream)) => stream,
        Some(Opened::Questions(node, first)) => {
            let answers =
                questions::drive(shared, &opening, &node, *first, requests, read, responses);
            return Box::pin(answers).await;
        }
        None => return Ok(()),
    };
    // The token it came with is looked at no more: it would be a kilobyte of each proxy, and a secret kept for nothing.
    drop(opening.peer);
    let leave = opening.leave;
    // Whoever asks from here on is answered; before, the session was not known to anybody.
    let signal = signalled(shared, leave.as_deref(), 0);
    tokio::pin!(signal);
    // When the queue of responses was found full, and so since when nothing is read.
    let mut full_since = None;
    loop {
        if responses.capacity() > 0 {
            full_since = None;
        } else if full_since.is_none() {
            full_since = Some(Instant::now());
        }
        let valid_until = stream.session.valid_until();
        let stuck_at = full_since.map(|since| since + shared.stuck_after);
        let deadline = stream
            .state
            .next_deadline(shared.now())
            .map(|at| shared.start + at);
        tokio::select! {
            biased;
            heard = &mut signal => match heard {
                Signal::Over(why) => return Err(why.into()),
                Signal::Asked(times) => {
                    stream.tell_names();
                    signal.set(signalled(shared, leave.as_deref(), times));
                }
            },
            message = requests.message() => match message.map_err(Ended::Client)? {
                Some(message) => {
                    shared.metrics.received(message.encoded_len());
                    stream.take(&read(message))?;
                }
                None => return Ok(()),
            },
            changed = stream.views.changed() => {
                if changed.is_err() {
                    return Err(StreamEnd::ProviderGone.into());
                }
                stream.take_view();
            }
            permit = responses.reserve(), if stream.ready => match permit {
                Ok(permit) => match stream.next().await {
                    Some(outgoing) => {
                        permit.send(Box::new(outgoing));
                        full_since = None;
                    }
                    None => stream.ready = false,
                },
                Err(_) => return Ok(()),
            },
            () = wake_at(deadline), if !stream.ready => stream.ready = true,
            () = wake_at(valid_until), if valid_until.is_some() => {
                let until = stream.session.valid_until();
                if until.is_some_and(|until| until <= Instant::now()) {
                    return Err(StreamEnd::Expired.into());
                }
            }
            () = wake_at(stuck_at), if stuck_at.is_some() => {
                if responses.capacity() == 0 {
                    return Err(StreamEnd::Stuck.into());
                }
            }
            () = responses.closed() => return Ok(()),
        }
    }
}

/// Ends when the stream has to.
pub(super) async fn over(shared: &Shared, leave: Option<&Leave>) -> StreamEnd {
    loop {
        if let Signal::Over(why) = signalled(shared, leave, u64::MAX).await {
            return why;
        }
    }
}

/// What a stream is told.
enum Signal {
    /// It has to end.
    Over(StreamEnd),
    /// Somebody asks for names, the how many-th time.
    Asked(u64),
}

/// The next signal; `heard` is how many questions were answered. A stream ends with its connection; one without
/// connection at its own moment of the drain window.
async fn signalled(shared: &Shared, leave: Option<&Leave>, heard: u64) -> Signal {
    let mut signals = shared.signals.subscribe();
    let alone = leave.is_none();
    let news =
        signals.wait_for(|signals| (alone && signals.drain.is_some()) || signals.asked > heard);
    let news = tokio::select! {
        why = async {
            match leave {
                Some(leave) => leave.said().await,
                None => pending().await,
            }
        } => return Signal::Over(why),
        news = news => news.map(|signals| *signals),
    };
    if let Ok(signals) = news {
        match signals.drain.filter(|_| alone) {
            Some(window) => tokio::time::sleep(window.mul_f64(shared.share())).await,
            None => return Signal::Asked(signals.asked),
        }
    }
    Signal::Over(StreamEnd::Draining)
}

async fn wake_at(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => pending().await,
    }
}

/// The state of one stream and whom it reports to.
struct Stream<'a> {
    shared: &'a Shared,
    state: StreamState,
    session: Box<dyn ProxySession>,
    views: watch::Receiver<Arc<dyn ResourceView>>,
    /// Of what the client said of itself only its name is needed here.
    node: Arc<str>,
    /// Whether the state machine may have something to say.
    ready: bool,
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.state.end(self.shared.now());
    }
}

impl<'a> Stream<'a> {
    fn new(
        shared: &'a Arc<Shared>,
        opening: &Opening,
        node: Arc<str>,
        mut session: Box<dyn ProxySession>,
    ) -> Self {
        let state = StreamState::new(
            opening.variant,
            opening.only,
            Arc::clone(&node),
            Arc::clone(&shared.memory),
            shared.options,
        );
        let views = session.views();
        let mut stream = Self {
            shared,
            state,
            session,
            views,
            node,
            ready: false,
        };
        stream.take_view();
        stream
    }

    fn take_view(&mut self) {
        let view = Arc::clone(&self.views.borrow_and_update());
        self.state.view(view);
        self.ready = self.state.may_respond();
    }

    fn take(&mut self, request: &Request) -> Result<(), StreamEnd> {
        let outcome = self.state.request(request, self.shared.now())?;
        self.shared.metrics.request(&request.type_url, outcome);
        match outcome {
            Outcome::Nack => {
                warn!(node = %self.node, type_url = %request.type_url, "response rejected");
            }
            Outcome::UnknownType => {
                debug!(node = %self.node, type_url = %request.type_url, "unknown type ignored");
            }
            Outcome::Subscription | Outcome::Ack(_) | Outcome::ExpiredNonce => {}
        }
        self.report();
        // An ACK can open the way for what waited behind it, or settle the stream.
        self.ready = true;
        Ok(())
    }

    /// Tells the names of its subscriptions, if its session wants them.
    fn tell_names(&self) {
        if self.session.wants_names() {
            self.session
                .report(StreamReport::Names(self.state.watched()));
        }
    }

    async fn next(&mut self) -> Option<Outgoing> {
        let started = Instant::now();
        let now = self.shared.now();
        let response = if self.state.compares_more_than(NAMES_AT_ONCE) {
            Box::pin(self.next_aside(now)).await
        } else {
            self.state.next_response(now)
        };
        self.report();
        let response = response?;
        let (response, frames) = if response.resources().iter().all(|one| one.is_warm()) {
            let frames = Frames::new(&response, &self.shared.control_plane);
            (response, frames)
        } else {
            Box::pin(lay_out_aside(self.shared, response)).await?
        };
        let resources = response.resources().len() + response.removed().len();
        debug!(node = %self.node, ty = %response.ty, resources, nonce = response.nonce, "pushed");
        self.shared.metrics.pushed(
            response.ty,
            frames.message_len(),
            resources,
            started.elapsed(),
        );
        self.session.report(StreamReport::Sent {
            ty: response.ty,
            nonce: Arc::from(response.nonce.to_string()),
            version: Arc::clone(&response.version),
            bytes: frames.message_len(),
            resources,
            generation: response.generation,
        });
        Some(Outgoing {
            frames,
            ty: Some(response.ty),
            since: Instant::now(),
        })
    }

    /// Computes the next response on a thread for such work, a few streams at a time.
    async fn next_aside(&mut self, now: Duration) -> Option<Response> {
        let _turn = self.shared.large_compares.acquire().await;
        let blank = self.state.blank();
        let mut state = std::mem::replace(&mut self.state, blank);
        let computed = aside(move || {
            let response = state.next_response(now);
            (state, response)
        });
        let (state, response) = computed.await?;
        self.state = state;
        response
    }

    fn report(&mut self) {
        for event in self.state.take_reports() {
            self.session.report(event);
        }
    }
}

/// Lays a response out on a thread for such work, a few streams at a time: some of its resources have to be made again.
async fn lay_out_aside(shared: &Shared, response: Response) -> Option<(Response, Frames)> {
    let _turn = shared.large_compares.acquire().await;
    let control_plane = shared.control_plane.clone();
    let laid_out = aside(move || {
        let frames = Frames::new(&response, &control_plane);
        (response, frames)
    });
    laid_out.await
}

/// What `work` comes to on another thread; `None` if the runtime ends, and the stream with it.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Some(done),
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => None,
        },
    }
}
