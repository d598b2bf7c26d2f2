//! A client that behaves as Envoy was observed to over delta ADS: it withholds CDS answers while clusters warm,
//! half-applies what it rejects, reports the versions from before on reconnect, and asks for load assignments and
//! routes as clusters and listeners come.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use reef_server::protocol::{Rejection, Request, Response};
use reef_xds::{ResourceType, Version};

use super::judge::Judge;
use super::{NAMES, ON_DEMAND, Random, Simulation, content_of};
use crate::kit::*;

const EXTENSION: ResourceType = ResourceType::ExtensionConfig;
const SECRET: ResourceType = ResourceType::Secret;
const TYPES: [ResourceType; 6] = [Cluster, Endpoint, Listener, Route, SECRET, EXTENSION];

/// What the client holds of one type.
#[derive(Default)]
pub(super) struct Held {
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

pub(super) struct Sim {
    pub(super) random: Random,
    pub(super) hand: Option<Hand>,
    pub(super) down: VecDeque<Response>,
    pub(super) up: VecDeque<Request>,
    pub(super) held: BTreeMap<ResourceType, Held>,
    pub(super) warming: BTreeSet<String>,
    pub(super) withheld: Vec<Request>,
    pub(super) clusters_waiting: bool,
    pub(super) judge: Judge,
    pub(super) trace: Vec<String>,
}

impl Sim {
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

    fn warmed(&mut self) {
        if self.warming.is_empty() {
            if self.clusters_waiting {
                self.clusters_waiting = false;
                self.start(Cluster);
            }
            self.up.extend(self.withheld.drain(..));
        }
    }
}

impl Simulation for Sim {
    const TYPES: &'static [ResourceType] = &TYPES;

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

    fn pull(&mut self) -> bool {
        self.judge_response()
    }

    fn deliver(&mut self) {
        self.judge_request();
    }

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

    fn reconnect(&mut self) {
        self.trace.push("reconnect".into());
        self.down.clear();
        self.up.clear();
        self.withheld.clear();
        let bad = std::mem::take(&mut self.judge.bad);
        // What was rejected and not settled is sent again.
        let mut doubt = std::mem::take(&mut self.judge.doubt);
        doubt.extend(self.judge.unanswered.values().flatten().cloned());
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
