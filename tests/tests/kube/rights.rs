//! Reef asks for nothing it may not have, and may have nothing it does not ask for.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use reef_e2e::cluster::audit::{Right, granted, used};
use reef_e2e::cluster::objects::read;
use reef_e2e::cluster::{Cluster, ClusterOptions, REEF};
use reef_e2e::mesh::{PATIENCE, comes_true};
use reef_e2e::namespace::isolated;

use crate::objects::{TO_V2, WEB, shop};
use crate::status::{STATUS, is_told, rule};
use crate::support::{Fixture, lasting, roles_with};

/// What others may have laid out before: Reef fills it.
const LAID_OUT: &str = "---
apiVersion: v1
kind: Secret
metadata: {name: reef-serving, namespace: reef-system}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: reef-ca-root-cert, namespace: reef-system}
data: {root-cert.pem: of another}
";

/// Every kind that has a status.
const KINDS: [(&str, &str); 13] = [
    ("networking.istio.io/v1", "VirtualService"),
    ("networking.istio.io/v1", "DestinationRule"),
    ("networking.istio.io/v1", "ServiceEntry"),
    ("networking.istio.io/v1", "Sidecar"),
    ("networking.istio.io/v1", "Gateway"),
    ("networking.istio.io/v1", "WorkloadEntry"),
    ("networking.istio.io/v1", "WorkloadGroup"),
    ("networking.istio.io/v1alpha3", "EnvoyFilter"),
    ("networking.istio.io/v1beta1", "ProxyConfig"),
    ("security.istio.io/v1", "AuthorizationPolicy"),
    ("security.istio.io/v1", "PeerAuthentication"),
    ("security.istio.io/v1", "RequestAuthentication"),
    ("telemetry.istio.io/v1", "Telemetry"),
];

/// One object of each, with a field that nobody knows.
fn one_of_each() -> String {
    let object = |(version, kind)| {
        format!(
            "---\napiVersion: {version}\nkind: {kind}\n\
             metadata: {{name: odd, namespace: shop}}\nspec: {{nobodyKnows: true}}\n"
        )
    };
    KINDS.map(object).concat()
}

/// The rights used so far, which must not have been denied.
fn asked(cluster: &Cluster) -> Result<std::collections::BTreeSet<Right>> {
    let (all, denied) = used(&cluster.audit()?, REEF);
    let denied: Vec<String> = denied.iter().map(ToString::to_string).collect();
    ensure!(denied.is_empty(), "denied: {denied:#?}");
    Ok(all)
}

/// The chart's webhooks and settings of injection, into the cluster and a file.
fn webhooks(fixture: &Fixture) -> Result<PathBuf> {
    let mut settings = None;
    for part in read(&crate::support::rendered(&fixture.cluster, &[STATUS])?)? {
        let kind = part["kind"].as_str().unwrap_or_default();
        if kind.ends_with("WebhookConfiguration") {
            fixture.cluster.apply(&part.to_string())?;
        }
        if kind == "ConfigMap" && part["metadata"]["name"] == "reef" {
            settings = part["data"]["injection.yaml"].as_str().map(str::to_owned);
        }
    }
    let file = fixture.work().join("injection.yaml");
    std::fs::write(&file, settings.context("no settings of injection")?)?;
    Ok(file)
}

#[test]
fn nothing_is_asked_that_is_not_granted_and_all_that_is_granted_is_used() {
    let name = "rights::nothing_is_asked_that_is_not_granted_and_all_that_is_granted_is_used";
    isolated(name, |power| {
        let options = ClusterOptions {
            // Lists in one piece, as before Kubernetes 1.32.
            api_arguments: vec!["--feature-gates=WatchList=false".to_owned()],
            // Fields that nobody knows are kept.
            bare_crds: true,
            ..ClusterOptions::default()
        };
        let mut fixture = Fixture::prepare(power, options, &shop())?;
        fixture.roles = roles_with(&fixture.cluster, &[STATUS])?;
        fixture.cluster.apply(&fixture.roles)?;
        fixture.cluster.wait_rights()?;
        fixture.cluster.apply(LAID_OUT)?;
        let settings = webhooks(&fixture)?;
        let settings = settings.to_str().context("no text")?;
        fixture.mesh.set_reef_arguments(&[
            "--status",
            "--validation",
            "--https-addr=127.0.0.1:15017",
            "--inject-config",
            settings,
        ]);
        fixture.mesh.start_reef()?;
        fixture.start_pods(&shop())?;
        fixture.cluster.apply(TO_V2)?;
        fixture.follows("client-1", WEB, &["web-2"])?;
        // A token is shown for it.
        fixture.mesh.reef_proxies()?;

        // The streaming way, and what is made where nothing is laid out.
        fixture.mesh.kill_reef();
        fixture.cluster.set_api_arguments(&[]);
        fixture.cluster.restart_api()?;
        let map = ["delete", "configmap", "reef-ca-root-cert"];
        fixture
            .cluster
            .kubectl(&[&map[..], &["-n", "reef-system"]].concat())?;
        fixture.mesh.start_reef()?;
        fixture.mesh.wait_ready(PATIENCE)?;
        std::thread::sleep(lasting(3, 60));

        // Something wrong with each kind, and one thing that is mended and comes again.
        fixture.cluster.apply(&one_of_each())?;
        fixture.cluster.apply(&rule("bad", "whenever"))?;
        let cluster = &fixture.cluster;
        let told = |wanted: bool| {
            let done = comes_true(|| is_told(cluster, "bad") == Some(wanted));
            ensure!(done, "status: not {wanted}\n{}", fixture.reef_tail());
            Ok(())
        };
        told(true)?;
        for retries in ["5xx", "whenever", "5xx", "whenever"] {
            cluster.apply(&rule("bad", retries))?;
            told(retries == "whenever")?;
        }
        let granted = granted(&read(&fixture.roles)?);
        let mut unused = Vec::new();
        let all_used = comes_true(|| {
            let used = asked(cluster).unwrap_or_default();
            unused = granted.difference(&used).map(ToString::to_string).collect();
            unused.is_empty()
        });
        asked(cluster)?;
        ensure!(
            all_used,
            "granted and never used: {unused:#?}\n{}",
            fixture.reef_tail()
        );
        Ok(())
    })
    .unwrap();
}
