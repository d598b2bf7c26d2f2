//! Property 5 of `style-anchors.md` 5.12: a model client and random interleavings. The client behaves as Envoy was
//! observed to (delta ADS): it withholds CDS answers while clusters warm, half-applies what it rejects, reports the
//! versions from before on reconnect, and asks for load assignments and routes as clusters and listeners come.
//!
//! `REEF_SIM_SEEDS` sets how many seeds run; a failure prints its seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use reef_server::protocol::{Rejection, Request, Response};
use reef_xds::{ResourceType, Version};

use crate::kit::*;

const EXTENSION: ResourceType = ResourceType::ExtensionConfig;
const SECRET: ResourceType = ResourceType::Secret;
const TYPES: [ResourceType; 6] = [Cluster, Endpoint, Listener, Route, SECRET, EXTENSION];
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const ON_DEMAND: [&str; 2] = ["x", "y"];

/// Splitmix64: small, and the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// What the client holds of one type.
#[derive(Default)]
struct Held {
    wildcard: bool,
    /// The wildcard was asked for as `*`, or a name was: no longer the legacy form.
    explicit: bool,
    started: bool,
    names: BTreeSet<String>,
    content: BTreeMap<String, String>,
    /// Versions of what was accepted, as reported on a reconnect.
    book: BTreeMap<String, Version>,
}

impl Held {
    fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }
}

/// What the wire was told, to judge the cause of every word.
#[derive(Default)]
struct Judge {
    told: BTreeMap<(ResourceType, String), Option<Version>>,
    asked: BTreeSet<(ResourceType, String)>,
    retry: BTreeSet<(ResourceType, String)>,
    bad: BTreeMap<(ResourceType, String), Version>,
    /// Names of rejected responses that nothing has settled since, across streams.
    doubt: BTreeSet<(ResourceType, String)>,
    named: BTreeSet<(ResourceType, String)>,
    unanswered: BTreeMap<u64, Vec<(ResourceType, String)>>,
    /// Content of responses with a single name.
    single: BTreeMap<u64, Version>,
    /// Removals by nonce.
    removals: BTreeSet<(u64, ResourceType, String)>,
    follow: BTreeSet<String>,
    /// Endpoints of clusters sent before the first endpoint request.
    early: BTreeSet<String>,
    endpoints_started: bool,
    clusters_started: bool,
    started: BTreeSet<ResourceType>,
}

struct Sim {
    random: Random,
    hand: Option<Hand>,
    down: VecDeque<Response>,
    up: VecDeque<Request>,
    held: BTreeMap<ResourceType, Held>,
    warming: BTreeSet<String>,
    withheld: Vec<Request>,
    clusters_waiting: bool,
    judge: Judge,
    trace: Vec<String>,
}

fn content_of(resource: &reef_xds::EncodedResource) -> String {
    let text = String::from_utf8(resource.value().to_vec()).unwrap();
    text.split_once('=').unwrap().1.to_owned()
}

impl Sim {
    fn new(seed: u64) -> Self {
        let mut world = World::of(
            &[Cluster, Endpoint, Listener, Route, SECRET, EXTENSION],
            &["a", "b"],
        );
        world
            .set_on_demand(Cluster, "x", "1")
            .set(Endpoint, "x", "1");
        let mut sim = Self {
            random: Random(seed),
            hand: Some(Hand::delta(world)),
            down: VecDeque::new(),
            up: VecDeque::new(),
            held: TYPES.into_iter().map(|ty| (ty, Held::default())).collect(),
            warming: BTreeSet::new(),
            withheld: Vec::new(),
            clusters_waiting: false,
            judge: Judge::default(),
            trace: Vec::new(),
        };
        for ty in [Cluster, Listener] {
            sim.held(ty).wildcard = true;
            sim.start(ty);
        }
        sim
    }

    fn hand(&mut self) -> &mut Hand {
        self.hand.as_mut().unwrap()
    }

    fn held(&mut self, ty: ResourceType) -> &mut Held {
        self.held.get_mut(&ty).unwrap()
    }

    /// The first request of a type on a stream.
    fn start(&mut self, ty: ResourceType) {
        let held = self.held(ty);
        held.started = true;
        let mut subscribe: Vec<String> = held.names.iter().cloned().collect();
        if held.wildcard && held.explicit {
            subscribe.insert(0, "*".into());
        }
        let initial = held
            .book
            .iter()
            .map(|(name, version)| (name.clone(), version.to_string()))
            .collect();
        self.up.push_back(Request {
            type_url: ty.type_url().into(),
            subscribe,
            initial,
            ..Request::default()
        });
    }

    fn subscribe(&mut self, ty: ResourceType, subscribe: Vec<String>, unsubscribe: Vec<String>) {
        let held = self.held(ty);
        for name in &subscribe {
            held.explicit = true;
            if name == "*" {
                held.wildcard = true;
            } else {
                held.names.insert(name.clone());
            }
        }
        for name in &unsubscribe {
            if name == "*" {
                held.wildcard = false;
                let kept = held.names.clone();
                held.content.retain(|name, _| kept.contains(name));
                held.book.retain(|name, _| kept.contains(name));
            } else {
                held.names.remove(name);
                if !held.wildcard {
                    held.content.remove(name);
                    held.book.remove(name);
                }
            }
        }
        if !held.started {
            self.start(ty);
            return;
        }
        let request = Request {
            type_url: ty.type_url().into(),
            subscribe,
            unsubscribe,
            ..Request::default()
        };
        // Clusters that warm hold back every word about clusters.
        if ty == Cluster && (!self.warming.is_empty() || !self.withheld.is_empty()) {
            self.withheld.push(request);
        } else {
            self.up.push_back(request);
        }
    }

    /// The client takes one response.
    fn receive(&mut self) {
        let Some(response) = self.down.pop_front() else {
            return;
        };
        let ty = response.ty;
        let rejects = response
            .resources()
            .iter()
            .any(|one| content_of(one).starts_with("bad"));
        let nothing = rejects && self.random.chance(50);
        let (mut came, mut gone) = (Vec::new(), Vec::new());
        if !nothing {
            for one in response.resources() {
                let name = one.name().to_string();
                let content = content_of(one);
                let held = self.held(ty);
                if !held.wants(&name) || content.starts_with("bad") {
                    continue;
                }
                let old = held.content.insert(name.clone(), content.clone());
                if old.as_ref() != Some(&content) {
                    came.push(name.clone());
                }
                if ty == Endpoint {
                    self.warming.remove(&name);
                }
            }
            for name in response.removed() {
                if self.held(ty).content.remove(&**name).is_some() {
                    gone.push(name.to_string());
                }
                if ty == Endpoint {
                    self.warming.remove(&**name);
                }
            }
        }
        if !rejects {
            let held = self.held(ty);
            for one in response.resources() {
                if held.wants(one.name()) {
                    held.book.insert(one.name().to_string(), one.version());
                }
            }
            for name in response.removed() {
                held.book.remove(&**name);
            }
        }
        // Children of what came and went.
        let children = match ty {
            Cluster => Some(Endpoint),
            Listener => Some(Route),
            _ => None,
        };
        if let Some(children) = children {
            if ty == Cluster {
                self.warming.extend(came.iter().cloned());
                for name in &gone {
                    self.warming.remove(name);
                }
            }
            let new: Vec<String> = came
                .iter()
                .filter(|name| !self.held(children).names.contains(*name))
                .cloned()
                .collect();
            if !new.is_empty() {
                self.subscribe(children, new, Vec::new());
            }
            if !gone.is_empty() {
                self.subscribe(children, Vec::new(), gone);
            }
        }
        let answer = Request {
            type_url: ty.type_url().into(),
            nonce: response.nonce.to_string(),
            error: rejects.then(|| Rejection::new(13, "bad".into())),
            ..Request::default()
        };
        if ty == Cluster {
            self.withheld.push(answer);
        } else {
            self.up.push_back(answer);
        }
        self.warmed();
    }

    fn warmed(&mut self) {
        if self.warming.is_empty() {
            if self.clusters_waiting {
                self.clusters_waiting = false;
                self.start(Cluster);
            }
            self.up.extend(self.withheld.drain(..));
        }
    }

    /// The server takes one request.
    fn deliver(&mut self) {
        let Some(request) = self.up.pop_front() else {
            return;
        };
        let ty = ResourceType::from_url(&request.type_url).unwrap();
        self.trace.push(format!(
            "> {} {:?} -{:?} {} {:?}",
            ty,
            request.subscribe,
            request.unsubscribe,
            request.nonce,
            request.error.is_some()
        ));
        let judge = &mut self.judge;
        let first = judge.started.insert(ty);
        if first {
            judge.clusters_started |= ty == Cluster;
            judge.endpoints_started |= ty == Endpoint;
            for (name, version) in &request.initial {
                judge
                    .told
                    .insert((ty, name.clone()), Version::from_wire(version).ok());
            }
        }
        let full = ty == Endpoint && first && !judge.clusters_started;
        for name in request.subscribe.iter().filter(|name| *name != "*") {
            judge.named.insert((ty, name.clone()));
            let early = ty == Endpoint && first && judge.early.contains(name);
            if full || early || !request.initial.iter().any(|(held, _)| held == name) {
                judge.asked.insert((ty, name.clone()));
            }
        }
        for name in &request.unsubscribe {
            judge.named.remove(&(ty, name.clone()));
            if name != "*" {
                judge.asked.insert((ty, name.clone())); // 7.5; without wildcard nothing comes
                judge.told.remove(&(ty, name.clone()));
            } else {
                let named = judge.named.clone();
                judge
                    .told
                    .retain(|key, _| key.0 != ty || named.contains(key));
            }
        }
        let nonce: u64 = request.nonce.parse().unwrap_or_default();
        let said = judge.unanswered.remove(&nonce);
        let single = judge.single.remove(&nonce);
        match (said, &request.error) {
            (None, _) => {}
            (Some(said), None) => {
                for key in &said {
                    if !judge.removals.contains(&(nonce, key.0, key.1.clone())) {
                        judge.bad.remove(key);
                    }
                    judge.doubt.remove(key);
                }
            }
            (Some(said), Some(_)) => match said.as_slice() {
                [key] => {
                    if judge.told.get(key) == Some(&single) {
                        judge.told.remove(key);
                    }
                    if let Some(version) = single {
                        judge.bad.insert(key.clone(), version);
                    }
                }
                _ => {
                    judge.doubt.extend(said.iter().cloned());
                    judge.retry.extend(said);
                }
            },
        }
        self.hand().request(&request).unwrap();
    }

    /// The server says one thing, if it has something to say.
    fn pull(&mut self) -> bool {
        let Some(response) = self.hand().next() else {
            assert!(
                self.judge.follow.is_empty(),
                "endpoints of {:?} do not follow",
                self.judge.follow
            );
            return false;
        };
        let text = said(&response);
        self.trace.push(format!("< {text} ({})", response.nonce));
        let ty = response.ty;
        let endpoints: BTreeSet<String> = if ty == Endpoint {
            response
                .resources()
                .iter()
                .map(|one| one.name().to_string())
                .collect()
        } else {
            BTreeSet::new()
        };
        let owed = std::mem::take(&mut self.judge.follow);
        assert!(
            owed.is_subset(&endpoints),
            "`{text}` instead of the endpoints of {owed:?}"
        );
        let mut keys = Vec::new();
        for one in response.resources() {
            let key = (ty, one.name().to_string());
            let new = self.judge.told.get(&key) != Some(&Some(one.version()));
            let caused = new
                || self.judge.asked.contains(&key)
                || self.judge.retry.contains(&key)
                || owed.contains(&key.1);
            assert!(caused, "`{text}`: {} without cause", key.1);
            assert_ne!(
                self.judge.bad.get(&key),
                Some(&one.version()),
                "`{text}`: rejected alone before"
            );
            self.judge.told.insert(key.clone(), Some(one.version()));
            keys.push(key);
        }
        let mut takes_away = false;
        for name in response.removed() {
            let key = (ty, name.to_string());
            let told = self.judge.told.get(&key);
            let caused = matches!(told, Some(Some(_)))
                || (told.is_none() && self.judge.named.contains(&key))
                || self.judge.asked.contains(&key)
                || self.judge.retry.contains(&key)
                || self.judge.bad.contains_key(&key);
            assert!(
                caused,
                "`{text}`: removal of {name} told twice or without cause"
            );
            takes_away |= matches!(told, Some(Some(_)))
                && !self.judge.asked.contains(&key)
                && !self.judge.retry.contains(&key);
            self.judge
                .removals
                .insert((response.nonce, ty, key.1.clone()));
            self.judge.told.insert(key.clone(), None);
            keys.push(key);
        }
        if ty == Cluster && takes_away {
            let waiting: Vec<_> = self
                .judge
                .unanswered
                .values()
                .flatten()
                .filter(|(ty, _)| matches!(*ty, Listener | Route))
                .collect();
            assert!(
                waiting.is_empty(),
                "`{text}` before the answer to {waiting:?}"
            );
        }
        for key in &keys {
            self.judge.asked.remove(key);
            self.judge.retry.remove(key);
        }
        if ty == Cluster {
            let started = self.judge.endpoints_started;
            let view = self.hand().state_view();
            for one in response.resources() {
                let key = (Endpoint, one.name().to_string());
                let found = view.resource(Endpoint, one.name());
                let excused = self.judge.retry.contains(&key)
                    || found
                        .as_ref()
                        .is_none_or(|found| self.judge.bad.get(&key) == Some(&found.version()));
                if found.is_none() {
                    // A modified cluster warms until it is told that it has no endpoints.
                    self.judge.asked.insert(key);
                } else if !started {
                    self.judge.early.insert(key.1);
                } else if !excused {
                    self.judge.follow.insert(key.1);
                }
            }
        }
        if let ([_], [one]) = (keys.as_slice(), response.resources()) {
            self.judge.single.insert(response.nonce, one.version());
        }
        self.judge.unanswered.insert(response.nonce, keys);
        self.down.push_back(response);
        if !self.judge.follow.is_empty() {
            self.pull();
        }
        true
    }

    /// Not while a rejection is on its way: what the client half-applied and the server never heard of cannot be
    /// known to it, and equal versions then hide the difference until the content changes (a known limit).
    fn reconnect(&mut self) {
        if self
            .up
            .iter()
            .chain(&self.withheld)
            .any(|request| request.error.is_some())
        {
            return;
        }
        self.trace.push("reconnect".into());
        self.down.clear();
        self.up.clear();
        self.withheld.clear();
        let bad = std::mem::take(&mut self.judge.bad);
        // What was rejected and not settled is sent again.
        let doubt = std::mem::take(&mut self.judge.doubt);
        self.judge = Judge {
            bad,
            retry: doubt.clone(),
            doubt,
            ..Judge::default()
        };
        let hand = self.hand.take().unwrap();
        self.hand = Some(hand.reconnect());
        for ty in TYPES {
            let held = self.held(ty);
            held.started = false;
            if !held.wildcard && held.names.is_empty() {
                continue;
            }
            if ty == Cluster && !self.warming.is_empty() {
                self.clusters_waiting = true;
            } else {
                self.start(ty);
            }
        }
    }

    fn change(&mut self) {
        let ty = self.random.pick(&TYPES);
        let on_demand = matches!(ty, Cluster | Endpoint) && self.random.chance(25);
        let name = if on_demand {
            self.random.pick(&ON_DEMAND)
        } else {
            self.random.pick(&NAMES)
        };
        let content = match self.random.below(10) {
            0 => "bad1".to_owned(),
            1 => "bad2".to_owned(),
            n => (n % 4).to_string(),
        };
        let remove = self.random.chance(25);
        self.trace
            .push(format!("# {ty} {name}={content} remove={remove}"));
        let world = &mut self.hand().world;
        if remove {
            world.remove(ty, name);
        } else if ON_DEMAND.contains(&name) {
            world.set_on_demand(ty, name, &content);
        } else {
            world.set(ty, name, &content);
        }
    }

    fn free_subscription(&mut self) {
        let ty = self.random.pick(&[SECRET, EXTENSION, Cluster]);
        let name = if ty == Cluster {
            self.random.pick(&ON_DEMAND)
        } else {
            self.random.pick(&NAMES)
        };
        let name = if ty == EXTENSION && self.random.chance(25) {
            "*"
        } else {
            name
        };
        let list = vec![name.to_owned()];
        if ty == Cluster && self.clusters_waiting {
            return;
        }
        if self.random.chance(60) {
            self.subscribe(ty, list, Vec::new());
        } else if self.held(ty).started {
            self.subscribe(ty, Vec::new(), list);
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..15 => self.change(),
            15..30 => self.hand().publish(),
            30..36 => self.free_subscription(),
            36..57 => {
                self.pull();
            }
            57..77 => self.receive(),
            77..97 => self.deliver(),
            97..99 => self.hand().wait(Duration::from_millis(700)),
            _ => self.reconnect(),
        }
    }

    /// Everything is delivered; time passes only where the server waits for it.
    fn settle(&mut self) {
        self.hand().publish();
        for _ in 0..10_000 {
            let moved = !self.up.is_empty() || !self.down.is_empty();
            self.deliver();
            self.receive();
            if self.pull() || moved || !self.up.is_empty() {
                continue;
            }
            if self.fetch_timer() {
                continue;
            }
            let now = self.hand().now;
            match self.hand().state.next_deadline(now) {
                Some(at) => self.hand().now = at,
                None => return,
            }
        }
        panic!("never quiet");
    }

    /// The client's `initial_fetch_timeout`, for clusters whose load assignment it rejects: the only ones that may
    /// need it.
    fn fetch_timer(&mut self) -> bool {
        let view = self.hand().state_view();
        let before = self.warming.len();
        self.warming.retain(|name| {
            !view
                .resource(Endpoint, name)
                .is_some_and(|found| content_of(&found).starts_with("bad"))
        });
        let ended = self.warming.len() < before;
        self.warmed();
        ended
    }

    fn check(&mut self) {
        assert!(self.warming.is_empty(), "still warming: {:?}", self.warming);
        assert!(
            !self.clusters_waiting && self.withheld.is_empty(),
            "clusters never asked for"
        );
        let view = self.hand().world.view();
        for ty in TYPES {
            let held = &self.held[&ty];
            let mut wanted: BTreeMap<String, String> = BTreeMap::new();
            let mut excused = BTreeSet::new();
            for name in NAMES.iter().chain(&ON_DEMAND) {
                let subscribed =
                    held.names.contains(*name) || (held.wildcard && view.in_scope(ty, name));
                if let Some(found) = view.resource(ty, name).filter(|_| subscribed) {
                    let content = content_of(&found);
                    if content.starts_with("bad") {
                        excused.insert((*name).to_owned());
                    } else {
                        wanted.insert((*name).to_owned(), content);
                    }
                }
            }
            let has: BTreeMap<String, String> = held
                .content
                .iter()
                .filter(|(name, _)| !excused.contains(*name))
                .map(|(name, content)| (name.clone(), content.clone()))
                .collect();
            assert_eq!(has, wanted, "{ty}");
        }
    }
}

fn seeds() -> u64 {
    std::env::var("REEF_SIM_SEEDS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(300)
}

#[test]
fn any_interleaving_ends_with_exactly_the_subscribed_resources_delta() {
    for seed in 0..seeds() {
        let mut sim = Sim::new(seed);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..4 {
                for _ in 0..60 {
                    sim.step();
                }
                sim.settle();
                sim.check();
                // Quiet means quiet.
                sim.hand().publish();
                assert!(!sim.pull(), "said without cause");
            }
        }));
        if let Err(failure) = outcome {
            let tail = sim.trace.len().saturating_sub(40);
            eprintln!(
                "seed {seed}, last events:\n{}",
                sim.trace[tail..].join("\n")
            );
            std::panic::resume_unwind(failure);
        }
    }
}
