//! What the wire is told, and whether every word has a cause.

use std::collections::{BTreeMap, BTreeSet};

use reef_xds::{ResourceType, Version};

use super::Simulation;
use super::delta::Sim;
use crate::kit::*;

/// What the wire was told, to judge the cause of every word.
#[derive(Default)]
pub(super) struct Judge {
    pub(super) told: BTreeMap<(ResourceType, String), Option<Version>>,
    pub(super) asked: BTreeSet<(ResourceType, String)>,
    pub(super) retry: BTreeSet<(ResourceType, String)>,
    pub(super) bad: BTreeMap<(ResourceType, String), Version>,
    /// Names of rejected responses that nothing has settled since, across streams.
    pub(super) doubt: BTreeSet<(ResourceType, String)>,
    pub(super) named: BTreeSet<(ResourceType, String)>,
    pub(super) unanswered: BTreeMap<u64, Vec<(ResourceType, String)>>,
    /// Content of responses with a single name.
    pub(super) single: BTreeMap<u64, Version>,
    /// Removals by nonce.
    pub(super) removals: BTreeSet<(u64, ResourceType, String)>,
    pub(super) follow: BTreeSet<String>,
    /// Endpoints of clusters sent before the first endpoint request.
    pub(super) early: BTreeSet<String>,
    pub(super) endpoints_started: bool,
    pub(super) clusters_started: bool,
    pub(super) started: BTreeSet<ResourceType>,
}

impl Sim {
    /// The server takes one request.
    pub(super) fn judge_request(&mut self) {
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
    pub(super) fn judge_response(&mut self) -> bool {
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
}
