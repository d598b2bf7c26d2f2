//! The sidecar itself: two init containers, the proxy, their volumes, and the annotation that tells of them.

use reef_proxy::intercept::{InterceptMode, InterceptOptions};
use serde_json::{Value, json};

use crate::annotations::Wishes;
use crate::k8s::{
    Capabilities, Container, ContainerPort, DownwardFile, EnvVar, FieldRef, HttpGet, KeyToPath,
    Lifecycle, LocalObject, PreStop, Probe, RestartPolicy, SecurityContext, Sleep, Text,
    TokenProjection, TokenSource, Volume, VolumeMount, VolumeSource,
};
use crate::patch::Builder;
use crate::pod::Pod;
use crate::probes::Probes;
use crate::settings::Authority;
use crate::{PROXY_CONTAINER, Place, Refusal, STATUS, Settings};

/// Installs the rules; gone before anything else of the pod runs.
const INIT: &str = "reef-init";
/// Writes Envoy's configuration.
const BOOTSTRAP: &str = "reef-bootstrap";

/// Envoy's user and group, by which the rules know its connections; Istio's number.
pub(crate) const PROXY_ID: u32 = 1337;
const ROOT: u32 = 0;

/// Envoy's own ports that something outside asks.
const READY_PORT: u16 = 15021;
const PROMETHEUS_PORT: u16 = 15090;

// Volumes, under Istio's names where they hold the same.
const CONFIG: &str = "istio-envoy";
const CONFIG_DIR: &str = "/etc/istio/proxy";
const POD_INFO: &str = "istio-podinfo";
const POD_INFO_DIR: &str = "/etc/istio/pod";
const TOKEN: &str = "istio-token";
const TOKEN_DIR: &str = "/var/run/secrets/tokens";
const CA: &str = "reef-ca";
const CA_DIR: &str = "/var/run/secrets/istio";
const CA_FILE: &str = "root-cert.pem";

/// As Istio's: half a day; the kubelet renews it in time.
const TOKEN_SECONDS: u32 = 43_200;

/// Envoy's threads where nothing else is said, as in Istio: a node's number of cores would be too many.
const CONCURRENCY: i32 = 2;

/// Time a draining proxy takes at most, as in Istio.
const DRAIN_SECONDS: u64 = 45;

/// Adds everything to the patch.
pub(crate) fn add(
    pod: &Pod<'_>,
    place: &Place<'_>,
    settings: &Settings,
    wishes: &Wishes,
    probes: &Probes,
    patch: &mut Builder,
) -> Result<(), Refusal> {
    let mut containers = Vec::new();
    if let Some(options) = &wishes.intercept {
        let mut options = options.clone();
        options.exclude_inbound_ports.extend(&probes.excluded);
        containers.push(init(settings, &options));
    }
    containers.push(bootstrap(pod, place, settings, wishes, probes));
    containers.push(proxy(settings, wishes));
    let volumes = volumes(settings);
    for container in &containers {
        if pod
            .all_containers()
            .any(|(_, _, own)| own.name == container.name)
        {
            return Err(taken("container", container.name));
        }
    }
    for volume in &volumes {
        if pod.volumes.contains(&volume.name) {
            return Err(taken("volume", volume.name));
        }
    }
    patch_metadata(
        pod,
        patch,
        &status(settings, &containers, &volumes),
        settings,
    );
    // First of all, so that the init containers of the application have the network it has.
    let path = ["spec", "initContainers"];
    patch.prepend(&path, pod.has_list("initContainers"), &containers);
    patch.append(&["spec", "volumes"], pod.has_list("volumes"), &volumes);
    let own: Vec<&str> = pod.pull_secrets().collect();
    let secrets: Vec<LocalObject<'_>> = settings
        .image_pull_secrets
        .iter()
        .filter(|name| !own.contains(&name.as_str()))
        .map(|name| LocalObject { name })
        .collect();
    if !secrets.is_empty() {
        let is_there = pod.has_list("imagePullSecrets");
        patch.append(&["spec", "imagePullSecrets"], is_there, &secrets);
    }
    Ok(())
}

fn taken(what: &'static str, name: &str) -> Refusal {
    let name = name.to_owned();
    Refusal::NameTaken { what, name }
}

/// What tools read to see what was added; the members are Istio's.
fn status(settings: &Settings, containers: &[Container], volumes: &[Volume]) -> Value {
    let names: Vec<&str> = containers.iter().map(|it| it.name).collect();
    let volumes: Vec<&str> = volumes.iter().map(|it| it.name).collect();
    json!({
        "initContainers": names,
        "containers": [],
        "volumes": volumes,
        "imagePullSecrets": settings.image_pull_secrets,
        "revision": settings.revision,
    })
}

fn patch_metadata(pod: &Pod<'_>, patch: &mut Builder, status: &Value, settings: &Settings) {
    if !pod.has_metadata {
        patch.add(&["metadata"], json!({}));
    }
    let path = ["metadata", "annotations"];
    if !pod.has_annotations {
        patch.add(&path, json!({}));
    }
    for (name, value) in [
        (STATUS, status.to_string()),
        ("istio.io/rev", settings.revision.clone()),
    ] {
        patch.add(&[path[0], path[1], name], value);
    }
}

fn init(settings: &Settings, options: &InterceptOptions) -> Container {
    let mut args = texts(["intercept", "install"]);
    for (name, value) in options.annotations() {
        args.push("--annotation".into());
        args.push(format!("{name}={value}").into());
    }
    if settings.ipv4_only {
        args.push("--ipv4-only".into());
    }
    Container {
        name: INIT,
        args,
        security_context: SecurityContext {
            capabilities: Capabilities {
                add: &["NET_ADMIN", "NET_RAW"],
                ..Capabilities::default()
            },
            run_as_user: ROOT,
            run_as_group: ROOT,
            run_as_non_root: false,
            // iptables locks a file in /run.
            read_only_root_filesystem: false,
            ..restricted()
        },
        ..of_init_image(settings)
    }
}

fn bootstrap(
    pod: &Pod<'_>,
    place: &Place<'_>,
    settings: &Settings,
    wishes: &Wishes,
    probes: &Probes,
) -> Container {
    let mode = match &wishes.intercept {
        None => "none",
        Some(options) => match options.mode {
            InterceptMode::Redirect => "redirect",
            InterceptMode::Tproxy => "tproxy",
        },
    };
    let mut args = texts(["bootstrap"]);
    let mut option = |name: &str, value: &str| args.extend([name.into(), value.into()]);
    option("--discovery", &settings.discovery_address);
    option("--cluster-id", &settings.cluster_id);
    option("--cluster-domain", &settings.cluster_domain);
    if let Some(network) = &settings.network {
        option("--network", network);
    }
    if let Some(workload) = place.workload.or_else(|| pod.workload()) {
        option("--workload-name", workload);
    }
    option("--interception", mode);
    if let Some(port) = wishes.proxy.proxy_admin_port {
        option("--admin-port", &port.to_string());
    }
    option("--pod-info", POD_INFO_DIR);
    for (_, _, container) in pod.all_containers() {
        for port in container.ports() {
            let is_tcp = port.get("protocol").is_none_or(|p| p == "TCP");
            let number = port.get("containerPort").and_then(Value::as_u64);
            let number = number.and_then(|number| u16::try_from(number).ok());
            let Some(number) = number.filter(|number| *number > 0 && is_tcp) else {
                continue;
            };
            match port.get("name").and_then(Value::as_str) {
                Some(name) => option("--pod-port", &format!("{name}:{number}")),
                None => option("--pod-port", &number.to_string()),
            }
        }
    }
    let mut env = vec![
        EnvVar::field("POD_NAME", "metadata.name"),
        EnvVar::field("POD_NAMESPACE", "metadata.namespace"),
        EnvVar::field("INSTANCE_IP", "status.podIPs"),
        EnvVar::field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        EnvVar::field("NODE_NAME", "spec.nodeName"),
    ];
    if !probes.forwarded.is_empty() {
        if let Some(port) = wishes.probe_port {
            option("--probe-port", &port.to_string());
        }
        env.push(EnvVar::text(
            "REEF_APP_PROBES",
            &json!(probes.forwarded).to_string(),
        ));
    }
    match &settings.authority {
        Authority::Plaintext => {}
        Authority::Inline(pem) => {
            option("--token-file", &format!("{TOKEN_DIR}/{TOKEN}"));
            env.push(EnvVar::text("REEF_CA_CERT", pem));
        }
        Authority::ConfigMap { .. } => {
            option("--token-file", &format!("{TOKEN_DIR}/{TOKEN}"));
            option("--ca-file", &format!("{CA_DIR}/{CA_FILE}"));
        }
    }
    option("--file", &format!("{CONFIG_DIR}/bootstrap.json"));
    let volume_mounts = vec![
        mount(CONFIG, CONFIG_DIR, false),
        mount(POD_INFO, POD_INFO_DIR, true),
    ];
    Container {
        name: BOOTSTRAP,
        args,
        env,
        volume_mounts,
        ..of_init_image(settings)
    }
}

fn proxy(settings: &Settings, wishes: &Wishes) -> Container {
    let config = &wishes.proxy;
    let drain = config
        .drain_duration
        .map_or(DRAIN_SECONDS, |it| it.as_secs());
    let mut args = texts(["--disable-hot-restart"]);
    let mut option = |name: &str, value: &str| args.extend([name.into(), value.into()]);
    option("--config-path", &format!("{CONFIG_DIR}/bootstrap.json"));
    option("--log-level", &wishes.log_level);
    option("--drain-time-s", &drain.to_string());
    // 0 asks for one thread per core, which is what Envoy does by itself.
    match config.concurrency.unwrap_or(CONCURRENCY) {
        0 => {}
        threads => option("--concurrency", &threads.to_string()),
    }
    let is_tproxy = wishes
        .intercept
        .as_ref()
        .is_some_and(|it| it.mode == InterceptMode::Tproxy);
    let mut security_context = restricted();
    if is_tproxy {
        // For addresses of others; a user other than root would not get the capability.
        security_context.capabilities.add = &["NET_ADMIN"];
        security_context.run_as_user = ROOT;
        security_context.run_as_non_root = false;
    }
    let ready = Probe {
        http_get: HttpGet {
            path: "/healthz/ready",
            port: READY_PORT,
        },
        initial_delay_seconds: wishes.readiness.initial_delay_seconds,
        period_seconds: wishes.readiness.period_seconds,
        timeout_seconds: 3,
        failure_threshold: wishes.readiness.failure_threshold,
    };
    // What comes after a sidecar waits for its startup probe.
    let holds = config.hold_application_until_proxy_starts.unwrap_or(true);
    let startup = holds.then(|| Probe {
        initial_delay_seconds: 0,
        period_seconds: 1,
        failure_threshold: 600,
        ..ready.clone()
    });
    // The kubelet ends a sidecar after the application; whoever wants it to stay longer says so.
    let pause = config.termination_drain_duration.map(|it| it.as_secs());
    let lifecycle = pause
        .filter(|seconds| *seconds > 0)
        .map(|seconds| Lifecycle {
            pre_stop: PreStop {
                sleep: Sleep { seconds },
            },
        });
    let mut volume_mounts = vec![mount(CONFIG, CONFIG_DIR, true)];
    match &settings.authority {
        Authority::Plaintext => {}
        Authority::Inline(_) => volume_mounts.push(mount(TOKEN, TOKEN_DIR, true)),
        Authority::ConfigMap { .. } => {
            volume_mounts.extend([mount(TOKEN, TOKEN_DIR, true), mount(CA, CA_DIR, true)])
        }
    }
    Container {
        name: PROXY_CONTAINER,
        image: wishes.image.clone(),
        image_pull_policy: settings.image_pull_policy,
        restart_policy: Some(RestartPolicy::Always),
        command: texts(["envoy"]),
        args,
        ports: vec![ContainerPort {
            name: "http-envoy-prom",
            container_port: PROMETHEUS_PORT,
            protocol: "TCP",
        }],
        resources: wishes.resources.clone(),
        security_context,
        startup_probe: startup,
        readiness_probe: Some(ready),
        lifecycle,
        volume_mounts,
        ..Container::default()
    }
}

fn of_init_image(settings: &Settings) -> Container {
    Container {
        image: settings.init_image.clone(),
        image_pull_policy: settings.image_pull_policy,
        command: texts(["reef"]),
        resources: settings.init_resources.clone(),
        security_context: restricted(),
        ..Container::default()
    }
}

/// What Kubernetes' profile of the name asks for, and a read-only root.
fn restricted() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: false,
        privileged: false,
        read_only_root_filesystem: true,
        run_as_user: PROXY_ID,
        run_as_group: PROXY_ID,
        run_as_non_root: true,
        ..SecurityContext::default()
    }
}

fn volumes(settings: &Settings) -> Vec<Volume> {
    let field = |path, field_path| DownwardFile {
        path,
        field_ref: FieldRef { field_path },
    };
    let mut volumes = vec![
        Volume {
            name: CONFIG,
            source: VolumeSource::EmptyDir {
                medium: "Memory",
                size_limit: "16Mi",
            },
        },
        Volume {
            name: POD_INFO,
            source: VolumeSource::DownwardApi {
                items: vec![
                    field("labels", "metadata.labels"),
                    field("annotations", "metadata.annotations"),
                ],
            },
        },
    ];
    if settings.authority == Authority::Plaintext {
        return volumes;
    }
    volumes.push(Volume {
        name: TOKEN,
        source: VolumeSource::Projected {
            sources: [TokenSource {
                service_account_token: TokenProjection {
                    audience: settings.token_audience.clone(),
                    expiration_seconds: TOKEN_SECONDS,
                    path: TOKEN,
                },
            }],
        },
    });
    if let Authority::ConfigMap { name, key } = &settings.authority {
        volumes.push(Volume {
            name: CA,
            source: VolumeSource::ConfigMap {
                name: name.clone(),
                items: [KeyToPath {
                    key: key.clone(),
                    path: CA_FILE,
                }],
            },
        });
    }
    volumes
}

fn mount(name: &'static str, mount_path: &'static str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name,
        mount_path,
        read_only,
    }
}

fn texts<const N: usize>(words: [&str; N]) -> Vec<Text> {
    words.map(Text::from).into()
}
