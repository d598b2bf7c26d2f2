//! The answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::format::Context;
use crate::headers::{HeaderChanges, Headers};

/// Where a request would go.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Answer {
    /// `address:port` the application connects to.
    pub destination: String,
    /// The listener that gets the connection from the network, if it hands it on.
    pub through: Option<String>,
    /// The listener that serves the connection; none if nothing listens there.
    pub listener: Option<String>,
    /// Name of its filter chain, or its number counted from 0; `default` for an unnamed default chain.
    pub chain: Option<String>,
    /// What can happen, most probable first; probabilities add up to one.
    pub outcomes: Vec<Outcome>,
}

/// One of the things that can happen.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// How probable it is, of one.
    pub probability: f64,
    /// What becomes of the request.
    pub fate: Fate,
    /// Name of the route configuration.
    pub route_config: Option<String>,
    /// Name of the virtual host.
    pub virtual_host: Option<String>,
    /// Name of the route, which may be empty.
    pub route: Option<String>,
    /// Place of the route in its virtual host, counted from 0.
    pub route_index: Option<usize>,
    /// The cluster.
    pub cluster: Option<String>,
    /// Status of an answer that Envoy gives itself.
    pub status: Option<u16>,
    /// `grpc-status` of such an answer.
    pub grpc_status: Option<u16>,
    /// Body of such an answer.
    pub body: Option<String>,
    /// Why Envoy answers itself, in the words of its access log.
    pub details: Option<String>,
    /// `location` of a redirect.
    pub location: Option<String>,
    /// Method sent upstream.
    pub method: String,
    /// Path and query sent upstream.
    pub path: String,
    /// Host sent upstream.
    pub host: String,
    /// Headers sent upstream: those of the request and those the configuration changes, without what every
    /// Envoy adds (`x-request-id`, …).
    pub headers: Headers,
    /// Headers of the answer: of Envoy's own, or what is added to the upstream's.
    pub response_headers: Headers,
    /// Names removed from the upstream's answer.
    pub response_headers_removed: BTreeSet<String>,
    /// Time the whole request may take; zero: no limit.
    pub timeout: Option<Duration>,
    /// Time one attempt may take.
    pub per_try_timeout: Option<Duration>,
    /// How often it is tried at most.
    pub attempts: Option<u32>,
    /// When it is tried again.
    pub retry_on: Option<String>,
    /// Copies: clusters and the percentage of requests copied to each.
    pub mirrors: BTreeMap<String, f64>,
    /// The delay, if there is one.
    pub delay: Option<Delay>,
    /// What the endpoint is chosen by.
    pub hash_policies: Vec<String>,
    /// The objects that decided: of chain, route and cluster, as their metadata names them.
    pub objects: Vec<String>,
    /// The endpoints a connection can go to.
    pub endpoints: Vec<EndpointShare>,
    /// What was not evaluated, and other remarks.
    pub notes: Vec<String>,
    #[serde(skip)]
    pub(crate) response_changes: Vec<HeaderChanges>,
    #[serde(skip)]
    pub(crate) cors: Option<Headers>,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It goes to a cluster.
    #[default]
    Forwarded,
    /// Envoy answers it.
    Answered,
    /// The connection ends without an answer.
    Closed,
    /// No listener is there: it is not Envoy that decides.
    NotCaptured,
}

/// A delay before anything is sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Delay {
    /// How long.
    pub time: Duration,
    /// Percentage of requests.
    pub percent: f64,
}

/// An endpoint, and how much it gets.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EndpointShare {
    /// `address:port`, or the path of a socket.
    pub address: String,
    /// Its share of the requests to the cluster, of one; least-request and hashing balance around it.
    pub share: f64,
    /// `region/zone/subzone`, as far as known.
    pub locality: String,
    /// Its priority.
    pub priority: u32,
    /// Its health, if it is told.
    pub health: String,
    /// Name of the transport socket for it: `tlsMode-istio`, `tlsMode-disabled`, `tls`, `raw_buffer`.
    pub transport: String,
}

impl Outcome {
    /// The headers of the answer an application gets when the upstream answers with these.
    #[must_use]
    pub fn response_to(&self, upstream: &Headers) -> Headers {
        let mut headers = upstream.clone();
        self.change_response(&mut headers, &self.sent());
        for (name, value) in self.cors.iter().flat_map(Headers::iter) {
            headers.set(name, value);
        }
        headers
    }

    /// The request as it is sent, pseudo headers among its headers.
    fn sent(&self) -> Headers {
        let mut headers = self.headers.clone();
        headers.set(":method", &self.method);
        headers.set(":path", &self.path);
        headers.set(":authority", &self.host);
        headers
    }

    pub(crate) fn change_response(&self, headers: &mut Headers, request: &Headers) {
        for changes in &self.response_changes {
            let context = Context {
                request,
                protocol: "",
                route: self.route.as_deref().unwrap_or_default(),
                cluster: self.cluster.as_deref().unwrap_or_default(),
            };
            changes.apply(headers, &context);
        }
    }
}
