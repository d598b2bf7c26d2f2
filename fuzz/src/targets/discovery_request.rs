//! Events on one stream: requests of any form, a changing world, reconnects, silence.
//!
//! The input is a program, one byte per event and one for its operand. Whatever it does, the stream must come to rest
//! once the client acknowledges everything, no response may contradict itself, and a delta client that rejected nothing
//! must end with exactly what a wildcard subscription promises. The state machine is used without its shell, so without
//! tokio.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use reef_server::protocol::{
    Body, NackMemory, Options, Rejection, Request, Response, StreamState, Variant,
};
use reef_server::provider::ResourceView;
use reef_xds::{EncodedResource, ResourceType, Version};

/// Most events of one input.
const MAX_EVENTS: usize = 400;

/// Most responses until a stream must have come to rest: each name of each type changes hands a few times at most.
const MAX_RESPONSES: usize = 2_000;

const TYPES: [ResourceType; 5] = [
    ResourceType::Cluster,
    ResourceType::Endpoint,
    ResourceType::Listener,
    ResourceType::Route,
    ResourceType::VirtualHost,
];

const NAMES: [&str; 8] = [
    "*",
    "a",
    "b",
    "c/d",
    "e",
    "",
    "é",
    "outbound|80||x.y.svc.cluster.local",
];

/// What exists.
#[derive(Debug, Clone, Default)]
struct World {
    lineage: u64,
    generation: u64,
    resources: BTreeMap<(ResourceType, &'static str), EncodedResource>,
    log: Vec<(u64, ResourceType, &'static str)>,
    forgotten: u64,
}

impl ResourceView for World {
    fn lineage(&self) -> u64 {
        self.lineage
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn resource(&self, ty: ResourceType, name: &str) -> Option<EncodedResource> {
        let name = NAMES.into_iter().find(|known| *known == name)?;
        self.resources.get(&(ty, name)).cloned()
    }

    fn for_each(&self, ty: ResourceType, f: &mut dyn FnMut(&EncodedResource)) {
        for (_, resource) in self.resources.iter().filter(|((of, _), _)| *of == ty) {
            f(resource);
        }
    }

    fn changed_since(&self, generation: u64) -> Option<Vec<(ResourceType, Arc<str>)>> {
        let since = self.log.iter().filter(|(at, ..)| *at > generation);
        (generation >= self.forgotten)
            .then(|| since.map(|(_, ty, name)| (*ty, Arc::from(*name))).collect())
    }

    fn absent(&self, ty: ResourceType, name: &str) -> Option<EncodedResource> {
        let negative = matches!(ty, ResourceType::Route | ResourceType::Endpoint);
        negative.then(|| EncodedResource::from_parts(ty, name, b"none"))
    }
}

/// A client and the stream it talks to.
#[derive(Debug)]
struct Client {
    variant: Variant,
    state: StreamState,
    memory: Arc<NackMemory>,
    world: World,
    now: Duration,
    waiting: VecDeque<Response>,
    subscribed: BTreeMap<ResourceType, BTreeSet<&'static str>>,
    held: BTreeMap<ResourceType, BTreeMap<Arc<str>, Version>>,
    /// The client did something after which its state proves nothing.
    odd: bool,
}

/// Tries one program.
pub fn run(input: &[u8]) {
    let Some((first, program)) = input.split_first() else {
        return;
    };
    let variant = if first & 1 == 0 {
        Variant::Delta
    } else {
        Variant::Sotw
    };
    let mut client = Client::new(variant);
    for event in program.chunks_exact(2).take(MAX_EVENTS) {
        if !client.event(event[0], event[1]) {
            // The stream ended, as it must after such a request.
            return;
        }
    }
    client.rest();
}

impl Client {
    fn new(variant: Variant) -> Self {
        let memory = Arc::new(NackMemory::new());
        let mut client = Self {
            variant,
            state: stream(variant, &memory),
            memory,
            world: World::default(),
            now: Duration::ZERO,
            waiting: VecDeque::new(),
            subscribed: BTreeMap::new(),
            held: BTreeMap::new(),
            odd: false,
        };
        client.publish();
        client
    }

    fn publish(&mut self) {
        self.state.view(Arc::new(self.world.clone()));
    }

    /// Does one event; `false` if the stream ended.
    fn event(&mut self, event: u8, operand: u8) -> bool {
        let ty = TYPES[usize::from(operand >> 3) % TYPES.len()];
        let name = NAMES[usize::from(operand & 7)];
        match event % 16 {
            0 | 1 => return self.subscribe(ty, name),
            2 => return self.unsubscribe(ty, name),
            3 | 4 => self.pull(),
            5 => return self.answer(false, None),
            6 => return self.answer(true, None),
            7 => {
                self.odd = true;
                let code = i32::from(operand);
                return self.answer(
                    operand & 1 == 0,
                    Some(Rejection::new(code, "no".repeat(usize::from(operand)))),
                );
            }
            8 | 9 => self.change(ty, name, Some(operand)),
            10 => self.change(ty, name, None),
            11 => self.now += Duration::from_millis(u64::from(operand) * 200),
            12 => return self.reconnect(),
            13 => {
                self.world.lineage += 1;
                self.publish();
            }
            14 => {
                self.world.forgotten = self.world.generation;
                self.publish();
            }
            _ => {
                self.odd = true;
                let request = Request {
                    type_url: if operand & 1 == 0 {
                        ty.type_url().to_owned()
                    } else {
                        "type/unknown".to_owned()
                    },
                    nonce: operand.to_string(),
                    version: "0".repeat(usize::from(operand & 63)),
                    subscribe: vec![name.to_owned(), name.to_owned()],
                    unsubscribe: vec![name.to_owned()],
                    initial: vec![(name.to_owned(), "no version".to_owned())],
                    ..Request::default()
                };
                return self.request(&request);
            }
        }
        true
    }

    fn request(&mut self, request: &Request) -> bool {
        self.state.request(request, self.now).is_ok()
    }

    fn base(&self, ty: ResourceType) -> Request {
        let mut request = Request {
            type_url: ty.type_url().to_owned(),
            ..Request::default()
        };
        if self.variant == Variant::Sotw {
            request.subscribe = self.names(ty);
        }
        request
    }

    fn names(&self, ty: ResourceType) -> Vec<String> {
        self.subscribed
            .get(&ty)
            .into_iter()
            .flatten()
            .map(|name| (*name).to_owned())
            .collect()
    }

    fn subscribe(&mut self, ty: ResourceType, name: &'static str) -> bool {
        self.subscribed.entry(ty).or_default().insert(name);
        let mut request = self.base(ty);
        if self.variant == Variant::Delta {
            request.subscribe = vec![name.to_owned()];
        }
        self.request(&request)
    }

    fn unsubscribe(&mut self, ty: ResourceType, name: &'static str) -> bool {
        let known = self
            .subscribed
            .get_mut(&ty)
            .is_some_and(|names| names.remove(name));
        if !known {
            return true;
        }
        // A real client forgets what only the wildcard gave it; this one does not model that.
        self.odd |= name == "*";
        let mut request = self.base(ty);
        if self.variant == Variant::Delta {
            request.unsubscribe = vec![name.to_owned()];
        }
        self.request(&request)
    }

    fn pull(&mut self) {
        if let Some(response) = self.state.next_response(self.now) {
            consistent(&response);
            self.waiting.push_back(response);
        }
        let _reports = self.state.take_reports();
    }

    /// Answers a response: the newest or the oldest, rejecting it or not.
    fn answer(&mut self, newest: bool, error: Option<Rejection>) -> bool {
        let response = if newest {
            self.waiting.pop_back()
        } else {
            self.waiting.pop_front()
        };
        let Some(response) = response else {
            return true;
        };
        // A client applies in order; answers out of order say nothing about what it holds.
        self.odd |= newest && !self.waiting.is_empty();
        if error.is_none() {
            let held = self.held.entry(response.ty).or_default();
            for resource in response.resources() {
                held.insert(Arc::clone(resource.name()), resource.version());
            }
            for name in response.removed() {
                held.remove(name);
            }
        }
        let mut request = self.base(response.ty);
        request.nonce = response.nonce.to_string();
        request.version = response.version.to_string();
        request.error = error;
        self.request(&request)
    }

    fn change(&mut self, ty: ResourceType, name: &'static str, content: Option<u8>) {
        if name == "*" || name.is_empty() {
            return;
        }
        self.world.generation += 1;
        self.world.log.push((self.world.generation, ty, name));
        match content {
            Some(content) => {
                let resource = EncodedResource::from_parts(ty, name, &[content, 1]);
                self.world.resources.insert((ty, name), resource);
            }
            None => {
                self.world.resources.remove(&(ty, name));
            }
        }
        self.publish();
    }

    /// A new stream of the same node, telling what it holds.
    fn reconnect(&mut self) -> bool {
        self.state = stream(self.variant, &self.memory);
        self.waiting.clear();
        self.publish();
        self.subscribed.retain(|_, names| !names.is_empty());
        let types: Vec<ResourceType> = self.subscribed.keys().copied().collect();
        for ty in types {
            let mut request = self.base(ty);
            request.subscribe = self.names(ty);
            if self.variant == Variant::Delta {
                let held = self.held.get(&ty).into_iter().flatten();
                request.initial = held
                    .map(|(name, version)| (name.to_string(), version.to_string()))
                    .collect();
            }
            if !self.request(&request) {
                return false;
            }
        }
        true
    }

    /// Acknowledges everything until nothing comes, then compares.
    fn rest(&mut self) {
        for _ in 0..MAX_RESPONSES {
            self.pull();
            while !self.waiting.is_empty() {
                if !self.answer(false, None) {
                    return;
                }
            }
            if !self.state.may_respond() {
                return self.compare();
            }
            if let Some(at) = self.state.next_deadline(self.now) {
                self.now = at;
            }
        }
        panic!("the stream does not come to rest: {:?}", self.state);
    }

    fn compare(&self) {
        if self.odd || self.variant == Variant::Sotw {
            return;
        }
        for ty in [ResourceType::Cluster, ResourceType::Listener] {
            if !self
                .subscribed
                .get(&ty)
                .is_some_and(|names| names.contains("*"))
            {
                continue;
            }
            let mut there = BTreeMap::new();
            self.world.for_each(ty, &mut |resource| {
                there.insert(Arc::clone(resource.name()), resource.version());
            });
            let held = self.held.get(&ty).cloned().unwrap_or_default();
            assert_eq!(held, there, "{ty:?}: the client does not hold what exists");
        }
    }
}

fn stream(variant: Variant, memory: &Arc<NackMemory>) -> StreamState {
    StreamState::new(
        variant,
        None,
        Arc::from("sidecar~10.0.0.1~a.b~b.svc"),
        Arc::clone(memory),
        Options::default(),
    )
}

/// Asserts what must hold of any response.
fn consistent(response: &Response) {
    let mut names = BTreeSet::new();
    for resource in response.resources() {
        assert_eq!(
            resource.resource_type(),
            response.ty,
            "a resource of another type"
        );
        assert!(
            names.insert(Arc::clone(resource.name())),
            "{} is twice in one response",
            resource.name()
        );
    }
    for name in response.removed() {
        assert!(
            names.insert(Arc::clone(name)),
            "{name} is sent and removed, or removed twice"
        );
    }
    if let Body::Delta { absent, .. } = &response.body {
        for name in absent {
            assert!(
                names.insert(Arc::clone(name)),
                "{name} is absent and something else"
            );
        }
    }
}
