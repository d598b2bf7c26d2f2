//! A scripted view, and a stream driven by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reef_server::protocol::{
    NackMemory, Options, Outcome, Rejection, Request, Response, StreamState, Variant,
};
use reef_server::provider::{ResourceView, StreamReport};
use reef_server::status::StreamEnd;
use reef_xds::{EncodedResource, ResourceType, Source, Version, Warm};

pub(crate) use ResourceType::{Cluster, Endpoint, Listener, Route, VirtualHost};

/// The four types the conformance suite uses.
pub(crate) const FOUR: [ResourceType; 4] = [Cluster, Listener, Route, Endpoint];

/// Every way a client can ask for one type: `(variant, aggregated)`.
pub(crate) const BOTH: [bool; 2] = [false, true];

/// A resource of any type; only names and versions matter to the server.
pub(crate) fn resource(ty: ResourceType, name: &str, content: &str) -> EncodedResource {
    EncodedResource::from_parts(ty, name, format!("{name}={content}").as_bytes())
}

/// The version `content` gives.
pub(crate) fn version(ty: ResourceType, name: &str, content: &str) -> Version {
    resource(ty, name, content).version()
}

/// A resource as it is made again.
struct Again(EncodedResource);

impl Source for Again {
    fn make(&self) -> EncodedResource {
        let Self(one) = self;
        EncodedResource::from_parts(one.resource_type(), Arc::clone(one.name()), &one.value())
    }
}

/// What exists, with a log of changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) lineage: u64,
    pub(crate) generation: u64,
    resources: BTreeMap<(ResourceType, String), EncodedResource>,
    /// Names that exist, outside of the wildcard set.
    on_demand: BTreeSet<(ResourceType, String)>,
    log: Vec<(u64, ResourceType, Arc<str>)>,
    /// Types with a negative form.
    pub(crate) negatives: BTreeSet<ResourceType>,
    /// Generations before this one are no longer in the log.
    pub(crate) forgotten: u64,
}

impl World {
    pub(crate) fn of(types: &[ResourceType], names: &[&str]) -> Self {
        let mut world = Self::default();
        for ty in types {
            for name in names {
                world.set(*ty, name, "1");
            }
        }
        world
    }

    pub(crate) fn set(&mut self, ty: ResourceType, name: &str, content: &str) -> &mut Self {
        self.generation += 1;
        self.resources
            .insert((ty, name.to_owned()), resource(ty, name, content));
        self.log.push((self.generation, ty, Arc::from(name)));
        self
    }

    pub(crate) fn set_on_demand(
        &mut self,
        ty: ResourceType,
        name: &str,
        content: &str,
    ) -> &mut Self {
        self.on_demand.insert((ty, name.to_owned()));
        self.set(ty, name, content)
    }

    pub(crate) fn remove(&mut self, ty: ResourceType, name: &str) -> &mut Self {
        self.generation += 1;
        self.resources.remove(&(ty, name.to_owned()));
        self.on_demand.remove(&(ty, name.to_owned()));
        self.log.push((self.generation, ty, Arc::from(name)));
        self
    }

    /// Lets all resources give their bytes back.
    pub(crate) fn cool(&mut self) -> &mut Self {
        let warm = Warm::default();
        for resource in self.resources.values_mut() {
            let source = Again(resource.clone());
            *resource = source.make().renewable(Arc::new(source), &warm);
        }
        while warm.cool() > 0 {}
        self
    }

    pub(crate) fn view(&self) -> Arc<dyn ResourceView> {
        Arc::new(self.clone())
    }
}

impl ResourceView for World {
    fn lineage(&self) -> u64 {
        self.lineage
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn resource(&self, ty: ResourceType, name: &str) -> Option<EncodedResource> {
        self.resources.get(&(ty, name.to_owned())).cloned()
    }

    fn for_each(&self, ty: ResourceType, f: &mut dyn FnMut(&EncodedResource)) {
        for (key, resource) in &self.resources {
            if key.0 == ty && !self.on_demand.contains(key) {
                f(resource);
            }
        }
    }

    fn changed_since(&self, generation: u64) -> Option<Vec<(ResourceType, Arc<str>)>> {
        (generation >= self.forgotten).then(|| {
            self.log
                .iter()
                .filter(|(at, _, _)| *at > generation)
                .map(|(_, ty, name)| (*ty, Arc::clone(name)))
                .collect()
        })
    }

    fn absent(&self, ty: ResourceType, name: &str) -> Option<EncodedResource> {
        self.negatives
            .contains(&ty)
            .then(|| resource(ty, name, "empty"))
    }

    fn in_scope(&self, ty: ResourceType, name: &str) -> bool {
        let key = (ty, name.to_owned());
        self.resources.contains_key(&key) && !self.on_demand.contains(&key)
    }
}

/// A stream driven by hand.
pub(crate) struct Hand {
    pub(crate) state: StreamState,
    pub(crate) world: World,
    pub(crate) memory: Arc<NackMemory>,
    pub(crate) now: Duration,
    published: Arc<dyn ResourceView>,
    variant: Variant,
    only: Option<ResourceType>,
    last: BTreeMap<ResourceType, (String, String)>,
}

impl Hand {
    pub(crate) fn new(variant: Variant, only: Option<ResourceType>, world: World) -> Self {
        Self::with_memory(
            variant,
            only,
            world,
            Arc::new(NackMemory::new()),
            Duration::ZERO,
        )
    }

    /// ADS.
    pub(crate) fn delta(world: World) -> Self {
        Self::new(Variant::Delta, None, world)
    }

    /// ADS.
    pub(crate) fn sotw(world: World) -> Self {
        Self::new(Variant::Sotw, None, world)
    }

    pub(crate) fn with_memory(
        variant: Variant,
        only: Option<ResourceType>,
        world: World,
        memory: Arc<NackMemory>,
        now: Duration,
    ) -> Self {
        Self::with_options(variant, only, world, memory, now, Options::default())
    }

    pub(crate) fn with_options(
        variant: Variant,
        only: Option<ResourceType>,
        world: World,
        memory: Arc<NackMemory>,
        now: Duration,
        options: Options,
    ) -> Self {
        let mut state = StreamState::new(
            variant,
            only,
            Arc::from("node"),
            Arc::clone(&memory),
            options,
        );
        let published = world.view();
        state.view(Arc::clone(&published));
        Self {
            state,
            world,
            memory,
            now,
            published,
            variant,
            only,
            last: BTreeMap::new(),
        }
    }

    /// The view the stream was given last.
    pub(crate) fn state_view(&self) -> Arc<dyn ResourceView> {
        Arc::clone(&self.published)
    }

    /// The same client on a new stream to the same server.
    pub(crate) fn reconnect(mut self) -> Self {
        self.state.end(self.now);
        Self::with_memory(self.variant, self.only, self.world, self.memory, self.now)
    }

    pub(crate) fn publish(&mut self) {
        let view = self.world.view();
        self.published = Arc::clone(&view);
        self.state.view(view);
    }

    pub(crate) fn change(&mut self, change: impl FnOnce(&mut World)) {
        change(&mut self.world);
        self.publish();
    }

    pub(crate) fn request(&mut self, request: &Request) -> Result<Outcome, StreamEnd> {
        self.now += Duration::from_millis(1);
        self.state.request(request, self.now)
    }

    fn ask(&mut self, request: &Request) -> Outcome {
        self.request(request).expect("the stream goes on")
    }

    /// Delta: a change of subscription.
    pub(crate) fn subscribe(&mut self, ty: ResourceType, subscribe: &[&str], unsubscribe: &[&str]) {
        self.ask(&Request {
            type_url: ty.type_url().into(),
            subscribe: strings(subscribe),
            unsubscribe: strings(unsubscribe),
            ..Request::default()
        });
    }

    /// Delta: the first request of a type after a reconnect.
    pub(crate) fn resume(&mut self, ty: ResourceType, subscribe: &[&str], held: &[(&str, &str)]) {
        self.ask(&Request {
            type_url: ty.type_url().into(),
            subscribe: strings(subscribe),
            initial: held
                .iter()
                .map(|(name, content)| ((*name).to_owned(), version(ty, name, content).to_string()))
                .collect(),
            ..Request::default()
        });
    }

    /// `SotW`: the complete list, with the nonce and version of the last response of the type.
    pub(crate) fn names(&mut self, ty: ResourceType, names: &[&str]) -> Outcome {
        let (nonce, version) = self.last.get(&ty).cloned().unwrap_or_default();
        self.names_with(ty, names, &nonce, &version)
    }

    pub(crate) fn names_with(
        &mut self,
        ty: ResourceType,
        names: &[&str],
        nonce: &str,
        version: &str,
    ) -> Outcome {
        self.ask(&Request {
            type_url: ty.type_url().into(),
            subscribe: strings(names),
            nonce: nonce.into(),
            version: version.into(),
            ..Request::default()
        })
    }

    pub(crate) fn names_nack(&mut self, ty: ResourceType, names: &[&str]) -> Outcome {
        let (nonce, _) = self.last.get(&ty).cloned().unwrap_or_default();
        self.ask(&Request {
            type_url: ty.type_url().into(),
            subscribe: strings(names),
            nonce,
            error: Some(Rejection::new(13, "bad".into())),
            ..Request::default()
        })
    }

    /// Delta ACK.
    pub(crate) fn ack(&mut self, response: &Response) -> Outcome {
        self.ask(&Request {
            type_url: response.ty.type_url().into(),
            nonce: response.nonce.to_string(),
            ..Request::default()
        })
    }

    /// Delta NACK.
    pub(crate) fn nack(&mut self, response: &Response) -> Outcome {
        self.ask(&Request {
            type_url: response.ty.type_url().into(),
            nonce: response.nonce.to_string(),
            error: Some(Rejection::new(13, "bad".into())),
            ..Request::default()
        })
    }

    /// The next response, if one is due now.
    pub(crate) fn next(&mut self) -> Option<Response> {
        let response = self.state.next_response(self.now)?;
        self.last.insert(
            response.ty,
            (response.nonce.to_string(), response.version.to_string()),
        );
        Some(response)
    }

    /// Everything due now.
    pub(crate) fn all(&mut self) -> Vec<Response> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// Everything due, each ACKed at once (delta).
    pub(crate) fn all_acked(&mut self) -> Vec<Response> {
        let mut all = Vec::new();
        while let Some(response) = self.next() {
            self.ack(&response);
            all.push(response);
        }
        all
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    pub(crate) fn reports(&mut self) -> Vec<StreamReport> {
        self.state.take_reports()
    }

    #[track_caller]
    pub(crate) fn silent(&mut self) {
        let next = self.next();
        assert!(
            next.is_none(),
            "said without cause: {}",
            next.map(|r| said(&r)).unwrap_or_default()
        );
    }

    /// The next response, as [`said`] prints it.
    #[track_caller]
    pub(crate) fn says(&mut self, expected: &str) -> Response {
        let Some(response) = self.next() else {
            panic!("nothing said instead of `{expected}`");
        };
        assert_eq!(said(&response), expected);
        response
    }

    /// Like [`Self::says`], and ACKs (delta).
    #[track_caller]
    pub(crate) fn says_acked(&mut self, expected: &str) -> Response {
        let response = self.says(expected);
        self.ack(&response);
        response
    }
}

pub(crate) fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// `CDS +a=1 +b=1 -c`.
pub(crate) fn said(response: &Response) -> String {
    let mut text = response.ty.short_name().to_owned();
    for resource in response.resources() {
        text += &format!(" +{}", String::from_utf8_lossy(&resource.value()));
    }
    for name in response.absent() {
        text += &format!(" ?{name}");
    }
    for name in response.removed() {
        text += &format!(" -{name}");
    }
    text
}
