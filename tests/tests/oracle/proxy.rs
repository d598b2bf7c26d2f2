//! A real Envoy with the configuration of a mesh from a file, where connections are redirected to it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use reef_e2e::call::page;
use reef_e2e::mesh::comes_true;
use reef_e2e::namespace::shell;
use serde_json::{Value, json};

use crate::mesh::{Mesh, PLACE, PROXY};

/// Mark of Envoy's own connections, which are not redirected.
const MARK: u32 = 1339;
/// Header that every routed answer gets: cluster and route.
pub(crate) const TAKEN: &str = "x-oracle-taken";

/// Makes all addresses of meshes our own, and leads connections to them through Envoy.
pub(crate) fn network() -> Result<()> {
    shell(&format!(
        "ip route add local 10.0.0.0/8 dev lo\n\
         iptables -t nat -N ORACLE\n\
         iptables -t nat -A OUTPUT -p tcp -j ORACLE\n\
         iptables -t nat -A ORACLE -m mark --mark {MARK} -j RETURN\n\
         iptables -t nat -A ORACLE -s 127.0.0.6/32 -j RETURN\n\
         iptables -t nat -A ORACLE -d 127.0.0.0/8 -j RETURN\n\
         iptables -t nat -A ORACLE -d {PROXY}/32 -p tcp -j REDIRECT --to-ports 15006\n\
         iptables -t nat -A ORACLE -p tcp -j REDIRECT --to-ports 15001"
    ))
}

/// What `reef render` gives the proxy of a mesh, and what it says is wrong.
pub(crate) fn render(reef: &Path, folder: &Path, mesh: &Mesh) -> Result<(Value, String)> {
    let objects = folder.join("objects");
    std::fs::create_dir_all(&objects)?;
    let texts: Vec<String> = mesh.objects.iter().map(Value::to_string).collect();
    std::fs::write(objects.join("mesh.yaml"), texts.join("\n---\n"))?;
    let config = folder.join("mesh-config.yaml");
    std::fs::write(&config, mesh.config.to_string())?;
    let node = folder.join("node.yaml");
    let id = format!("sidecar~{PROXY}~client.default~default.svc.cluster.local");
    let text = json!({"id": id, "metadata": {
        "NAMESPACE": "default", "INSTANCE_IPS": PROXY, "CLUSTER_ID": "Kubernetes",
        "WORKLOAD_CERT": "none", "LABELS": {"app": "client"},
    }, "locality": {"region": PLACE.0, "zone": PLACE.1}});
    std::fs::write(&node, text.to_string())?;
    let output = Command::new(reef)
        .args(["render", "-o", "json", "--mesh-config"])
        .arg(&config)
        .arg("--node")
        .arg(&node)
        .arg(&objects)
        .output()
        .context("reef render")?;
    let problems = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "reef render: {problems}");
    Ok((serde_json::from_slice(&output.stdout)?, problems))
}

/// Resources of a type in a dump, without their types.
fn resources(dump: &Value, kind: &str) -> Vec<Value> {
    match dump {
        Value::Array(list) => list.iter().flat_map(|one| resources(one, kind)).collect(),
        Value::Object(fields) => {
            let ours = fields.get("@type").and_then(Value::as_str);
            if ours.is_some_and(|name| name.ends_with(kind)) {
                let mut fields = fields.clone();
                fields.remove("@type");
                return vec![Value::Object(fields)];
            }
            fields
                .values()
                .flat_map(|one| resources(one, kind))
                .collect()
        }
        _ => Vec::new(),
    }
}

/// A bootstrap with all of a dump in it: routes and load assignments inline.
fn bootstrap(dump: &Value) -> Value {
    let endpoints = resources(dump, ".v3.ClusterLoadAssignment");
    let mut clusters = resources(dump, "cluster.v3.Cluster");
    for cluster in &mut clusters {
        if cluster["type"] == "EDS" {
            let service = cluster["eds_cluster_config"]["service_name"].as_str();
            let name = service.or(cluster["name"].as_str()).unwrap_or_default();
            let found = endpoints.iter().find(|one| one["cluster_name"] == name);
            cluster["load_assignment"] = found
                .cloned()
                .unwrap_or_else(|| json!({"cluster_name": name}));
            cluster["type"] = json!("STATIC");
            cluster
                .as_object_mut()
                .map(|one| one.remove("eds_cluster_config"));
        }
    }
    let routes = resources(dump, ".v3.RouteConfiguration");
    let mut listeners = resources(dump, "listener.v3.Listener");
    listeners.iter_mut().for_each(|one| inline(one, &routes));
    json!({
        "node": {"id": "oracle", "cluster": "oracle"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 15000}}},
        "cluster_manager": {"upstream_bind_config": {
            "source_address": {"address": "0.0.0.0", "port_value": 0},
            "socket_options": [{"level": 1, "name": 36, "int_value": MARK, "state": "STATE_PREBIND"}],
        }},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    })
}

/// Replaces names of route configurations by what has the name, and lets each tell what was taken.
fn inline(value: &mut Value, routes: &[Value]) {
    match value {
        Value::Object(fields) => {
            if let Some(rds) = fields.remove("rds") {
                let name = &rds["route_config_name"];
                let found = routes.iter().find(|one| one["name"] == *name);
                let route = found.cloned().unwrap_or_else(|| json!({"name": name}));
                fields.insert("route_config".to_owned(), route);
            }
            if let Some(route) = fields.get_mut("route_config") {
                route["response_headers_to_add"] = json!([{
                    "header": {"key": TAKEN, "value": "%UPSTREAM_CLUSTER_RAW%;%ROUTE_NAME%"},
                }]);
            }
            fields.values_mut().for_each(|one| inline(one, routes));
        }
        Value::Array(list) => list.iter_mut().for_each(|one| inline(one, routes)),
        _ => {}
    }
}

/// A running Envoy; it ends with this value.
#[derive(Debug)]
pub(crate) struct Envoy {
    child: Child,
    log: PathBuf,
}

impl Envoy {
    /// Starts one and waits until it takes connections.
    pub(crate) fn start(binary: &Path, folder: &Path, dump: &Value) -> Result<Self> {
        let config = folder.join("envoy.json");
        std::fs::write(&config, bootstrap(dump).to_string())?;
        let log = folder.join("envoy.log");
        let child = Command::new(binary)
            .args([
                "--disable-hot-restart",
                "--concurrency",
                "1",
                "-l",
                "error",
                "-c",
            ])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .spawn()
            .context("envoy")?;
        let mut envoy = Self { child, log };
        let mut ended = false;
        let ready = comes_true(|| {
            ended = envoy.child.try_wait().is_ok_and(|status| status.is_some());
            ended || page("127.0.0.1:15000", "/ready").is_ok()
        });
        if ended || !ready {
            bail!("envoy does not start: {}", envoy.said());
        }
        Ok(envoy)
    }

    /// What it printed.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().unwrap_or_default();
        let _status = self.child.wait();
    }
}
