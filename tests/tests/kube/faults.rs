//! The API server goes back, refuses, and has objects nobody can read: EF tests T6, T8 and T10.

use anyhow::ensure;
use reef_e2e::call;
use reef_e2e::cluster::ClusterOptions;
use reef_e2e::mesh::{MONITORING, comes_true, reef_is_ready};
use reef_e2e::namespace::isolated;
use serde_json::Value;

use crate::objects::{TO_V2, WEB, service, shop, slice};
use crate::support::{AUDIENCE, Fixture, metrics};

/// Further objects that a backup lacks, none of which stands in the way of a call.
const LOST: &str = "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: new, namespace: shop}
spec:
  hosts: [new.example.com]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 10.244.1.12}]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: client, namespace: shop}
spec:
  workloadSelector: {labels: {app: client}}
  egress: [{hosts: ['./*']}]
";

/// A route of a Service to a subset of it, and the subset.
fn routed(service: &str, version: &str) -> String {
    TO_V2.replace("web", service).replace("v2", version)
}

/// T8.
#[test]
fn a_store_that_goes_back_is_followed_back() {
    let name = "faults::a_store_that_goes_back_is_followed_back";
    isolated(name, |power| {
        let old = [service("old", "10.96.1.2"), routed("old", "v1")].concat();
        let old = [old, slice("old", &[("web-1", "10.244.1.11")])].concat();
        let mut fixture = Fixture::start(power, &[shop(), old.clone()].concat())?;
        fixture.follows("client-1", WEB, &["web-1", "web-2"])?;
        fixture.cluster.back_up_store()?;
        // What the backup lacks, of several kinds that name each other, and what it has and is gone.
        let new = [service("new", "10.96.1.3"), routed("new", "v2")].concat();
        let new = [new, slice("new", &[("web-2", "10.244.1.12")])].concat();
        fixture.cluster.apply(&[TO_V2, LOST, &new].concat())?;
        fixture.cluster.delete(&old)?;
        fixture.follows("client-1", WEB, &["web-2"])?;
        fixture.follows("client-1", ("10.96.1.3:80", "new.shop"), &["web-2"])?;
        // The version must be far ahead of what the restored store has.
        for turn in 0..20 {
            let value = format!("turn={turn}");
            let how = ["annotate", "namespace", "shop", "--overwrite", &value];
            fixture.cluster.kubectl(&how)?;
        }
        fixture.under_traffic("client-1", WEB, &["web-1", "web-2"], |fixture| {
            fixture.cluster.restore_store()?;
            let back = comes_true(|| {
                let apps = fixture.answering("client-1", WEB.0, WEB.1);
                apps.is_ok_and(|apps| apps == ["web-1", "web-2"])
            });
            ensure!(back, "the routes stay\n{}", fixture.reef_tail());
            let clusters = || fixture.mesh.envoy_admin("client-1", "/clusters");
            let left = comes_true(|| {
                clusters().is_ok_and(|all| {
                    all.contains("old.shop.svc")
                        && !all.contains("new.shop.svc")
                        && !all.contains("|v2|")
                })
            });
            ensure!(left, "not as the backup has it\n{}", fixture.reef_tail());
            Ok(())
        })?;
        fixture.follows("client-1", ("10.96.1.2:80", "old.shop"), &["web-1"])?;
        // One list of each kind, and what it found in one change.
        let relists = metrics("reef_source_relists_total")?;
        let rewound = relists.keys().filter(|labels| labels.contains("rewound"));
        ensure!(rewound.count() >= 15, "{relists:?}");
        let complaints = fixture.mesh.complaints()?;
        ensure!(complaints.is_empty(), "{complaints:?}");
        fixture.cluster.apply(TO_V2)?;
        fixture.follows("client-1", WEB, &["web-2"])
    })
    .unwrap();
}

/// What Reef says is wrong with an object, by its kind and name.
fn problems(fixture: &Fixture, object: &str) -> Vec<String> {
    let token = fixture
        .cluster
        .token_for("reef-system", "reef", None, AUDIENCE);
    let page = call::page_as(MONITORING, "/debug/problems", token.ok().as_deref());
    let all: Vec<Value> = serde_json::from_str(&page.unwrap_or_default()).unwrap_or_default();
    all.iter()
        .map(ToString::to_string)
        .filter(|problem| problem.contains(object))
        .collect()
}

/// T6.
#[test]
fn an_object_nobody_can_read_hurts_only_itself() {
    let name = "faults::an_object_nobody_can_read_hurts_only_itself";
    isolated(name, |power| {
        // Definitions without fields let every object in.
        let options = ClusterOptions {
            bare_crds: true,
            ..ClusterOptions::default()
        };
        let mut fixture = Fixture::start_with(power, options, &shop())?;
        fixture.cluster.apply(TO_V2)?;
        fixture.follows("client-1", WEB, &["web-2"])?;

        let rule = TO_V2.split("---\n").nth(2).unwrap_or_default();
        let head = rule.split("  http:").next().unwrap_or_default();
        // A list is wanted there.
        let wrong = format!("{head}  http: everything\n");
        fixture.under_traffic("client-1", WEB, &["web-1", "web-2"], |fixture| {
            fixture.cluster.apply(&wrong)?;
            let unknown = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
                 metadata: {name: magic, namespace: shop}\n\
                 spec: {host: other, trafficPolicy: {loadBalancer: {simple: MAGIC}}}\n";
            fixture.cluster.apply(unknown)?;
            for object in ["VirtualService shop/web", "DestinationRule shop/magic"] {
                let named = comes_true(|| !problems(fixture, object).is_empty());
                ensure!(named, "nobody names {object}\n{}", fixture.reef_tail());
            }
            // Its last good version counts, together with what others say now.
            let to_v1 = TO_V2.replace("{version: v2}", "{version: v1}");
            let subset = to_v1.split("---\n").nth(1).unwrap_or_default();
            fixture.cluster.apply(subset)?;
            fixture.follows("client-1", WEB, &["web-1"])?;

            // Who starts now knows no good version; everything else is served.
            fixture.mesh.kill_reef();
            fixture.mesh.start_reef()?;
            fixture.follows("client-1", WEB, &["web-1", "web-2"])?;
            ensure!(!problems(fixture, "VirtualService shop/web").is_empty());
            fixture.cluster.apply(rule)?;
            fixture.follows("client-1", WEB, &["web-1"])?;
            let left = problems(fixture, "VirtualService shop/web");
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })
    })
    .unwrap();
}

/// T10.
#[test]
fn a_right_that_is_lost_is_named_and_costs_no_content() {
    let name = "faults::a_right_that_is_lost_is_named_and_costs_no_content";
    isolated(name, |power| {
        let mut fixture = Fixture::start(power, &shop())?;
        fixture.follows("client-1", WEB, &["web-1", "web-2"])?;
        let without = fixture.roles.replace("endpointslices", "elsewhere");
        ensure!(without != fixture.roles, "no role names endpointslices");
        let both = ["web-1", "web-2"];
        fixture.under_traffic("client-1", WEB, &both, |fixture| {
            fixture.cluster.apply(&without)?;
            // A watch that is open stays open: authorization looks at requests.
            fixture.cluster.restart_api()?;
            let named = comes_true(|| {
                let metrics = call::page(MONITORING, "/metrics").unwrap_or_default();
                let log = fixture.mesh.reef_log().unwrap_or_default();
                let says =
                    |line: &str| line.contains("no permission") && line.contains("endpointslices");
                log.lines().any(says) && metrics.contains("reef_source_stale_seconds")
            });
            ensure!(
                named,
                "nobody says what is missing\n{}",
                fixture.reef_tail()
            );
            ensure!(reef_is_ready(), "a lost right made Reef not ready");
            Ok(())
        })?;
        fixture.cluster.apply(&fixture.roles)?;
        fixture
            .cluster
            .apply(&slice("web", &[("web-1", "10.244.1.11")]))?;
        let back = comes_true(|| {
            let apps = fixture.answering("client-1", WEB.0, WEB.1);
            apps.is_ok_and(|apps| apps == ["web-1"])
        });
        ensure!(
            back,
            "the right is back, the content is not\n{}",
            fixture.reef_tail()
        );
        Ok(())
    })
    .unwrap();
}
