//! Kinds that are installed under a running Reef and removed again, and namespaces that are read and left.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use reef_e2e::call;
use reef_e2e::cluster::objects::{crds, read};
use reef_e2e::cluster::{Cluster, ClusterOptions};
use reef_e2e::mesh::{MONITORING, comes_true};
use reef_e2e::namespace::isolated;
use serde_json::Value;

use crate::objects::{TO_V2, WEB, shop};
use crate::support::{AUDIENCE, Fixture, Target, metrics, soaks};

/// The kinds that are installed, and their definitions.
const KINDS: [&str; 3] = ["DestinationRule", "Sidecar", "VirtualService"];

/// Namespaces with this label are read.
const SELECTED: &str = "---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {mesh: 'yes'}}
---
apiVersion: v1
kind: Namespace
metadata: {name: other}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'discoverySelectors: [{matchLabels: {mesh: \"yes\"}}]'}
";

/// The same, and one more by its name.
const ONE_MORE: &str = "---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    discoverySelectors:
    - matchLabels: {mesh: 'yes'}
    - matchLabels: {kubernetes.io/metadata.name: other}
";

/// A Service of the namespace that is not, with a port that no other has.
const OTHER: &str = "---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: other}
spec:
  clusterIP: 10.96.1.9
  ports: [{name: http, port: 8081, targetPort: 8080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, namespace: other, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints:
- addresses: [10.244.1.11]
  conditions: {ready: true, serving: true, terminating: false}
";

/// Where that Service is, and its host.
const DB: Target = ("10.96.1.9:8081", "db.other");

/// The web pods see nothing of other namespaces.
const NARROW: &str = "---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: web, namespace: shop}
spec:
  workloadSelector: {labels: {app: web}}
  egress: [{hosts: ['./*']}]
";

/// The definitions of some kinds.
fn definitions(kinds: &[&str]) -> Result<String> {
    let mut found = read(&crds()?)?;
    found.retain(|crd| {
        kinds
            .iter()
            .any(|kind| crd["spec"]["names"]["kind"] == *kind)
    });
    ensure!(
        found.len() == kinds.len(),
        "not all of {kinds:?} are defined"
    );
    let texts: Vec<String> = found.iter().map(Value::to_string).collect();
    Ok(texts.join("\n---\n"))
}

/// How each kind is followed, in a word, as Reef's page says.
fn states(fixture: &Fixture) -> Result<BTreeMap<String, String>> {
    let cluster = &fixture.cluster;
    let token = cluster.token_for("reef-system", "reef", None, AUDIENCE)?;
    let page: Value =
        serde_json::from_str(&call::page_as(MONITORING, "/debug/status", Some(&token))?)?;
    let kinds = page["kinds"].as_object().into_iter().flatten();
    let state = |row: &Value| row["state"].as_str().unwrap_or_default().to_owned();
    Ok(kinds
        .map(|(kind, row)| (kind.clone(), state(row)))
        .collect())
}

/// Waits until those of [`KINDS`] that are `live` are followed and all other Istio kinds are told to be missing.
fn are_live(fixture: &Fixture, live: &[&str]) -> Result<()> {
    let mut last = BTreeMap::new();
    let done = comes_true(|| {
        last = states(fixture).unwrap_or_default();
        let state = |kind: &str| last.get(kind).map(String::as_str);
        let missing = KINDS.iter().filter(|kind| !live.contains(kind));
        live.iter().all(|kind| state(kind) == Some("live"))
            && missing
                .chain(&["Gateway", "Telemetry"])
                .all(|kind| state(kind) == Some("not installed"))
            && ["Service", "Pod", "EndpointSlice"]
                .iter()
                .all(|kind| state(kind) == Some("live"))
    });
    ensure!(done, "not only {live:?}: {last:?}\n{}", fixture.reef_tail());
    Ok(())
}

fn has_cluster(fixture: &Fixture, pod: &str, part: &str) -> bool {
    let page = fixture.mesh.envoy_admin(pod, "/clusters");
    page.is_ok_and(|page| page.contains(part))
}

/// What Reef sent, by type.
fn sent_by_type() -> Result<BTreeMap<String, f64>> {
    metrics("reef_xds_pushed_resources_total")
}

/// What was sent since, where it is anything.
fn sent_since(before: &BTreeMap<String, f64>) -> Result<BTreeMap<String, f64>> {
    let mut now = sent_by_type()?;
    for (labels, count) in &mut now {
        *count -= before.get(labels).unwrap_or(&0.0);
    }
    now.retain(|_, count| *count != 0.0);
    Ok(now)
}

/// The namespace that is not selected becomes so and ends to be: by its label, and by the selectors.
fn namespaces_come_and_go(fixture: &Fixture) -> Result<()> {
    let cluster = &fixture.cluster;
    let label = |value: &str| cluster.kubectl(&["label", "ns", "other", value]).map(drop);
    let comes = |why: &str| -> Result<()> {
        fixture.follows("client-1", DB, &["web-1"])?;
        ensure!(
            !has_cluster(fixture, "web-1", "db.other"),
            "{why}: web-1 sees it"
        );
        Ok(())
    };
    let goes = |why: &str| {
        let gone = comes_true(|| !has_cluster(fixture, "client-1", "db.other"));
        ensure!(gone, "{why}: it stays\n{}", fixture.reef_tail());
        ensure!(
            has_cluster(fixture, "client-1", "web.shop"),
            "{why}: web went, too"
        );
        Ok(())
    };
    ensure!(
        !has_cluster(fixture, "client-1", "db.other"),
        "it is read already"
    );
    for (why, come, go) in [
        (
            "label",
            &(|| label("mesh=yes")) as &dyn Fn() -> Result<()>,
            &(|| label("mesh-")) as &dyn Fn() -> Result<()>,
        ),
        ("selectors", &|| cluster.apply(ONE_MORE), &|| {
            cluster.apply(SELECTED)
        }),
    ] {
        let before = sent_by_type()?;
        come()?;
        comes(why)?;
        let sent = sent_since(&before)?;
        // A cluster, its endpoints, a listener and its routes, to the one proxy that may see them. Endpoints again, where their list
        // is later than that of the Services or Envoy asks after they came; no routes, where Envoy has them of last time.
        let fit = |ty: &str, counts: &[f64]| {
            let labels = format!("type=\"{ty}\"");
            counts.contains(sent.get(&labels).unwrap_or(&0.0))
        };
        ensure!(
            fit("cds", &[1.0])
                && fit("lds", &[1.0])
                && fit("eds", &[1.0, 2.0, 3.0])
                && fit("rds", &[0.0, 1.0])
                && sent.len() <= 4,
            "{why}: sent {sent:?}"
        );
        let before = sent_by_type()?;
        go()?;
        goes(why)?;
        let sent = sent_since(&before)?;
        // Removals count, and nothing else was sent.
        let one = sent.values().all(|count| *count == 1.0);
        ensure!(sent.len() >= 2 && one, "the end of {why}: sent {sent:?}");
    }
    Ok(())
}

/// Both in one cluster, as another takes longer to start than either. That a kind is not installed any more is told after half
/// a minute, so only the long form waits for it: the objects are gone at once.
#[test]
fn kinds_and_namespaces_come_and_go_while_reef_runs() {
    let name = "kinds::kinds_and_namespaces_come_and_go_while_reef_runs";
    isolated(name, |power| {
        let options = ClusterOptions {
            without_crds: true,
            ..ClusterOptions::default()
        };
        let mut fixture = Fixture::prepare(power, options, &[SELECTED, &shop(), OTHER].concat())?;
        fixture.mesh.start_reef()?;
        fixture.start_pods(&shop())?;
        are_live(&fixture, &[])?;
        let both = ["web-1", "web-2"];
        fixture.follows("client-1", WEB, &both)?;

        fixture.under_traffic("client-1", WEB, &both, |fixture| {
            let installed = |cluster: &Cluster| {
                cluster.apply(&definitions(&KINDS)?)?;
                cluster.wait_established()
            };
            installed(&fixture.cluster)?;
            // A route to a subset is an error until the subset is there, and kinds that are new are listed in any order.
            let rule = TO_V2.split("---\n").nth(2).unwrap_or_default();
            let subset = TO_V2.replace(rule, "");
            fixture.cluster.apply(&[&subset, NARROW].concat())?;
            let subset = comes_true(|| has_cluster(fixture, "client-1", "|v2|"));
            ensure!(subset, "no subset\n{}", fixture.reef_tail());
            fixture.cluster.apply(rule)?;
            fixture.follows("client-1", WEB, &["web-2"])?;
            are_live(fixture, &KINDS)?;

            let name = "virtualservices.networking.istio.io";
            fixture
                .cluster
                .kubectl(&["delete", "crd", name, "--wait=false"])?;
            fixture.follows("client-1", WEB, &both)?;
            namespaces_come_and_go(fixture)?;
            if soaks() {
                // Half a minute without it, and then its state.
                are_live(fixture, &KINDS[..2])?;
            }
            // What is of other kinds stays.
            ensure!(has_cluster(fixture, "client-1", "|v2|"), "the subset went");
            fixture.follows("client-1", WEB, &both)?;
            let complaints = fixture.mesh.complaints()?;
            ensure!(complaints.is_empty(), "{complaints:?}");
            Ok(())
        })
    })
    .unwrap();
}
