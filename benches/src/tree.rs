//! Directories of YAML, made from a scenario.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::scenario::Scenario;

/// Namespace of all service entries.
const ENTRIES: &str = "entries";

/// Writes the whole mesh; returns how many bytes.
pub(crate) fn write(dir: &Path, scenario: &Scenario) -> Result<u64> {
    let mut bytes = 0;
    for at in 0..scenario.services {
        bytes += put(&service_file(dir, at), &service(scenario, at))?;
        bytes += put(&endpoints_file(dir, at), &slice(scenario, at, 0))?;
    }
    for at in 0..scenario.service_entries {
        bytes += put(&entry_file(dir, at), &entry(scenario, at, 0))?;
    }
    for at in 0..scenario.namespaces {
        bytes += put(
            &dir.join(format!("namespaces/ns{at}.yaml")),
            &namespace(scenario, at),
        )?;
    }
    Ok(bytes)
}

/// Rewrites the one file that holds the endpoints of a service or entry, as an editor does: beside it, then renamed.
pub(crate) fn edit(dir: &Path, scenario: &Scenario, at: usize, version: usize) -> Result<String> {
    let (path, text, host) = if scenario.service_entries > 0 {
        (
            entry_file(dir, at),
            entry(scenario, at, version),
            entry_host(at),
        )
    } else {
        (
            endpoints_file(dir, at),
            slice(scenario, at, version),
            service_host(scenario, at),
        )
    };
    let beside = path.with_extension("tmp");
    fs::write(&beside, text).context("writing an edit")?;
    fs::rename(&beside, &path).context("renaming an edit")?;
    Ok(host)
}

/// A service entry of 20 endpoints.
pub(crate) fn entry_text() -> String {
    entry(&crate::scenario::LARGE_DIRECTORY, 7, 0)
}

/// The endpoints of a service after some edits.
pub(crate) fn slice_text(scenario: &Scenario, at: usize, version: usize) -> String {
    slice(scenario, at, version)
}

/// Something every proxy of namespace 0 imports.
pub(crate) const fn edited(_scenario: &Scenario) -> usize {
    0
}

/// Host of a service.
fn service_host(scenario: &Scenario, at: usize) -> String {
    format!("s{at}.{}.svc.cluster.local", scenario.namespace(at))
}

fn entry_host(at: usize) -> String {
    format!("e{at}.example.com")
}

fn service_file(dir: &Path, at: usize) -> PathBuf {
    dir.join(format!("services/{}/s{at}.yaml", at / 100))
}

fn endpoints_file(dir: &Path, at: usize) -> PathBuf {
    dir.join(format!("endpoints/{}/s{at}.yaml", at / 100))
}

fn entry_file(dir: &Path, at: usize) -> PathBuf {
    dir.join(format!("entries/{}/e{at}.yaml", at / 100))
}

fn put(path: &Path, text: &str) -> Result<u64> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).context("making a folder")?;
    }
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    Ok(u64::try_from(text.len())?)
}

/// An address of its own for each endpoint; `version` moves the first one.
fn address(scenario: &Scenario, at: usize, endpoint: usize, version: usize) -> String {
    let number = at * scenario.endpoints + endpoint;
    let net = if endpoint == 0 && version % 2 == 1 {
        11
    } else {
        10
    };
    format!(
        "{net}.{}.{}.{}",
        number / 62_500 % 250,
        number / 250 % 250,
        number % 250 + 1
    )
}

fn service(scenario: &Scenario, at: usize) -> String {
    let ns = scenario.namespace(at);
    let (high, low) = (at / 250 % 250, at % 250 + 1);
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: s{at}\n  namespace: {ns}\nspec:\n  clusterIP: 172.16.{high}.{low}\n  \
         selector:\n    app: s{at}\n  ports:\n  - name: http\n    port: 80\n    targetPort: 8080\n"
    )
}

fn slice(scenario: &Scenario, at: usize, version: usize) -> String {
    let ns = scenario.namespace(at);
    let mut text = format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: s{at}-a\n  namespace: {ns}\n  labels:\n    \
         kubernetes.io/service-name: s{at}\naddressType: IPv4\nports:\n- name: http\n  port: 8080\n  protocol: TCP\nendpoints:\n"
    );
    for endpoint in 0..scenario.endpoints {
        let ip = address(scenario, at, endpoint, version);
        let _infallible = writeln!(
            text,
            "- addresses: [\"{ip}\"]\n  conditions: {{ready: true}}\n  nodeName: node{}",
            endpoint % 3
        );
    }
    text
}

fn entry(scenario: &Scenario, at: usize, version: usize) -> String {
    let (high, low) = (at / 250 % 250, at % 250 + 1);
    let mut text = format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: e{at}\n  namespace: {ENTRIES}\nspec:\n  hosts:\n  \
         - {}\n  addresses:\n  - 172.20.{high}.{low}\n  location: MESH_INTERNAL\n  resolution: STATIC\n  ports:\n  - number: 80\n    name: \
         http\n    protocol: HTTP\n  endpoints:\n",
        entry_host(at)
    );
    for endpoint in 0..scenario.endpoints {
        let ip = address(scenario, at, endpoint, version);
        let _infallible = writeln!(
            text,
            "  - address: {ip}\n    ports:\n      http: 8080\n    labels:\n      app: e{at}\n      version: v{}",
            endpoint % 2
        );
    }
    text
}

/// The namespace, and its `Sidecar` if the scenario has scopes.
fn namespace(scenario: &Scenario, at: usize) -> String {
    let mut text = format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: ns{at}\n");
    if scenario.scope == 0 {
        return text;
    }
    text.push_str(&format!(
        "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata:\n  name: default\n  namespace: ns{at}\nspec:\n  egress:\n  - \
         hosts:\n"
    ));
    for host in 0..scenario.scope {
        let line = if scenario.service_entries > 0 {
            // All namespaces share the entry that is edited.
            let other = (host + at * scenario.scope) % scenario.service_entries;
            let entry = if host == 0 { edited(scenario) } else { other };
            format!("    - {ENTRIES}/{}\n", entry_host(entry))
        } else {
            let service = (at + host * scenario.namespaces) % scenario.services;
            format!("    - ns{at}/{}\n", service_host(scenario, service))
        };
        text.push_str(&line);
    }
    text
}
