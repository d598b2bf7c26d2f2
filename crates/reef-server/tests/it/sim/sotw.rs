//! A client of the state-of-the-world variant. Half of the seeds behave as Envoy (clusters and listeners by wildcard,
//! CDS answers withheld while clusters warm, the last endpoint ACK repeated after a changed cluster), the other half as
//! gRPC (everything by name). Both half-apply what they reject.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use reef_server::protocol::{Rejection, Request, Response};
use reef_xds::{ResourceType, Version};

use super::{NAMES, ON_DEMAND, Random, Simulation, content_of};
use crate::kit::*;

const SECRET: ResourceType = ResourceType::Secret;
const TYPES: [ResourceType; 5] = [Cluster, Endpoint, Listener, Route, SECRET];

/// What the client holds of one type.
#[derive(Default)]
struct Held {
    started: bool,
    wildcard: bool,
    names: BTreeSet<String>,
    content: BTreeMap<String, String>,
    /// Nonce of the last response, and the version of the last one accepted.
    nonce: String,
    version: String,
    /// Nonce of the last response the server sent.
    sent: u64,
    /// The last full state it sent on this stream.
    told: BTreeMap<String, Version>,
    /// The last full state the server knows to be taken on this stream.
    acked: Option<BTreeMap<String, Version>>,
}

/// A response on its way to its answer.
struct Waiting {
    ty: ResourceType,
    set: BTreeMap<String, Version>,
}

pub(super) struct Sim {
    random: Random,
    envoy: bool,
    hand: Option<Hand>,
    down: VecDeque<Response>,
    up: VecDeque<Request>,
    held: BTreeMap<ResourceType, Held>,
    warming: BTreeSet<String>,
    withheld: Vec<Request>,
    waiting: BTreeMap<u64, Waiting>,
    /// Rejected alone: not to be seen again.
    bad: BTreeMap<(ResourceType, String), Version>,
    trace: Vec<String>,
}

fn full(ty: ResourceType) -> bool {
    ty.is_full_state()
}

impl Sim {
    fn held(&mut self, ty: ResourceType) -> &mut Held {
        self.held.get_mut(&ty).unwrap()
    }

    /// The complete list, as ACK, NACK, first request or change.
    fn ask(&mut self, ty: ResourceType, error: Option<Rejection>) {
        let held = self.held(ty);
        if !held.started && held.names.is_empty() && !held.wildcard {
            return;
        }
        held.started = true;
        let request = Request {
            type_url: ty.type_url().into(),
            subscribe: held.names.iter().cloned().collect(),
            nonce: held.nonce.clone(),
            version: held.version.clone(),
            error,
            ..Request::default()
        };
        if ty == Cluster && self.envoy && !self.warming.is_empty() {
            self.withheld.push(request);
        } else {
            self.up.push_back(request);
        }
    }

    /// Load assignments and routes of what came, changed and went.
    fn children(&mut self, ty: ResourceType, before: &BTreeMap<String, String>) {
        let children = match ty {
            Cluster => Endpoint,
            Listener => Route,
            _ => return,
        };
        let now = self.held(ty).content.clone();
        let changed: Vec<&String> = now
            .iter()
            .filter(|(name, content)| before.get(*name) != Some(content))
            .map(|(name, _)| name)
            .collect();
        if ty == Cluster && self.envoy {
            // A cluster without load assignment waits for its timer, which is not what is tested here.
            let view = self.hand().state_view();
            let assigned = |name: &&&String| view.resource(Endpoint, name).is_some();
            self.warming
                .extend(changed.iter().filter(assigned).map(|name| (*name).clone()));
            self.warming.retain(|name| now.contains_key(name));
        }
        let wanted: BTreeSet<String> = now.keys().cloned().collect();
        let held = self.held(children);
        let same = held.names == wanted;
        held.names = wanted;
        let names = held.names.clone();
        held.content.retain(|name, _| names.contains(name));
        // W-10: with nothing new to ask for, the last answer is repeated word for word.
        if !same || (ty == Cluster && self.envoy && !changed.is_empty()) {
            self.ask(children, None);
        }
    }

    fn warmed(&mut self) {
        if self.warming.is_empty() {
            self.up.extend(self.withheld.drain(..));
        }
    }

    /// Whether the client may hold anything: it came back with a state the server does not know, and the server knows
    /// no smaller set to fall back to than the one that is rejected.
    fn unknown_base(&self, ty: ResourceType) -> bool {
        let held = &self.held[&ty];
        full(ty) && held.acked.is_none() && !held.version.is_empty()
    }
}

impl Simulation for Sim {
    const TYPES: &'static [ResourceType] = &TYPES;

    fn new(seed: u64) -> Self {
        let mut world = World::of(&TYPES, &["a", "b"]);
        world
            .set_on_demand(Cluster, "x", "1")
            .set(Endpoint, "x", "1");
        let mut sim = Self {
            random: Random(seed),
            envoy: seed.is_multiple_of(2),
            hand: Some(Hand::sotw(world)),
            down: VecDeque::new(),
            up: VecDeque::new(),
            held: TYPES.into_iter().map(|ty| (ty, Held::default())).collect(),
            warming: BTreeSet::new(),
            withheld: Vec::new(),
            waiting: BTreeMap::new(),
            bad: BTreeMap::new(),
            trace: Vec::new(),
        };
        for ty in [Cluster, Listener] {
            let wildcard = sim.envoy;
            let held = sim.held(ty);
            held.wildcard = wildcard;
            if !wildcard {
                held.names.insert("a".into());
            }
            sim.ask(ty, None);
        }
        sim
    }

    fn parts(&mut self) -> (&mut Random, &mut World, &mut Vec<String>) {
        let hand = self.hand.as_mut().unwrap();
        (&mut self.random, &mut hand.world, &mut self.trace)
    }

    fn hand(&mut self) -> &mut Hand {
        self.hand.as_mut().unwrap()
    }

    fn has_said(&self) -> bool {
        !self.up.is_empty()
    }

    fn is_told(&self) -> bool {
        !self.down.is_empty()
    }

    fn receive(&mut self) {
        let Some(response) = self.down.pop_front() else {
            return;
        };
        let ty = response.ty;
        let is_bad = |one: &&reef_xds::EncodedResource| content_of(one).starts_with("bad");
        let rejects = response.resources().iter().any(|one| is_bad(&one));
        let nothing = rejects && self.random.chance(50);
        let before = self.held(ty).content.clone();
        self.trace
            .push(format!("= {ty} {} nothing={nothing}", response.nonce));
        if !nothing {
            let held = self.held(ty);
            let named: BTreeSet<&str> = response.resources().iter().map(|r| &**r.name()).collect();
            if full(ty) {
                held.content.retain(|name, _| named.contains(&**name));
            }
            for one in response.resources().iter().filter(|one| !is_bad(one)) {
                if held.wildcard || held.names.contains(&**one.name()) {
                    held.content.insert(one.name().to_string(), content_of(one));
                }
            }
            if ty == Endpoint {
                self.warming.retain(|name| !named.contains(&**name));
            }
        }
        let held = self.held(ty);
        held.nonce = response.nonce.to_string();
        if !rejects {
            held.version = response.version.to_string();
        }
        self.ask(ty, rejects.then(|| Rejection::new(13, "bad".into())));
        self.children(ty, &before);
        self.warmed();
    }

    fn deliver(&mut self) {
        let Some(request) = self.up.pop_front() else {
            return;
        };
        let ty = ResourceType::from_url(&request.type_url).unwrap();
        self.trace.push(format!(
            "> {ty} {:?} {} rejects={}",
            request.subscribe,
            request.nonce,
            request.error.is_some()
        ));
        let nonce: u64 = request.nonce.parse().unwrap_or_default();
        if request.nonce.is_empty() && full(ty) {
            // A restart of the type: nothing said before counts.
            self.waiting.retain(|_, other| other.ty != ty);
            self.held(ty).acked = None;
        }
        let last = self.held[&ty].sent == nonce;
        if let Some(sent) = self.waiting.remove(&nonce) {
            if request.error.is_none() {
                // An ACK covers the earlier ones.
                self.waiting
                    .retain(|older, other| *older > nonce || other.ty != ty);
                for name in sent.set.keys() {
                    self.bad.remove(&(ty, name.clone()));
                }
                self.held(ty).acked = Some(sent.set);
            } else if !full(ty) || (last && !self.unknown_base(ty)) {
                // Of full states only the last one is isolated, on top of a known one.
                let empty = BTreeMap::new();
                let base = self.held[&ty].acked.as_ref().filter(|_| full(ty));
                let differs: Vec<_> = sent
                    .set
                    .iter()
                    .filter(|(name, version)| base.unwrap_or(&empty).get(*name) != Some(version))
                    .collect();
                if let [(name, version)] = differs.as_slice() {
                    self.bad.insert((ty, (*name).clone()), **version);
                }
            }
        }
        self.hand().request(&request).unwrap();
    }

    fn pull(&mut self) -> bool {
        let Some(response) = self.hand().next() else {
            return false;
        };
        let text = said(&response);
        self.trace.push(format!("< {text} ({})", response.nonce));
        let ty = response.ty;
        let held = &self.held[&ty];
        let set: BTreeMap<String, Version> = response
            .resources()
            .iter()
            .map(|one| (one.name().to_string(), one.version()))
            .collect();
        assert_eq!(
            set.len(),
            response.resources().len(),
            "`{text}`: a name twice (M-3)"
        );
        assert!(
            full(ty) || !set.is_empty(),
            "`{text}`: an empty response says nothing (W-4)"
        );
        let base_known = !full(ty) || held.acked.is_some();
        for (name, version) in &set {
            let bad = self.bad.get(&(ty, name.clone())) == Some(version);
            assert!(
                !(bad && base_known),
                "`{text}`: {name} was rejected alone before"
            );
        }
        // Make before break: a cluster goes when nothing that may refer to it waits for an answer.
        let news = |name: &String| held.told.contains_key(name) && !set.contains_key(name);
        let omits = held
            .acked
            .as_ref()
            .is_some_and(|acked| acked.keys().any(news));
        if ty == Cluster && omits && held.wildcard {
            let users: Vec<_> = self
                .waiting
                .values()
                .filter(|other| matches!(other.ty, Listener | Route))
                .map(|other| &other.set)
                .collect();
            assert!(users.is_empty(), "`{text}` before the answer to {users:?}");
        }
        let held = self.held(ty);
        held.sent = response.nonce;
        held.told = set.clone();
        self.waiting.insert(response.nonce, Waiting { ty, set });
        self.down.push_back(response);
        true
    }

    fn reconnect(&mut self) {
        self.trace.push("reconnect".into());
        self.down.clear();
        self.up.clear();
        self.withheld.clear();
        self.waiting.clear();
        let hand = self.hand.take().unwrap();
        self.hand = Some(hand.reconnect());
        for held in self.held.values_mut() {
            held.started = false;
            held.nonce.clear();
            held.sent = 0;
            held.acked = None;
            held.told.clear();
        }
        for ty in TYPES {
            self.ask(ty, None);
        }
    }

    fn free_subscription(&mut self) {
        let ty = if self.envoy {
            SECRET
        } else {
            self.random.pick(&[SECRET, Cluster, Listener])
        };
        let name = if ty == Cluster && self.random.chance(25) {
            self.random.pick(&ON_DEMAND)
        } else {
            self.random.pick(&NAMES)
        };
        let held = self.held(ty);
        if !held.names.remove(name) {
            held.names.insert(name.to_owned());
        }
        let before = held.content.clone();
        held.content.remove(name);
        self.ask(ty, None);
        self.children(ty, &before);
    }

    fn fetch_timer(&mut self) -> bool {
        // Where a load assignment is rejected or gone.
        let view = self.hand().state_view();
        let before = self.warming.len();
        self.warming.retain(|name| {
            view.resource(Endpoint, name)
                .is_some_and(|found| !content_of(&found).starts_with("bad"))
        });
        self.warmed();
        self.warming.len() < before || !self.up.is_empty()
    }

    fn check(&mut self) {
        assert!(self.warming.is_empty(), "still warming: {:?}", self.warming);
        assert!(self.withheld.is_empty(), "clusters never answered");
        let view = self.hand().world.view();
        for ty in TYPES {
            if self.unknown_base(ty) {
                continue;
            }
            let held = &self.held[&ty];
            let mut wanted: BTreeMap<&str, String> = BTreeMap::new();
            let mut excused = BTreeSet::new();
            for name in NAMES.iter().chain(&ON_DEMAND) {
                let subscribed =
                    held.names.contains(*name) || (held.wildcard && view.in_scope(ty, name));
                match view.resource(ty, name).filter(|_| subscribed) {
                    Some(found) if content_of(&found).starts_with("bad") => {
                        excused.insert(*name);
                    }
                    Some(found) => {
                        wanted.insert(name, content_of(&found));
                    }
                    // 9.1: only a full state can take something away.
                    None if !full(ty) => {
                        excused.insert(*name);
                    }
                    None => {}
                }
            }
            let has: BTreeMap<&str, String> = held
                .content
                .iter()
                .map(|(name, content)| (name.as_str(), content.clone()))
                .filter(|(name, _)| !excused.contains(name))
                .collect();
            assert_eq!(has, wanted, "{ty}");
        }
    }
}
