//! The chart's Deployment, run as a whole: its container, arguments, environment, mounts and probes, with the rights of
//! its ServiceAccount, for every value that changes what is run.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reef_e2e::call;
use reef_e2e::cluster::audit::used;
use reef_e2e::cluster::objects::read;
use reef_e2e::cluster::{Cluster, ClusterOptions, REEF};
use reef_e2e::mesh::{PATIENCE, program, wait};
use reef_e2e::namespace::{Power, isolated};
use reef_e2e::net::{HOST, make_bridge};
use reef_e2e::pod_runner::{Images, RunningPod};
use serde_json::{Value, json};

use crate::support::{BASE, rendered};

const TEMPLATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/helm/reef/templates");

/// Sets of values that run something else than the default does, as `--set` takes them; the first is the default.
const CASES: [&[&str]; 8] = [
    &[],
    &["plaintextXds=true"],
    &["global.istiod.enableAnalysis=true"],
    &[
        "sidecarInjectorWebhook.enabled=false",
        "global.configValidation=false",
    ],
    &["ipFamilies={IPv6}", "ipFamilyPolicy=SingleStack"],
    &[
        "tokenAudiences={istio-ca,https://example.com}",
        "keepaliveMaxServerConnectionAge=1h",
        "drainDuration=10s",
        "debounceAfter=20ms",
        "debounceMax=200ms",
        "unenforcedSecurity=allow",
    ],
    &[
        "global.multiCluster.clusterName=east",
        "global.proxy.clusterDomain=mesh.local",
        "meshConfig.rootNamespace=mesh-root",
    ],
    &[
        "global.istioNamespace=elsewhere",
        "global.logging.level=info\\,reef_server=debug",
        "global.logAsJson=true",
        "extraContainerArgs={--compare-every=1m}",
        "env.REEF_DEBUG_NAMESPACES=default",
    ],
];

/// Values that a text of the templates reads, such as `global.logging.level`.
fn values_of(text: &str) -> BTreeSet<String> {
    let parts = text.split(".Values.").skip(1);
    let name = |part: &str| {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '.');
        part.split_at(end.unwrap_or(part.len())).0.to_owned()
    };
    parts.map(name).collect()
}

/// The values that decide over arguments and environment of the container.
fn deciding() -> Result<BTreeSet<String>> {
    let template = std::fs::read_to_string(Path::new(TEMPLATES).join("deployment.yaml"))?;
    let (_, rest) = template.split_once(" args:").context("no arguments")?;
    let (run, _) = rest.split_once(" ports:").context("no ports")?;
    let mut found = values_of(run);
    let helpers = std::fs::read_to_string(Path::new(TEMPLATES).join("_helpers.tpl"))?;
    for helper in ["reef.anyAddress", "reef.meshNamespace"] {
        let define = format!("{{{{- define \"{helper}\" -}}}}");
        let (_, body) = helpers.split_once(&define).context(helper)?;
        let body = body.split("\n{{- define").next().unwrap_or_default();
        let body = body.split("\n{{/*").next().unwrap_or_default();
        found.extend(values_of(body));
    }
    Ok(found)
}

/// What a kubelet has for the pod: programs, tokens and ConfigMaps.
fn images(cluster: &Cluster, manifests: &[Value]) -> Result<Images> {
    let token = ["create", "token", "reef", "-n", "reef-system"];
    let own = cluster.kubectl(&token)?.trim().to_owned();
    let audience = cluster.token_for("reef-system", "reef", None, "istio-ca")?;
    let (_, port) = cluster.address().rsplit_once(':').map_or_else(
        || (String::new(), String::new()),
        |(host, port)| (host.to_owned(), port.to_owned()),
    );
    let mut config_maps = std::collections::BTreeMap::new();
    for map in manifests
        .iter()
        .filter(|object| object["kind"] == "ConfigMap")
    {
        let name = map["metadata"]["name"].as_str().unwrap_or_default();
        for (key, value) in map["data"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            config_maps.insert((name.to_owned(), key.clone()), value);
        }
    }
    let root = std::fs::read_to_string(cluster.ca_file())?;
    config_maps.insert(("kube-root-ca.crt".to_owned(), "ca.crt".to_owned()), root);
    Ok(Images {
        programs: [("reef".to_owned(), program("reef", "REEF_BIN")?)].into(),
        entrypoints: [("discovery".to_owned(), vec!["reef".to_owned()])].into(),
        environment: [
            ("KUBERNETES_SERVICE_HOST".to_owned(), HOST.to_string()),
            ("KUBERNETES_SERVICE_PORT".to_owned(), port),
        ]
        .into(),
        tokens: [
            (String::new(), own),
            ("istio-ca".to_owned(), audience.clone()),
        ]
        .into(),
        token: audience,
        config_maps,
        ..Images::default()
    })
}

/// Takes the chart with these values: what the API server makes of the Deployment, and everything else applied.
fn install(cluster: &Cluster, values: &[&str]) -> Result<(Value, Vec<Value>)> {
    let objects = read(&rendered(cluster, values)?)?;
    let kinds = [
        "ServiceAccount",
        "ConfigMap",
        "Role",
        "RoleBinding",
        "ClusterRole",
        "ClusterRoleBinding",
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
        "Deployment",
    ];
    let wanted = objects
        .iter()
        .filter(|object| kinds.iter().any(|kind| object["kind"] == *kind));
    let texts: Vec<String> = wanted.map(Value::to_string).collect();
    cluster.apply(&texts.join("\n---\n"))?;
    cluster.wait_rights()?;
    let get = [
        "get",
        "deployment",
        "reef",
        "-n",
        "reef-system",
        "-o",
        "json",
    ];
    Ok((serde_json::from_str(&cluster.kubectl(&get)?)?, objects))
}

/// How long a probe may fail before Kubernetes acts on it.
fn patience(probe: &Value) -> Duration {
    let number = |name: &str| probe[name].as_u64().unwrap_or(1);
    Duration::from_secs(number("periodSeconds") * number("failureThreshold"))
}

/// Runs a pod of the Deployment and looks at it as a kubelet and a Service do.
fn run(cluster: &Cluster, at: u8, values: &[&str], work: &Path) -> Result<Vec<String>> {
    let (deployment, objects) = install(cluster, values)?;
    let template = &deployment["spec"]["template"];
    let mut pod = json!({"metadata": template["metadata"], "spec": template["spec"]});
    pod["metadata"]["name"] = format!("reef-{at}").into();
    pod["metadata"]["namespace"] = "reef-system".into();
    let container = template["spec"]["containers"][0].clone();
    let arguments = container["args"].as_array().cloned().unwrap_or_default();
    let ip = Ipv4Addr::new(10, 244, 3, 10 + at);
    let running = RunningPod::start(&pod, ip, &images(cluster, &objects)?, work)?;
    let tail = || running.tail("discovery");
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        ensure!(container[probe].is_object(), "no {probe}");
        // Ready is who has followed everything, for which Kubernetes waits.
        let limit = match probe {
            "readinessProbe" => PATIENCE,
            _ => patience(&container[probe]),
        };
        let mut last = String::new();
        let answers = wait(limit, || {
            let answer = running.probe(&container, probe);
            last = answer
                .as_ref()
                .map_or_else(ToString::to_string, String::clone);
            answer.is_ok()
        });
        ensure!(answers, "{probe}: {last}\n{}", tail());
    }
    // Every port that is named is there, and the plaintext one only if it is asked for.
    let ports = container["ports"].as_array().cloned().unwrap_or_default();
    let open = |port: u64| -> Result<bool> {
        let address = (ip, u16::try_from(port)?).into();
        Ok(TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok())
    };
    let mut names = BTreeSet::new();
    for port in &ports {
        let number = port["containerPort"].as_u64().context("no number")?;
        ensure!(open(number)?, "nothing listens on {port}\n{}", tail());
        names.insert(port["name"].as_str().unwrap_or_default().to_owned());
    }
    ensure!(
        open(15010)? == names.contains("grpc-xds"),
        "15010\n{}",
        tail()
    );
    let service = objects.iter().find(|object| object["kind"] == "Service");
    let targets = service.context("no Service")?["spec"]["ports"].as_array();
    for target in targets.into_iter().flatten() {
        let name = target["targetPort"].as_str().unwrap_or_default();
        ensure!(
            names.contains(name),
            "the Service leads to {name:?}, and no port is called so"
        );
    }
    // What `kubectl exec deploy/reef --` asks is shown to Reef's own token, and to nobody without one.
    let status = running.exec("discovery", &["reef", "status", "-o", "json"])?;
    let status: Value = serde_json::from_str(&status).with_context(|| status.clone())?;
    ensure!(!status.is_null(), "reef status says nothing");
    let nobody = ["reef", "status", "--token-file", "/dev/null"];
    ensure!(
        running.exec("discovery", &nobody).is_err(),
        "nobody is told"
    );
    // What annotations tell Prometheus is there.
    let annotations = &template["metadata"]["annotations"];
    let port = annotations["prometheus.io/port"].as_str();
    let page = call::page(&format!("{ip}:{}", port.context("no port")?), "/metrics")?;
    ensure!(page.contains("pilot_info"), "{page}");
    // Somebody leads only where status is written.
    let leads = page.contains("leader_election_master_status");
    let asked = arguments.iter().any(|argument| argument == "--status");
    ensure!(leads == asked, "{arguments:?}");
    let words = arguments.iter().filter_map(Value::as_str);
    let environment = container["env"].to_string();
    Ok(words.map(str::to_owned).chain([environment]).collect())
}

#[test]
fn the_deployment_runs_and_answers_its_probes_with_every_value() {
    let name = "deployment::the_deployment_runs_and_answers_its_probes_with_every_value";
    isolated(name, |power| {
        ensure!(
            power == Power::Root,
            "this test must be root: a container has a user of its own (sudo -E cargo xtask test)"
        );
        // Every value that decides over what is run is in a case.
        let set: BTreeSet<&str> = CASES
            .iter()
            .flat_map(|case| case.iter())
            .filter_map(|value| value.split('=').next())
            .collect();
        for value in deciding()? {
            let inside = format!("{value}.");
            ensure!(
                set.iter()
                    .any(|name| *name == value || name.starts_with(&inside)),
                "no case sets {value}"
            );
        }

        let work = tempfile::tempdir()?;
        reef_e2e::namespace::run(
            std::process::Command::new("chmod")
                .arg("755")
                .arg(work.path()),
        )?;
        make_bridge()?;
        let options = ClusterOptions {
            // Pods come from their own networks.
            api_arguments: vec!["--bind-address=0.0.0.0".to_owned()],
            ..ClusterOptions::default()
        };
        let cluster = Cluster::start(&work.path().join("cluster"), options)?;
        cluster.apply(BASE)?;
        let mut default = Vec::new();
        for (at, case) in (0..).zip(CASES) {
            let what = run(&cluster, at, case, work.path()).with_context(|| format!("{case:?}"))?;
            if at == 0 {
                default = what;
            } else {
                ensure!(what != default, "{case:?} runs what the default does");
            }
        }
        let (_, denied) = used(&cluster.audit()?, REEF);
        let denied: Vec<String> = denied.iter().map(ToString::to_string).collect();
        ensure!(denied.is_empty(), "denied: {denied:#?}");
        Ok(())
    })
    .unwrap();
}
