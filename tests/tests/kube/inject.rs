//! Injection by a real API server: what the webhook makes is valid, and beside istiod's each pod has one sidecar.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use reef_e2e::call;
use reef_e2e::cluster::{Cluster, ClusterOptions};
use reef_e2e::mesh::{comes_true, program};
use reef_e2e::namespace::{isolated, run};
use reef_e2e::net::Running;
use serde_json::{Value, json};

/// Port of Reef's webhooks, and of the one in istiod's place. Each test has a network of its own.
const REEF: u16 = 15017;
const ISTIOD: u16 = 15117;

/// The shapes of pods that the golden test of `reef-inject` has.
fn shapes() -> Result<Vec<(String, Value, Value)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/reef-inject/tests/golden");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let read = |file: &str| -> Result<Value> {
            let text = std::fs::read_to_string(entry.path().join(file))?;
            Ok(serde_saphyr::from_str(&text)?)
        };
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push((name, read("pod.yaml")?, read("expected.yaml")?));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    ensure!(found.len() >= 20, "{} shapes", found.len());
    Ok(found)
}

struct Webhooks {
    cluster: Cluster,
    bundle: String,
    work: PathBuf,
    _running: Vec<Running>,
}

impl Webhooks {
    /// Starts an API server, Reef with its webhooks, and the one in istiod's place; nobody is registered yet.
    fn start(work: &Path) -> Result<Self> {
        let (cert, key) = (work.join("hook.pem"), work.join("hook.key"));
        run(Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ])
            .args(["-nodes", "-days", "2", "-subj", "/CN=hook"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&cert))?;
        let options = ClusterOptions {
            bare_crds: true,
            ..ClusterOptions::default()
        };
        let cluster = Cluster::start(&work.join("cluster"), options)?;
        cluster.kubectl(&["create", "namespace", "shop"])?;
        let config = work.join("config");
        std::fs::create_dir(&config)?;
        let settings = work.join("settings.yaml");
        let text = "injection: {authority: {inline: \"-----BEGIN CERTIFICATE-----\\nMA==\\n-----END CERTIFICATE-----\\n\"}, \
                    initImage: 'reef-init:test', imagePullSecrets: [mesh, own]}";
        std::fs::write(&settings, text)?;
        let mut reef = Command::new(program("reef", "REEF_BIN")?);
        reef.args(["serve", "--validation", "--config-dir"])
            .arg(&config)
            .args(["--https-addr", &format!("127.0.0.1:{REEF}")])
            .arg("--tls-cert-file")
            .arg(&cert)
            .arg("--tls-key-file")
            .arg(&key)
            .arg("--inject-config")
            .arg(&settings);
        let mut reef = Running::start(&mut reef, work.join("reef.log"))?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/istiod_injector.py");
        let mut istiod = Command::new("python3");
        istiod
            .arg(script)
            .arg(ISTIOD.to_string())
            .args([&cert, &key]);
        let mut istiod = Running::start(&mut istiod, work.join("istiod.log"))?;
        let listens = |port: u16| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        let up = comes_true(|| {
            reef.ended() || (call::page("127.0.0.1:15014", "/ready").is_ok() && listens(REEF))
        });
        ensure!(up && !reef.ended(), "{}", reef.tail());
        let up = comes_true(|| istiod.ended() || listens(ISTIOD));
        ensure!(up && !istiod.ended(), "{}", istiod.tail());
        Ok(Self {
            cluster,
            bundle: base64(&std::fs::read(cert)?),
            work: work.to_path_buf(),
            _running: vec![reef, istiod],
        })
    }

    /// Registers injectors: name, port, selector of namespaces, selector of pods.
    fn register(&self, name: &str, port: u16, hooks: &[(&str, &str, &str)]) -> Result<()> {
        let mut webhooks = String::new();
        for (hook, namespaces, pods) in hooks {
            webhooks += &format!(
                "- name: {hook}\n  admissionReviewVersions: [v1]\n  sideEffects: None\n  failurePolicy: Fail\n  \
                 reinvocationPolicy: Never\n  clientConfig: {{url: 'https://127.0.0.1:{port}/inject', caBundle: {}}}\n  \
                 rules: [{{operations: [CREATE], apiGroups: [''], apiVersions: [v1], resources: [pods]}}]\n  \
                 namespaceSelector: {{matchExpressions: [{namespaces}]}}\n  \
                 objectSelector: {{matchExpressions: [{pods}]}}\n",
                self.bundle
            );
        }
        self.cluster.apply(&format!(
            "apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration\n\
             metadata: {{name: {name}}}\nwebhooks:\n{webhooks}"
        ))
    }

    /// Lets the API server make a pod, without keeping it. Returns it, or what was said against it.
    fn dry_run(&self, pod: &Value) -> Result<Result<Value, String>> {
        let mut pod = pod.clone();
        // As admission does for every pod; here it is off, for it wants the accounts to be there.
        if pod["spec"]["serviceAccountName"].is_null() {
            pod["spec"]["serviceAccountName"] = json!("default");
        }
        let how = [
            "create",
            "--dry-run=server",
            "--validate=strict",
            "-o",
            "json",
            "-f",
            "-",
        ];
        match self.cluster.kubectl_with(&how, &pod.to_string()) {
            Ok(text) => Ok(Ok(serde_json::from_str(&text)?)),
            Err(error) => Ok(Err(format!("{error:#}"))),
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(*group.get(at).unwrap_or(&0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for digit in 0..4 {
            let shift = 18 - 6 * digit;
            let index = usize::try_from((bits >> shift) & 63).unwrap_or_default();
            text.push(if digit > group.len() {
                '='
            } else {
                char::from(DIGITS[index])
            });
        }
    }
    text
}

const EVERYTHING: &[(&str, &str, &str)] = &[("all.reef.test", "", "")];

/// Containers of a pod named as Envoy's.
fn sidecars(pod: &Value) -> Vec<&Value> {
    ["initContainers", "containers"]
        .iter()
        .filter_map(|list| pod["spec"][*list].as_array())
        .flatten()
        .filter(|container| container["name"] == "istio-proxy")
        .collect()
}

#[test]
fn every_shape_of_pod_is_valid_after_injection() {
    let name = "inject::every_shape_of_pod_is_valid_after_injection";
    isolated(name, |_| {
        let work = tempfile::tempdir()?;
        let hooks = Webhooks::start(work.path())?;
        hooks.register("reef", REEF, EVERYTHING)?;
        let shapes = shapes()?;
        let (_, first, _) = shapes.first().context("no shapes")?;
        let registered = || {
            let made = hooks.dry_run(first);
            made.is_ok_and(|made| made.is_ok_and(|pod| sidecars(&pod).len() == 1))
        };
        ensure!(comes_true(registered), "{:?}", hooks.dry_run(first)?);
        for (shape, pod, expected) in &shapes {
            let made = hooks.dry_run(pod)?;
            if let Some(refusal) = expected["refused"].as_str() {
                let told = made.err().with_context(|| format!("{shape} was made"))?;
                let start: String = refusal.chars().take(40).collect();
                ensure!(told.contains(&start), "{shape}: {told}");
                continue;
            }
            let made = made.map_err(|error| anyhow::anyhow!("{shape}: {error}"))?;
            let status = &made["metadata"]["annotations"]["sidecar.istio.io/status"];
            let wanted = &expected["injected"];
            let ours = status.as_str().is_some_and(|s| s.contains("\"reef\""));
            ensure!(ours == wanted.is_object(), "{shape}: {status}");
            // The API server fills in defaults; what was asked for must be among it.
            includes(&made["spec"], &wanted["spec"], shape)?;
        }
        ensure!(hooks.work.join("reef.log").exists());
        Ok(())
    })
    .unwrap();
}

/// Whether a value has everything another has.
fn includes(whole: &Value, part: &Value, path: &str) -> Result<()> {
    match (whole, part) {
        (_, Value::Null) => {}
        (Value::Object(whole), Value::Object(part)) => {
            for (key, part) in part {
                let path = format!("{path}.{key}");
                // Empty lists are not written back.
                let whole = whole.get(key).unwrap_or(&Value::Null);
                if *part != json!([])
                    && *part != json!({})
                    && *part != json!(false)
                    && *part != json!(0)
                {
                    includes(whole, part, &path)?;
                }
            }
        }
        (Value::Array(whole), Value::Array(part)) => {
            ensure!(whole.len() == part.len(), "{path}: {whole:?}");
            for (index, (whole, part)) in whole.iter().zip(part).enumerate() {
                includes(whole, part, &format!("{path}[{index}]"))?;
            }
        }
        // Amounts come back in another spelling.
        _ if path.contains(".resources.") => {}
        _ => ensure!(whole == part, "{path}: {whole}, not {part}"),
    }
    Ok(())
}

/// Selectors of istiod's chart, for its default revision.
const ISTIODS: &[(&str, &str, &str)] = &[
    (
        "namespace.sidecar-injector.istio.io",
        "{key: istio-injection, operator: In, values: [enabled]}",
        "{key: sidecar.istio.io/inject, operator: NotIn, values: ['false']}",
    ),
    (
        "object.sidecar-injector.istio.io",
        "{key: istio-injection, operator: DoesNotExist}, {key: istio.io/rev, operator: DoesNotExist}",
        "{key: sidecar.istio.io/inject, operator: In, values: ['true']}, {key: istio.io/rev, operator: DoesNotExist}",
    ),
    (
        "rev.namespace.sidecar-injector.istio.io",
        "{key: istio.io/rev, operator: In, values: [default]}, {key: istio-injection, operator: DoesNotExist}",
        "{key: sidecar.istio.io/inject, operator: NotIn, values: ['false']}",
    ),
    (
        "rev.object.sidecar-injector.istio.io",
        "{key: istio.io/rev, operator: DoesNotExist}, {key: istio-injection, operator: DoesNotExist}",
        "{key: sidecar.istio.io/inject, operator: NotIn, values: ['false']}, {key: istio.io/rev, operator: In, values: [default]}",
    ),
];

/// Selectors of Reef's chart.
const REEFS: &[(&str, &str, &str)] = &[
    (
        "rev.namespace.injector.reef.internal",
        "{key: istio.io/rev, operator: In, values: [reef]}, {key: istio-injection, operator: DoesNotExist}",
        "{key: sidecar.istio.io/inject, operator: NotIn, values: ['false']}",
    ),
    (
        "rev.object.injector.reef.internal",
        "{key: istio.io/rev, operator: DoesNotExist}, {key: istio-injection, operator: DoesNotExist}",
        "{key: sidecar.istio.io/inject, operator: NotIn, values: ['false']}, {key: istio.io/rev, operator: In, values: [reef]}",
    ),
];

/// Labels of namespaces, labels of pods, and who injects: `r`eef, `i`stiod, `-` nobody.
const NAMESPACES: [(&str, &str, &str); 6] = [
    ("bare", "{}", "-r-ii-"),
    ("ours", "{istio.io/rev: reef}", "rr-rrr"),
    ("theirs", "{istio.io/rev: default}", "ii-iii"),
    ("old", "{istio-injection: enabled}", "ii-iii"),
    (
        "both",
        "{istio-injection: enabled, istio.io/rev: reef}",
        "ii-iii",
    ),
    ("off", "{istio-injection: disabled}", "------"),
];
const PODS: [&str; 6] = [
    "{}",
    "{istio.io/rev: reef}",
    "{istio.io/rev: reef, sidecar.istio.io/inject: 'false'}",
    "{istio.io/rev: default}",
    "{sidecar.istio.io/inject: 'true'}",
    "{sidecar.istio.io/inject: 'true', istio.io/rev: other}",
];

#[test]
fn beside_istiod_every_pod_has_one_sidecar() {
    let name = "inject::beside_istiod_every_pod_has_one_sidecar";
    isolated(name, |_| {
        let work = tempfile::tempdir()?;
        let hooks = Webhooks::start(work.path())?;
        hooks.register("istio-sidecar-injector", ISTIOD, ISTIODS)?;
        hooks.register("reef-sidecar-injector-reef-system", REEF, REEFS)?;
        for (namespace, labels, _) in NAMESPACES {
            hooks.cluster.apply(&format!(
                "apiVersion: v1\nkind: Namespace\nmetadata: {{name: '{namespace}', labels: {labels}}}\n"
            ))?;
        }
        let made = |namespace: &str, labels: &str| -> Result<Value> {
            let pod = json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": { "name": "p", "namespace": namespace, "labels": serde_saphyr::from_str::<Value>(labels)? },
                "spec": { "containers": [{ "name": "app", "image": "app" }] },
            });
            hooks.dry_run(&pod)?.map_err(anyhow::Error::msg)
        };
        let both_are_asked = || {
            let has = |namespace| made(namespace, "{}").is_ok_and(|pod| !sidecars(&pod).is_empty());
            has("ours") && has("theirs")
        };
        ensure!(
            comes_true(both_are_asked),
            "nobody is asked"
        );
        for (namespace, _, expected) in NAMESPACES {
            for (labels, expected) in PODS.iter().zip(expected.chars()) {
                let pod = made(namespace, labels)?;
                let found: Vec<char> = sidecars(&pod)
                    .iter()
                    .map(|sidecar| {
                        let is_istios =
                            sidecar["image"].as_str() == Some("docker.io/istio/proxyv2:1.28.0");
                        if is_istios { 'i' } else { 'r' }
                    })
                    .collect();
                let wanted: Vec<char> = [expected].into_iter().filter(|c| *c != '-').collect();
                ensure!(
                    found == wanted,
                    "{namespace} {labels}: {found:?}, not {wanted:?}"
                );
            }
        }
        Ok(())
    })
    .unwrap();
}
