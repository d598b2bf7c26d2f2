//! Reef's webhooks, registered by its chart and called by the API server over TLS: the authority that Reef made reaches
//! the API server and the pods by itself (EF test T22 besides).

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use reef_e2e::cluster::{ClusterOptions, objects};
use reef_e2e::mesh::{comes_true, program};
use reef_e2e::namespace::{Power, isolated};
use reef_e2e::net::{HOST, Running};
use reef_e2e::pod_runner::{Images, RunningPod};
use serde_json::Value;

use crate::objects::{labelled, pod, service, slice};
use crate::support::{AUDIENCE, Fixture, SERVER, chart, metrics};

const HOOKS: u16 = 15017;
/// The pod that is injected, of a namespace of Reef's revision.
const SERVED: (&str, Ipv4Addr) = ("web-1", Ipv4Addr::new(10, 244, 1, 40));

/// A rule that is well formed and means nothing.
const BAD: &str = "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bad, namespace: ours}
spec:
  hosts: [web]
  http: [{route: [{destination: {host: web}}], redirect: {uri: /elsewhere}}]
";

/// Moves objects of the namespace `shop` to the one of our revision.
fn ours(manifests: &str) -> String {
    manifests.replace("namespace: shop", "namespace: ours")
}

/// Containers of a pod named as Envoy's.
fn sidecars(pod: &Value) -> usize {
    let lists = ["initContainers", "containers"].map(|list| pod["spec"][list].as_array());
    let all = lists.into_iter().flatten().flatten();
    all.filter(|container| container["name"] == "istio-proxy")
        .count()
}

/// What the API server would make of manifests of one object.
fn dry_run(fixture: &Fixture, manifest: &str) -> Result<Value> {
    let how = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
    Ok(serde_json::from_str(
        &fixture.cluster.kubectl_with(&how, manifest)?,
    )?)
}

/// The certificates that a configuration trusts, one for each webhook.
fn trusted(fixture: &Fixture, kind: &str, name: &str) -> Result<Vec<String>> {
    let template = "go-template={{range .webhooks}}{{with .clientConfig.caBundle}}{{. | base64decode}}{{end}};{{end}}";
    let text = fixture
        .cluster
        .kubectl(&["get", kind, name, "-o", template])?;
    let list: Vec<String> = text.split(';').map(|one| one.trim().to_owned()).collect();
    Ok(list[..list.len() - 1].to_vec())
}

/// Registers Reef's webhooks as its chart does, and says where Reef's Service is; returns the settings of injection.
fn register(fixture: &Fixture) -> Result<String> {
    let kinds = [
        "Service",
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
    ];
    fixture.cluster.apply(&chart(&fixture.cluster, &kinds)?)?;
    // Nobody watches Services here.
    fixture.cluster.apply(&format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: reef-1\n  namespace: reef-system\n  \
         labels: {{kubernetes.io/service-name: reef}}\naddressType: IPv4\n\
         ports: [{{name: https-webhook, port: {HOOKS}, protocol: TCP}}]\n\
         endpoints: [{{addresses: [{HOST}], conditions: {{ready: true}}}}]\n"
    ))?;
    let maps = objects::read(&chart(&fixture.cluster, &["ConfigMap"])?)?;
    let settings = maps
        .iter()
        .find_map(|map| map["data"]["injection.yaml"].as_str());
    Ok(settings
        .context("the chart has no settings of injection")?
        .to_owned())
}

/// The programs of the images, and what else a node would give to a pod.
fn images(fixture: &Fixture) -> Result<Images> {
    let envoy = std::env::var("ENVOY_BIN").context("ENVOY_BIN is not set")?;
    let ours = |name: &str, variable: &str| program(name, variable).map(|at| (name.to_owned(), at));
    let app = "reef-testapp --name web-1 --http 8080 --control /control/app.sock";
    let account = Some(SERVED.0);
    Ok(Images {
        programs: [
            ours("reef", "REEF_BIN")?,
            ours("reef-testapp", "REEF_TESTAPP_BIN")?,
            ("envoy".to_owned(), envoy.into()),
        ]
        .into(),
        commands: [(
            "app".to_owned(),
            app.split(' ').map(str::to_owned).collect(),
        )]
        .into(),
        token: fixture
            .cluster
            .token_for("ours", "web", account, AUDIENCE)?,
        hosts: [(SERVER.to_owned(), HOST)].into(),
        ..Images::default()
    })
}

#[test]
fn the_api_server_trusts_reef_and_injected_pods_do() {
    let name = "webhook::the_api_server_trusts_reef_and_injected_pods_do";
    isolated(name, |power| {
        ensure!(
            power == Power::Root,
            "this test must be root: a pod has several users (sudo -E cargo xtask test)"
        );
        let client = pod("client-1", "10.244.1.10", "");
        let mut fixture = Fixture::prepare(power, ClusterOptions::default(), &client)?;
        let served = ours(&labelled(SERVED.0, &SERVED.1.to_string(), "", "version: v1"));
        fixture.cluster.apply(&ours(&[
            "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: ours, labels: {istio.io/rev: reef}}\n".to_owned(),
            "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web, namespace: ours}\n".to_owned(),
            service("web", "10.96.2.1"),
        ].concat()))?;
        let settings = fixture.work().join("injection.yaml");
        std::fs::write(&settings, register(&fixture)?)?;
        let settings = settings.to_string_lossy().into_owned();
        let address = format!("0.0.0.0:{HOOKS}");
        fixture.mesh.set_reef_arguments(&[
            "--validation",
            "--https-addr",
            &address,
            "--inject-config",
            &settings,
        ]);
        fixture.mesh.start_reef()?;
        fixture.start_pods(&client)?;

        // Nobody told the API server whom to trust but Reef.
        let authority = std::fs::read_to_string(fixture.authority())?;
        for (kind, name) in [
            ("mutatingwebhookconfiguration", "reef-sidecar-injector-reef-system"),
            ("validatingwebhookconfiguration", "reef-validator-reef-system"),
        ] {
            let mut now = Vec::new();
            let told = comes_true(|| {
                now = trusted(&fixture, kind, name).unwrap_or_default();
                now.len() == 2 && now.iter().all(|one| one == authority.trim())
            });
            ensure!(told, "{name} trusts {now:?}\n{}", fixture.reef_tail());
        }
        let asked = comes_true(|| {
            dry_run(&fixture, &served).is_ok_and(|pod| sidecars(&pod) == 1)
        });
        ensure!(asked, "{:?}\n{}", dry_run(&fixture, &served), fixture.reef_tail());

        // The pod as a node would run it: with what was injected and nothing else, it comes to 15012.
        fixture.cluster.apply(&served)?;
        fixture.cluster.apply(&ours(&slice("web", &[(SERVED.0, "10.244.1.40")])))?;
        let how = ["get", "pod", SERVED.0, "-n", "ours", "-o", "json"];
        let made: Value = serde_json::from_str(&fixture.cluster.kubectl(&how)?)?;
        ensure!(sidecars(&made) == 1, "{made}");
        let running = RunningPod::start(&made, SERVED.1, &images(&fixture)?, fixture.work())?;
        let flows = fixture.follows("client-1", ("10.96.2.1:80", "web.ours"), &[SERVED.0]);
        flows.with_context(|| running.tail("istio-proxy"))?;
        let proxies = fixture.mesh.reef_proxies()?;
        let is_it = |proxy: &Value| proxy["id"].as_str().is_some_and(|id| id.contains("~web-1.ours~"));
        ensure!(proxies.iter().any(is_it), "{proxies:?}");

        // What is refused, and why, is what `reef check` says.
        let refused = fixture.cluster.apply(BAD).err().context("a bad rule was taken")?;
        let refused = format!("{refused:#}");
        let folder = fixture.work().join("check");
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("bad.yaml"), BAD)?;
        let checked = Command::new(program("reef", "REEF_BIN")?).arg("check").arg(&folder).output()?;
        let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
        let told = refused.split("denied the request: ").nth(1).unwrap_or_default();
        ensure!(
            !told.is_empty() && checked.contains(told.trim()),
            "{refused}\nand check says\n{checked}"
        );
        // Objects of others are not looked at.
        fixture.cluster.apply(&BAD.replace("namespace: ours", "namespace: shop"))?;

        // T22: while others send what is no review, or too much, pods are made.
        let script = "head -c 100000000 /dev/zero > $1/zeros\n\
             curl() { command curl -sk --max-time 10 -o /dev/null \"$@\" || true; }\n\
             while true; do\n\
               curl --data-binary @$1/zeros https://$2/inject &\n\
               for at in 1 2 3 4 5 6 7 8; do curl -d '{[[[[' https://$2/validate & done\n\
               wait\n\
             done";
        let mut noise = Command::new("sh");
        noise
            .args(["-c", script, "sh"])
            .arg(fixture.work())
            .arg(format!("{HOST}:{HOOKS}"));
        let _noise = Running::start(&mut noise, fixture.work().join("noise.log"))?;
        for turn in 0..5 {
            let other = served.replace("name: web-1", &format!("name: other-{turn}"));
            let mut last = String::new();
            let made = comes_true(|| {
                let made = dry_run(&fixture, &other);
                last = format!("{made:?}");
                made.is_ok_and(|pod| sidecars(&pod) == 1)
            });
            ensure!(made, "{last}\n{}", fixture.reef_tail());
        }
        for name in ["sidecar_injection_failure_total", "reef_validation_failed_total"] {
            let count: f64 = metrics(name)?.values().sum();
            ensure!(count > 0.0, "{name} is {count}: there was no noise");
        }
        Ok(())
    })
    .unwrap();
}
