//! What a directory of manifests says about pods and hosts outside the mesh.
//!
//! Reads only what is needed to start processes; what the objects mean is Reef's to know.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// Pod annotation of the tests: arguments of the app.
const LISTEN: &str = "reef-testapp/listen";

/// A pod to start.
#[derive(Debug, Clone)]
pub struct PodSpec {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its second address, of the other family.
    pub v6: Option<Ipv6Addr>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its service account.
    pub service_account: String,
    /// The node it runs on.
    pub node: Option<String>,
    /// Container ports with their names.
    pub ports: Vec<(String, u16)>,
}

impl PodSpec {
    /// What the app of the pod listens on: what an annotation says, else its container ports, each with the protocol its
    /// name begins with. `WORK` in the annotation is the folder of the mesh.
    pub fn listen(&self, work: &Path) -> Vec<String> {
        if let Some(arguments) = self.annotations.get(LISTEN) {
            let work = work.to_string_lossy();
            return arguments
                .split_whitespace()
                .map(|word| word.replace("WORK", &work))
                .collect();
        }
        let of_port = |(name, port): &(String, u16)| {
            let kind = if name.starts_with("tcp") {
                "--tcp"
            } else {
                "--http"
            };
            [kind.to_owned(), port.to_string()]
        };
        self.ports.iter().flat_map(of_port).collect()
    }
}

/// An endpoint of a ServiceEntry that is not a pod.
#[derive(Debug, Clone)]
pub struct OutsideSpec {
    /// First host of the entry; the app there calls itself so.
    pub host: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Ports it listens on.
    pub ports: Vec<u16>,
}

/// All objects of a directory, in order of path.
#[derive(Debug, Default)]
pub struct Manifests {
    objects: Vec<Value>,
}

impl Manifests {
    /// Reads every `.yaml` file of a folder.
    ///
    /// # Errors
    /// When a file cannot be read or is not YAML.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut paths: Vec<_> = std::fs::read_dir(folder)
            .with_context(|| format!("cannot read {}", folder.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
            .collect();
        paths.sort();
        let mut objects = Vec::new();
        for path in paths {
            let text = std::fs::read_to_string(&path)?;
            let mut here: Vec<Value> = serde_saphyr::from_multiple(&text)
                .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
            objects.append(&mut here);
        }
        Ok(Self { objects })
    }

    /// Reads the documents of one text.
    ///
    /// # Errors
    /// When it is not YAML.
    pub fn parse(text: &str) -> Result<Self> {
        let objects = serde_saphyr::from_multiple(text)
            .map_err(|error| anyhow::anyhow!("no YAML: {error}"))?;
        Ok(Self { objects })
    }

    fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |o| o["kind"] == kind)
    }

    /// Lists the pods that have an address.
    pub fn pods(&self) -> Vec<PodSpec> {
        self.of_kind("Pod").filter_map(pod).collect()
    }

    /// Lists endpoints of ServiceEntries in 192.0.2.0/24, the network outside the mesh.
    pub fn outside(&self) -> Vec<OutsideSpec> {
        let mut found = Vec::new();
        for entry in self.of_kind("ServiceEntry") {
            let spec = &entry["spec"];
            let host = text(&spec["hosts"][0]);
            let ports: Vec<u16> = items(&spec["ports"])
                .filter_map(|p| port(&p["targetPort"]).or_else(|| port(&p["number"])))
                .collect();
            for endpoint in items(&spec["endpoints"]) {
                let Ok(ip) = text(&endpoint["address"]).parse::<Ipv4Addr>() else {
                    continue;
                };
                if ip.octets()[0] == 192 {
                    let (host, ports) = (host.clone(), ports.clone());
                    found.push(OutsideSpec { host, ip, ports });
                }
            }
        }
        found
    }

    /// Finds the virtual address of a Service, or the first address of a ServiceEntry.
    ///
    /// # Errors
    /// When no object has such a host.
    pub fn address_of(&self, host: &str) -> Result<String> {
        for service in self.of_kind("Service") {
            let meta = &service["metadata"];
            let full = format!("{}.{}", text(&meta["name"]), text(&meta["namespace"]));
            if host == full || host == format!("{full}.svc.cluster.local") {
                return Ok(text(&service["spec"]["clusterIP"]));
            }
        }
        for entry in self.of_kind("ServiceEntry") {
            let spec = &entry["spec"];
            if items(&spec["hosts"]).any(|h| h == host) {
                let own = items(&spec["addresses"]).next();
                let endpoint = &spec["endpoints"][0]["address"];
                return Ok(text(own.unwrap_or(endpoint)));
            }
        }
        anyhow::bail!("no manifest has host {host}")
    }
}

fn pod(object: &Value) -> Option<PodSpec> {
    let (meta, spec) = (&object["metadata"], &object["spec"]);
    let ip = text(&object["status"]["podIP"]).parse().ok()?;
    let ports = items(&spec["containers"])
        .flat_map(|container| items(&container["ports"]))
        .filter_map(|p| Some((text(&p["name"]), port(&p["containerPort"])?)))
        .collect();
    let account = text(&spec["serviceAccountName"]);
    Some(PodSpec {
        name: text(&meta["name"]),
        namespace: text(&meta["namespace"]),
        ip,
        v6: items(&object["status"]["podIPs"]).find_map(|item| text(&item["ip"]).parse().ok()),
        labels: strings(&meta["labels"]),
        annotations: strings(&meta["annotations"]),
        service_account: if account.is_empty() {
            "default".to_owned()
        } else {
            account
        },
        node: Some(text(&spec["nodeName"])).filter(|node| !node.is_empty()),
        ports,
    })
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn port(value: &Value) -> Option<u16> {
    value.as_u64()?.try_into().ok()
}

fn strings(value: &Value) -> BTreeMap<String, String> {
    let map = value.as_object().into_iter().flatten();
    map.map(|(key, value)| (key.clone(), text(value))).collect()
}
