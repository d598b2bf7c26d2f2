//! Injected pods, run: their init containers, their proxy, their probes, and traffic between them.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use reef_e2e::call::{Answer, Call, Protocol};
use reef_e2e::control;
use reef_e2e::mesh::{Mesh, comes_true, program};
use reef_e2e::namespace::{Power, isolated};
use reef_e2e::pod_runner::{Images, RunningPod};
use serde_json::{Value, json};

/// Shapes of `crates/reef-inject/tests/golden`, and what the pods are called here.
const SHAPES: [(&str, &str, Ipv4Addr); 3] = [
    (
        "owned-by-a-deployment",
        "web",
        Ipv4Addr::new(10, 244, 1, 10),
    ),
    ("probes-http", "probed", Ipv4Addr::new(10, 244, 1, 11)),
    ("init-containers", "client", Ipv4Addr::new(10, 244, 1, 12)),
];

/// Proxies reach Reef on the bridge, without TLS.
const SETTINGS: &str = "injection: {authority: plaintext, discoveryAddress: '10.244.0.1:15010'}";

const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.10, selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: probed, namespace: shop}
spec: {clusterIP: 10.96.0.11, selector: {app: probed}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
";

/// Reads a shape under another name and injects it by the command a person would use.
fn injected(shape: &str, name: &str, work: &Path) -> Result<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/reef-inject/tests/golden");
    let text = std::fs::read_to_string(folder.join(shape).join("pod.yaml"))?;
    let mut pod: Value = serde_saphyr::from_str(&text)?;
    let metadata = pod["metadata"].as_object_mut().context("no metadata")?;
    metadata.insert("name".to_owned(), name.into());
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    labels["app"] = name.into();
    let file = work.join(format!("{name}.json"));
    std::fs::write(&file, pod.to_string())?;
    let settings = work.join("settings.yaml");
    std::fs::write(&settings, SETTINGS)?;
    let output = Command::new(program("reef", "REEF_BIN")?)
        .args(["inject", "--file"])
        .arg(file)
        .arg("--inject-config")
        .arg(settings)
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{stderr}");
    Ok(serde_saphyr::from_str(&String::from_utf8(output.stdout)?)?)
}

fn images(pod: &str) -> Result<Images> {
    let envoy = std::env::var("ENVOY_BIN").context("ENVOY_BIN is not set")?;
    let words = |line: &str| line.split(' ').map(str::to_owned).collect();
    let app = format!("reef-testapp --name {pod} --http 8080 --control /control/app.sock");
    Ok(Images {
        programs: [
            ("reef".to_owned(), program("reef", "REEF_BIN")?),
            (
                "reef-testapp".to_owned(),
                program("reef-testapp", "REEF_TESTAPP_BIN")?,
            ),
            ("envoy".to_owned(), envoy.into()),
        ]
        .into(),
        commands: [
            ("app".to_owned(), words(&app)),
            (
                "admin".to_owned(),
                words("reef-testapp --name admin --http 9000"),
            ),
            ("wait".to_owned(), words("true")),
            ("migrate".to_owned(), words("true")),
        ]
        .into(),
        ..Images::default()
    })
}

fn get(from: &RunningPod, address: &str, host: &str) -> Result<Answer> {
    control::ask(
        from.control(),
        &Call {
            protocol: Protocol::Http1,
            address: address.to_owned(),
            authority: host.to_owned(),
            path: "/hello".to_owned(),
        },
    )
}

#[test]
fn injected_pods_start_are_probed_and_talk() {
    let name = "injected::injected_pods_start_are_probed_and_talk";
    isolated(
        name,
        |power| {
            ensure!(
                power == Power::Root,
                "this test must be root: a pod has several users (sudo -E cargo xtask test)"
            );
            let work = tempfile::tempdir()?;
            let config = work.path().join("config");
            std::fs::create_dir(&config)?;
            let mut manifests = SERVICES.to_owned();
            let mut pods = Vec::new();
            for (shape, name, ip) in SHAPES {
                let pod = injected(shape, name, work.path())?;
                let mut placed = pod.clone();
                placed["status"] = json!({
                    "podIP": ip.to_string(), "podIPs": [{ "ip": ip.to_string() }], "phase": "Running",
                    "conditions": [{ "type": "Ready", "status": "True" }],
                });
                manifests += &format!("{placed}\n---\n");
                for service in ["web", "probed"].iter().filter(|service| **service == name) {
                    let slice = json!({
                        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                        "metadata": { "name": service, "namespace": "shop", "labels": { "kubernetes.io/service-name": service } },
                        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
                        "endpoints": [{
                            "addresses": [ip.to_string()], "conditions": { "ready": true },
                            "targetRef": { "kind": "Pod", "name": name, "namespace": "shop" },
                        }],
                    });
                    manifests += &format!("{slice}\n---\n");
                }
                pods.push((pod, name, ip));
            }
            std::fs::write(config.join("mesh.yaml"), manifests)?;
            let mesh = Mesh::start(power, work.path(), &config)?;
            let mut running = Vec::new();
            for (pod, name, ip) in &pods {
                let pod = RunningPod::start(pod, *ip, &images(name)?, work.path());
                running.push(pod.with_context(|| (*name).to_owned())?);
            }
            let [_web, probed, client] = &running[..] else {
                anyhow::bail!("three pods");
            };
            for pod in &running {
                let there = || pod.control().exists();
                ensure!(comes_true(there), "{}", pod.tail("app"));
            }
            // Traffic goes through both proxies: the client's knows the virtual address, and each adds a header.
            for (address, app) in [("10.96.0.10:80", "web"), ("10.96.0.11:80", "probed")] {
                let host = format!("{app}.shop");
                let flows = || get(client, address, &host).is_ok_and(|answer| answer.app == app);
                ensure!(
                    comes_true(flows),
                    "{app}: {:?}",
                    get(client, address, &host)
                );
                let answer = get(client, address, &host)?;
                let seen: Value = serde_json::from_str(&answer.body)?;
                ensure!(seen["headers"]["x-request-id"].is_string(), "{seen}");
                // What the proxy hands to its application comes from an address of loopback.
                ensure!(seen["peer"] == "127.0.0.6", "{seen}");
            }
            // The kubelet's probes reach the application, by the paths it knows.
            let containers = &pods[1].0["spec"]["containers"];
            for (container, probe, app, path) in [
                (0, "livenessProbe", "probed", "/live"),
                (0, "readinessProbe", "probed", "/ready"),
                (0, "startupProbe", "probed", "/"),
                (1, "livenessProbe", "admin", "/healthz"),
            ] {
                let seen = probed.probe(&containers[container], probe)?;
                let seen: Value = serde_json::from_str(&seen)?;
                ensure!(
                    seen["app"] == app && seen["path"] == path,
                    "{probe}: {seen}"
                );
            }
            ensure!(mesh.complaints()?.is_empty());
            // Reef knows each proxy as its pod.
            let known = mesh.reef_proxies()?;
            for name in ["web.shop", "probed.shop", "client.shop"] {
                let is_it =
                    |proxy: &Value| proxy["id"].as_str().is_some_and(|id| id.contains(name));
                ensure!(known.iter().any(is_it), "{name}: {known:?}");
            }
            Ok(())
        },
    )
    .unwrap();
}
