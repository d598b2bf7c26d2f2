//! `Gateway`s: whom they are for, and what two of them share.

use std::collections::BTreeMap;

use reef_config::istio::Gateway;
use reef_config::{Hostname, Kind, Labels, Object, Spec};

use crate::Findings;
use crate::view::View;

reef_config::validation_rules! {
    [Kind::Gateway];
    Warning ("IST0101") SELECTOR "gw-selector-nobody" "The selector of a Gateway selects a workload, if any workload is known";
    Warning ("IST0145") CONFLICT "gw-conflict" "Two Gateways with the same selector do not serve a host on the same port both";
    Warning ("IST0138") CERTIFICATE "gw-certificate-shared" "Two Gateways with the same selector have different certificates: clients that keep a connection for both get 404";
}

/// Looks at all `Gateway`s.
pub(crate) fn analyze(view: &View<'_>, findings: &mut Findings) {
    let mut alike: BTreeMap<&Labels, Vec<(&Object, &Gateway)>> = BTreeMap::new();
    for object in view.objects {
        let Spec::Gateway(gateway) = &object.spec else {
            continue;
        };
        alike
            .entry(&gateway.selector)
            .or_default()
            .push((object, gateway));
        if view.has_workloads() && !gateway.selector.is_empty() && !selects(view, &gateway.selector)
        {
            let reason = "no workload has these labels".to_owned();
            findings.tell(&SELECTOR, object, "spec.selector", reason);
        }
    }
    for mut all in alike.into_values() {
        all.sort_by_key(|(object, _)| object.age());
        for (index, (object, gateway)) in all.iter().enumerate() {
            for (older, other) in all.iter().take(index) {
                if let Some(host) = shared_host(gateway, other) {
                    let reason = format!("{} serves {host} on the same port, too", older.key);
                    findings.tell(&CONFLICT, object, "spec.servers", reason);
                } else if let Some(name) = shared_certificate(gateway, other) {
                    let reason = format!("{} has the certificate {name}, too", older.key);
                    findings.tell(&CERTIFICATE, object, "spec.servers", reason);
                }
            }
        }
    }
}

/// Workloads of gateways may be in any namespace.
fn selects(view: &View<'_>, labels: &Labels) -> bool {
    let root = &view.snapshot.settings().root_namespace;
    view.selected(root, labels).next().is_some()
}

fn shared_host<'g>(one: &'g Gateway, other: &Gateway) -> Option<&'g str> {
    let host = |entry: &str| Hostname::from(entry.split_once('/').map_or(entry, |(_, host)| host));
    one.servers.iter().find_map(|server| {
        let number = server.port.as_ref()?.number;
        let theirs: Vec<Hostname> = other
            .servers
            .iter()
            .filter(|server| {
                server
                    .port
                    .as_ref()
                    .is_some_and(|port| port.number == number)
            })
            .flat_map(|server| &server.hosts)
            .map(|entry| host(entry))
            .collect();
        let mine = server.hosts.iter().map(String::as_str);
        mine.into_iter().find(|entry| theirs.contains(&host(entry)))
    })
}

fn shared_certificate<'g>(one: &'g Gateway, other: &Gateway) -> Option<&'g str> {
    let names = |gateway: &'g Gateway| {
        gateway
            .servers
            .iter()
            .filter_map(|server| server.tls.as_ref()?.credential_name.as_deref())
            .filter(|name| !name.is_empty())
    };
    let theirs: Vec<&str> = other
        .servers
        .iter()
        .filter_map(|server| server.tls.as_ref()?.credential_name.as_deref())
        .collect();
    names(one).find(|name| theirs.contains(name))
}
