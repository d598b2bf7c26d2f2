//! The chart, the plain manifest and the examples against a real API server.
//!
//! Nothing runs here: there is no kubelet. What is shown is that every object is taken, with every documented value, and
//! what Reef's account may do with them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use reef_e2e::cluster::{ADMIN, Cluster, ClusterOptions, tool};
use reef_e2e::mesh::{comes_true, program};
use reef_e2e::namespace::isolated;

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
/// Of a kind that the chart makes only where the Prometheus operator is.
const SERVICE_MONITOR: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: servicemonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {kind: ServiceMonitor, plural: servicemonitors, singular: servicemonitor, listKind: ServiceMonitorList}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

fn deploy(path: &str) -> PathBuf {
    Path::new(DEPLOY).join(path)
}

/// Runs helm as administrator in the namespace of Reef.
fn helm(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let mut command = cluster.command_as(ADMIN, "helm")?;
    let output = command
        .args(arguments)
        .args(["--namespace", "reef-system"])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "helm {arguments:?}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Installs or upgrades the release.
fn install(cluster: &Cluster, more: &[&str]) -> Result<String> {
    let chart = deploy("helm/reef");
    let chart = chart.to_str().context("a folder without a name")?;
    let mut arguments = vec!["upgrade", "--install", "--create-namespace", "reef", chart];
    arguments.extend(more);
    helm(cluster, &arguments)
}

/// What a query of kubectl prints.
fn of(cluster: &Cluster, what: &[&str]) -> Result<String> {
    cluster.kubectl(&[&["get"], what].concat())
}

/// Waits until Reef's account may do something, or may not: a role counts a little after it was made.
fn becomes(cluster: &Cluster, what: &[&str], wanted: bool) -> Result<()> {
    let mut last = Ok(!wanted);
    let done = comes_true(|| {
        last = may(cluster, what);
        last.as_ref().is_ok_and(|allowed| *allowed == wanted)
    });
    ensure!(done, "{what:?}: {last:?}, not {wanted}");
    Ok(())
}

/// Whether Reef's account may do something.
fn may(cluster: &Cluster, what: &[&str]) -> Result<bool> {
    let account = "--as=system:serviceaccount:reef-system:reef";
    let mut command = cluster.command_as(ADMIN, "kubectl")?;
    let output = command
        .args(["auth", "can-i", account])
        .args(what)
        .output()?;
    Ok(output.stdout.starts_with(b"yes"))
}

#[test]
fn the_chart_installs_with_every_value_and_leaves_what_is_not_its_own() {
    let name = "chart::the_chart_installs_with_every_value_and_leaves_what_is_not_its_own";
    isolated(name, |_| {
        let work = tempfile::tempdir()?;
        let options = ClusterOptions {
            without_crds: true,
            ..ClusterOptions::default()
        };
        let cluster = Cluster::start(work.path(), options)?;
        // One definition is somebody else's, as Istio's would be.
        let theirs = "sidecars.networking.istio.io";
        let file = deploy(&format!("crds/{theirs}.yaml"));
        cluster.kubectl(&[
            "apply",
            "-f",
            file.to_str().context("a file without a name")?,
        ])?;
        cluster.apply(SERVICE_MONITOR)?;

        install(&cluster, &[])?;
        let release = "jsonpath={.metadata.annotations.meta\\.helm\\.sh/release-name}";
        assert_eq!(of(&cluster, &["crd", theirs, "-o", release])?, "");
        let ours = "virtualservices.networking.istio.io";
        assert_eq!(of(&cluster, &["crd", ours, "-o", release])?, "reef");

        // An upgrade keeps the definitions it made, and every value makes objects the API server takes.
        for entry in std::fs::read_dir(deploy("helm/reef/ci"))? {
            let path = entry?.path();
            let values = path.to_str().context("a file without a name")?;
            // The addresses of this cluster are of version 4, and it says so.
            let outcome = install(&cluster, &["--values", values]);
            let refused = outcome.as_ref().err().map(|error| error.to_string());
            match refused {
                Some(error) if values.ends_with("ipv6-values.yaml") => {
                    ensure!(error.contains("ipFamilies"), "{error}");
                }
                Some(error) => anyhow::bail!("{values}: {error}"),
                None => ensure!(!values.ends_with("ipv6-values.yaml"), "IPv6 was taken"),
            }
        }
        let error = install(&cluster, &["--set", "replicacount=3"])
            .unwrap_err()
            .to_string();
        ensure!(error.contains("replicacount"), "{error}");

        install(&cluster, &[])?;
        for (right, wanted) in [
            (&["list", "pods", "-A"][..], true),
            (
                &["watch", "virtualservices.networking.istio.io", "-A"],
                true,
            ),
            (&["list", "configmaps/istio", "-n", "istio-system"], true),
            (&["get", "secrets/reef-ca", "-n", "reef-system"], true),
            (&["create", "tokenreviews.authentication.k8s.io"], true),
            (&["list", "secrets", "-A"], false),
            (&["get", "secrets/other", "-n", "reef-system"], false),
            (&["get", "secrets/reef-ca", "-n", "default"], false),
            (&["list", "configmaps", "-A"], false),
            (
                &["update", "virtualservices.networking.istio.io", "-A"],
                false,
            ),
            (
                &["patch", "virtualservices.networking.istio.io/status", "-A"],
                false,
            ),
            (&["create", "events", "-A"], false),
        ] {
            becomes(&cluster, right, wanted)?;
        }
        install(&cluster, &["--set", "global.istiod.enableAnalysis=true"])?;
        becomes(&cluster, &["create", "events", "-n", "default"], true)?;
        let status = [
            "patch",
            "virtualservices.networking.istio.io",
            "--subresource=status",
            "-A",
        ];
        becomes(&cluster, &status, true)?;

        // Without the release the definitions stay, and with them the objects.
        helm(&cluster, &["uninstall", "reef"])?;
        ensure!(of(&cluster, &["crd", ours, "-o", "name"])?.contains(ours));
        ensure!(
            of(&cluster, &["clusterroles", "-o", "name"])?
                .lines()
                .all(|name| !name.contains("reef"))
        );
        Ok(())
    })
    .unwrap();
}

#[test]
fn the_plain_manifest_and_the_examples_are_taken() {
    isolated(
        "chart::the_plain_manifest_and_the_examples_are_taken",
        |_| {
            let work = tempfile::tempdir()?;
            let cluster = Cluster::start(work.path(), ClusterOptions::default())?;
            for path in ["kubernetes/reef.yaml", "examples/kubernetes"] {
                let path = deploy(path);
                let path = path.to_str().context("a file without a name")?;
                cluster.kubectl(&["apply", "--validate=strict", "-f", path])?;
            }
            let ports = [
                "service",
                "reef",
                "-n",
                "reef-system",
                "-o",
                "jsonpath={.spec.ports[*].name}",
            ];
            assert_eq!(
                of(&cluster, &ports)?,
                "https-dns https-webhook http-monitoring"
            );
            Ok(())
        },
    )
    .unwrap();
}

/// An application that was istiod's, and an object that nothing is made of yet.
const SHOP: &str = "---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: none}]}
";
const FILTER: &str = "---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: odd, namespace: shop}
spec: {configPatches: []}
";

/// What the section of the README tells to type: the lines of its blocks, and the commands within its text.
fn typed() -> Result<Vec<String>> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(readme)?;
    let (_, section) = text
        .split_once("\n## On Kubernetes\n")
        .context("no section")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut found = Vec::new();
    for (place, part) in section.split("```").enumerate() {
        let lines: Vec<&str> = match place % 2 {
            1 => part.lines().skip(1).collect(),
            _ => part.split('`').skip(1).step_by(2).collect(),
        };
        let commands = lines
            .iter()
            .map(|line| line.split('#').next().unwrap_or(line).trim());
        let is_command = |line: &&str| {
            ["helm ", "kubectl ", "reef "]
                .iter()
                .any(|name| line.starts_with(name))
        };
        found.extend(commands.filter(is_command).map(str::to_owned));
    }
    // Nobody runs pods here.
    found.retain(|command| !command.contains(" exec "));
    Ok(found)
}

#[test]
fn what_the_readme_tells_to_type_works_as_typed() {
    let name = "chart::what_the_readme_tells_to_type_works_as_typed";
    isolated(name, |_| {
        let work = tempfile::tempdir()?;
        let options = ClusterOptions {
            without_crds: true,
            ..ClusterOptions::default()
        };
        let cluster = Cluster::start(&work.path().join("cluster"), options)?;
        cluster.apply(SHOP)?;
        let mut path = std::env::var_os("PATH").unwrap_or_default();
        let programs = [
            tool("kubectl")?,
            tool("helm")?,
            program("reef", "REEF_BIN")?,
        ];
        for folder in programs.iter().filter_map(|program| program.parent()) {
            path = [folder.as_os_str(), path.as_os_str()].join(":".as_ref());
        }
        let run = |command: &str| -> Result<(Option<i32>, String)> {
            let output = Command::new("bash")
                .args(["-ec", command])
                .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
                .env("PATH", &path)
                .env("KUBECONFIG", cluster.kubeconfig_for(ADMIN))
                .env("HOME", work.path())
                .env_remove("XDG_CACHE_HOME")
                .env_remove("XDG_CONFIG_HOME")
                .output()?;
            let said = [output.stdout, output.stderr].concat();
            Ok((
                output.status.code(),
                String::from_utf8_lossy(&said).into_owned(),
            ))
        };
        let labels = || {
            of(
                &cluster,
                &["namespace", "shop", "-o", "jsonpath={.metadata.labels}"],
            )
        };
        let commands = typed()?;
        ensure!(commands.len() >= 8, "{commands:?}");
        for command in &commands {
            let mut last = run(command)?;
            // Restarts are told apart by the second.
            let again = |said: &str| said.contains("within the past second");
            comes_true(|| {
                if again(&last.1) {
                    last = run(command).unwrap_or_default();
                }
                !again(&last.1)
            });
            let (code, said) = last;
            let is_check = command.starts_with("reef check");
            ensure!(
                code == Some(if is_check { 2 } else { 0 }),
                "{command}: {code:?}: {said}"
            );
            if is_check {
                ensure!(
                    said.contains("EnvoyFilter: 1 object accepted, not yet applied"),
                    "{said}"
                );
            } else if command.starts_with("helm install") {
                cluster.wait_established()?;
                cluster.apply(FILTER)?;
            } else if command.contains("istio.io/rev=reef") {
                let now = labels()?;
                ensure!(
                    now.contains("\"istio.io/rev\":\"reef\"") && !now.contains("istio-injection"),
                    "{now}"
                );
            } else if command.contains("istio.io/rev-") {
                let now = labels()?;
                ensure!(
                    now.contains("\"istio-injection\":\"enabled\"")
                        && !now.contains("istio.io/rev"),
                    "{now}"
                );
            }
        }
        // The pods are made anew twice.
        let generation = [
            "deployment",
            "web",
            "-n",
            "shop",
            "-o",
            "jsonpath={.metadata.generation}",
        ];
        let generation: u32 = of(&cluster, &generation)?.parse()?;
        ensure!(generation >= 2, "generation {generation}");
        Ok(())
    })
    .unwrap();
}
