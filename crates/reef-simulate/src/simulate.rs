//! From a request to its answer.

use std::net::SocketAddr;

use crate::answer::{Answer, Fate, Outcome};
use crate::config::Config;
use crate::listener::Found;
use crate::request::Request;
use crate::{chain, listener, network};

/// A connection that has found its chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connection<'a> {
    pub(crate) config: &'a Config,
    pub(crate) request: &'a Request,
    /// Where the application connected to.
    pub(crate) to: SocketAddr,
    /// Whether the chain terminates TLS.
    pub(crate) tls: bool,
    /// Whether the proxy knows where the application connected to, other than to the proxy.
    pub(crate) restored: bool,
}

/// Says where a request goes.
///
/// Costs time linear in the configuration: this is for people and tests, not for a data path.
#[must_use]
pub fn simulate(config: &Config, request: &Request) -> Answer {
    let to = listener::destination(config, request);
    let mut answer = Answer {
        destination: to.to_string(),
        ..Answer::default()
    };
    let by_name = request.listener.as_ref();
    let found = match by_name {
        None => listener::find(config, request, to),
        Some(name) => config.listeners.get(name).map(|listener| Found {
            through: None,
            listener,
        }),
    };
    let Some(found) = found else {
        answer.outcomes.push(Outcome {
            probability: 1.0,
            fate: Fate::NotCaptured,
            notes: vec!["no listener has this address".to_owned()],
            ..Outcome::default()
        });
        return answer;
    };
    answer.through = found.through.map(|listener| listener.name.clone());
    answer.listener = Some(found.listener.name.clone());
    let seen = chain::inspect(found.listener, request, to);
    let Some(chosen) = chain::find(found.listener, &seen) else {
        answer.outcomes.push(Outcome {
            probability: 1.0,
            fate: Fate::Closed,
            details: Some("filter_chain_not_found".to_owned()),
            ..Outcome::default()
        });
        return answer;
    };
    answer.chain = Some(chosen.name);
    let connection = Connection {
        config,
        request,
        to,
        tls: chosen.chain.transport_socket.is_some(),
        restored: listener::restores(&found),
    };
    let mut outcomes = network::evaluate(&connection, chosen.chain);
    outcomes.retain(|outcome| outcome.probability > 0.0);
    outcomes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    answer.outcomes = outcomes;
    answer
}
