//! The one writer: owns the mesh index and the push engine, on a thread of its own.
//!
//! It takes batches from the source and seats for proxies, one at a time, so nothing else ever waits for a lock of the
//! index. Changes wait for each other in the debouncer; seats do not wait. The first snapshot is published when the
//! source has told everything, and not debounced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reef_config::{ChangeBatch, Kind, Object, Problem};
use reef_kube::status::Reported;
use reef_mesh::{ChangeReport, MeshIndex, MeshSnapshot};
use reef_push::{
    ClassId, ClassView, Connected, Debouncer, ProxyId, PushEngine, PushOptions, PushPlan,
};
use reef_server::provider::ResourceView;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, info, warn};

use super::applied;
use super::metrics::{Metrics, Trigger};
use super::provider::{Connect, Departed, Seat, View};
use super::registry::Stream;
use super::shared::{Facts, Shared};
use crate::clock;
use crate::mesh::MeshOptions;
use crate::places;

/// Facts for pages follow each change, but take at most one part in this many of the writer's time: on a small mesh
/// that is at once, on a very large one after some seconds of a storm.
const FACTS_SHARE: u32 = 20;

/// Facts this late are made before anything else is done.
const FACTS_LATEST: Duration = Duration::from_secs(1);

/// Between two looks at what nobody sends any more: a push is sent, and proxies that come together have come, in some of
/// them.
const COOL_EVERY: Duration = Duration::from_secs(1);

/// A page that wants the Istio objects, by kind and key.
pub(super) type Ask = oneshot::Sender<Vec<Arc<Object>>>;

/// What comes in.
#[derive(Debug)]
pub(super) struct Inputs {
    /// From the source.
    pub(super) batches: mpsc::Receiver<ChangeBatch>,
    /// Pages that want objects.
    pub(super) asks: mpsc::Receiver<Ask>,
    /// Proxies that want seats.
    pub(super) connects: mpsc::Receiver<Connect>,
    /// Turns true when the process ends.
    pub(super) stop: watch::Receiver<bool>,
}

/// The writer.
#[derive(Debug)]
pub(super) struct Writer {
    index: MeshIndex,
    engine: PushEngine,
    debouncer: Debouncer,
    start: Instant,
    /// When the first change of the waiting burst came in.
    burst: Option<Instant>,
    waiting: Option<(Arc<MeshSnapshot>, ChangeReport)>,
    /// The version of everything in the index but endpoints.
    revision: u64,
    synced: bool,
    /// When the facts for pages are made again.
    facts_due: Option<Instant>,
    /// Before this they are not made again.
    facts_rest: Instant,
    /// When bytes of resources are given back next.
    cool_due: Instant,
    announced: BTreeSet<&'static str>,
    seats: BTreeMap<ProxyId, SeatState>,
    members: BTreeMap<ClassId, BTreeSet<ProxyId>>,
    departed: Arc<Departed>,
    /// What connected proxies say of themselves and cannot be read.
    node_problems: BTreeMap<ProxyId, Problem>,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct SeatState {
    class: ClassId,
    stream: Arc<Stream>,
    views: watch::Sender<Arc<dyn ResourceView>>,
}

impl Writer {
    /// A writer with an empty mesh.
    pub(super) fn new(
        mesh: MeshOptions,
        (after, max): (Duration, Duration),
        shared: Arc<Shared>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            index: mesh.index(),
            engine: PushEngine::new(PushOptions::default()),
            debouncer: Debouncer::new(after, max),
            start: clock::now(),
            burst: None,
            waiting: None,
            revision: 1,
            synced: false,
            facts_due: None,
            facts_rest: clock::now(),
            cool_due: clock::now() + COOL_EVERY,
            announced: BTreeSet::new(),
            seats: BTreeMap::new(),
            members: BTreeMap::new(),
            departed: Arc::new(Departed::default()),
            node_problems: BTreeMap::new(),
            shared,
            metrics,
        }
    }

    /// Works until told to stop or the source ends. Blocks this thread; the runtime here only waits.
    pub(super) fn run(mut self, mut inputs: Inputs) {
        let runtime = match tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
        {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "the writer cannot start");
                return;
            }
        };
        runtime.block_on(self.work(&mut inputs));
    }

    async fn work(&mut self, inputs: &mut Inputs) {
        let departed = Arc::clone(&self.departed);
        loop {
            if self
                .facts_due
                .is_some_and(|due| due + FACTS_LATEST < clock::now())
            {
                self.publish_facts();
            }
            let push_due = self.debouncer.deadline().map(|at| self.start + at);
            tokio::select! {
                // Leaving first, so that a reconnecting proxy does not hold two seats; changes before seats, so that
                // a storm of connects cannot hold up a push.
                biased;
                _ = inputs.stop.wait_for(|stop| *stop) => return,
                () = departed.notify.notified() => self.depart(),
                () = at(push_due) => self.push(),
                Some(batch) = inputs.batches.recv() => self.batch(batch),
                Some(connect) = inputs.connects.recv() => self.seat(connect),
                () = at(self.facts_due) => self.publish_facts(),
                () = at(Some(self.cool_due)) => {
                    self.engine.cool();
                    self.cool_due = clock::now() + COOL_EVERY;
                }
                Some(ask) = inputs.asks.recv() => self.answer(ask),
                else => return,
            }
        }
    }

    /// Takes a batch in; the push may wait for more.
    fn batch(&mut self, batch: ChangeBatch) {
        let now = clock::now();
        let synced = batch.synced;
        let index = &self.index;
        self.metrics.events(&batch.changes, |key| index.has(key));
        let changed = self.index.apply(batch);
        if let Some((snapshot, report)) = &changed {
            let took = clock::now().duration_since(now);
            self.metrics.indexed(report, snapshot, took);
        }
        if let Some((snapshot, report)) = changed {
            let small = report.only_endpoints();
            self.revision += u64::from(!small);
            self.waiting = Some(match self.waiting.take() {
                None => (snapshot, report),
                Some((_, mut earlier)) => {
                    earlier.merge(report);
                    (snapshot, earlier)
                }
            });
            if self.synced {
                self.burst.get_or_insert(now);
                let at = now.duration_since(self.start);
                if small {
                    self.debouncer.small_event(at);
                } else {
                    self.debouncer.event(at);
                }
            }
        } else if self.synced {
            // Problems may differ where the mesh does not.
            self.facts_differ();
        }
        if synced && !self.synced {
            self.synced = true;
            self.first();
        }
    }

    /// Publishes the first snapshot, and with it readiness.
    fn first(&mut self) {
        let (snapshot, report) = self
            .waiting
            .take()
            .unwrap_or_else(|| (Arc::clone(self.index.snapshot()), ChangeReport::default()));
        self.engine.apply(Arc::clone(&snapshot), &report);
        let services = snapshot.service_count();
        self.show(snapshot);
        self.publish_facts();
        let problems = self.shared.facts.load().problems.len();
        info!(services, problems, elapsed = ?self.start.elapsed(), "initial list complete, serving");
    }

    /// Builds and publishes what waits.
    fn push(&mut self) {
        let started = clock::now();
        if self
            .debouncer
            .take_due(started.duration_since(self.start))
            .is_none()
        {
            return;
        }
        let seen = self.burst.take().unwrap_or(started);
        let Some((snapshot, report)) = self.waiting.take() else {
            return;
        };
        let plan = self.engine.apply(Arc::clone(&snapshot), &report);
        self.show(snapshot);
        let streams = self.publish(&plan, seen);
        let built = clock::now().duration_since(started);
        let waited = started.duration_since(seen);
        self.metrics
            .pushed(trigger(&report), streams, waited, &plan, built);
        self.facts_differ();
        info!(
            services = report.services.len(),
            endpoints = report.endpoints.len(),
            rules = report.rules.len() + report.sidecars.len(),
            classes = plan.classes.len(),
            moved = plan.moved.len(),
            streams,
            elapsed_us = u64::try_from(built.as_micros()).unwrap_or(u64::MAX),
            "pushed"
        );
    }

    /// Publishes a snapshot, and which version of everything but endpoints is in it: the latest, as nothing waits.
    fn show(&self, snapshot: Arc<MeshSnapshot>) {
        self.shared.snapshot.store(Some(snapshot));
        let revision = self.revision;
        self.shared
            .revision
            .send_if_modified(|known| std::mem::replace(known, revision) != revision);
    }

    /// Gives every stream concerned its new view; returns how many were.
    fn publish(&mut self, plan: &PushPlan, seen: Instant) -> usize {
        let mut streams = 0;
        for (proxy, class, view) in &plan.moved {
            if let Some(seat) = self.seats.get_mut(proxy) {
                if let Some(members) = self.members.get_mut(&seat.class) {
                    members.remove(proxy);
                    if members.is_empty() {
                        self.members.remove(&seat.class);
                    }
                }
                seat.class = *class;
                self.members.entry(*class).or_default().insert(*proxy);
                seat.show(*class, view, seen);
                streams += 1;
            }
        }
        let moved: BTreeSet<ProxyId> = plan.moved.iter().map(|(proxy, ..)| *proxy).collect();
        for (class, view) in &plan.classes {
            for proxy in self
                .members
                .get(class)
                .into_iter()
                .flatten()
                .filter(|proxy| !moved.contains(proxy))
            {
                if let Some(seat) = self.seats.get(proxy) {
                    seat.show(*class, view, seen);
                    streams += 1;
                }
            }
        }
        streams
    }

    fn seat(&mut self, connect: Connect) {
        let Connect { node, peer, reply } = connect;
        let Connected { proxy, class, view } = self.engine.connect(Arc::clone(&node));
        let first: Arc<dyn ResourceView> = Arc::new(View(view));
        if let Some(problem) = node.problem() {
            warn!(node = %node.id, %problem, "node metadata cannot be read");
            self.node_problems.insert(proxy, problem);
        }
        let (views, receiver) = watch::channel(first);
        let stream = Arc::new(Stream::new(
            proxy.number(),
            node,
            peer.delta,
            peer.address,
            class.number(),
            receiver,
        ));
        self.members.entry(class).or_default().insert(proxy);
        self.seats.insert(
            proxy,
            SeatState {
                class,
                stream: Arc::clone(&stream),
                views,
            },
        );
        self.facts_differ();
        // A stream that ended meanwhile drops the seat, which comes back through `departed`.
        let _gone = reply.send(Seat {
            stream,
            proxy,
            departed: Arc::clone(&self.departed),
        });
    }

    fn depart(&mut self) {
        for proxy in self.departed.take() {
            self.engine.disconnect(proxy);
            self.node_problems.remove(&proxy);
            self.facts_differ();
            if let Some(seat) = self.seats.remove(&proxy)
                && let Some(members) = self.members.get_mut(&seat.class)
            {
                members.remove(&proxy);
                if members.is_empty() {
                    self.members.remove(&seat.class);
                }
            }
        }
    }

    fn answer(&self, ask: oneshot::Sender<Vec<Arc<Object>>>) {
        let kinds = Kind::ALL.iter().filter(|kind| kind.is_istio());
        let objects = kinds.flat_map(|kind| self.index.objects(*kind)).collect();
        // Whoever asked may have gone.
        let _gone = ask.send(objects);
    }

    /// Something that pages show may differ.
    fn facts_differ(&mut self) {
        let rest = self.facts_rest;
        self.facts_due.get_or_insert_with(|| rest.max(clock::now()));
    }

    fn publish_facts(&mut self) {
        self.facts_due = None;
        let started = clock::now();
        let objects = self.index.object_counts();
        let mut problems: Vec<Problem> = self.index.problems();
        problems.extend(self.engine.problems());
        problems.extend(self.node_problems.values().cloned());
        for (kind, problem) in applied::not_applied(&objects) {
            if self.announced.insert(kind.as_str()) {
                warn!(%kind, objects = objects.get(&kind).copied().unwrap_or_default(), "accepted, not yet applied");
            }
            problems.push(problem);
        }
        places::fill_in(&self.index, &mut problems);
        problems.sort();
        problems.dedup();
        debug!(problems = problems.len(), "facts published");
        let problems: Arc<[Problem]> = problems.into();
        if self.synced {
            self.shared.reported.send_replace(Some(Reported {
                problems: Arc::clone(&problems),
                at: started.into(),
                revision: self.revision,
            }));
        }
        self.shared.facts.store(Arc::new(Facts {
            problems,
            objects,
            sizes: self.engine.sizes(),
            awaited_pods: self.index.awaited_pods(),
        }));
        let ended = clock::now();
        self.facts_rest = ended + (ended - started) * FACTS_SHARE;
    }
}

impl SeatState {
    fn show(&self, class: ClassId, view: &Arc<ClassView>, seen: Instant) {
        self.stream
            .published(class.number(), view.generation(), seen, clock::now());
        let view: Arc<dyn ResourceView> = Arc::new(View(Arc::clone(view)));
        self.views.send_replace(view);
    }
}

/// Waits until a moment; for ever if there is none.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// The strongest reason in a report.
fn trigger(report: &ChangeReport) -> Trigger {
    if report.settings {
        Trigger::Global
    } else if report.only_endpoints() {
        Trigger::Endpoint
    } else if report.services.is_empty() && report.rules.is_empty() && report.sidecars.is_empty() {
        Trigger::Proxy
    } else {
        Trigger::Config
    }
}
