//! A cluster, Reef with the rights of its chart, and pods; what tests ask them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reef_e2e::call::{self, Answer, Call, Protocol};
use reef_e2e::cluster::tokens::TokenVolume;
use reef_e2e::cluster::{ADMIN, Cluster, ClusterOptions, REEF};
use reef_e2e::manifest::{Manifests, PodSpec};
use reef_e2e::mesh::{MONITORING, Mesh, PATIENCE, Secure, Source, comes_true};
use reef_e2e::namespace::Power;
use reef_e2e::traffic;

/// The roles of Reef: those its chart makes, as objects.
pub(crate) fn roles(cluster: &Cluster) -> Result<String> {
    roles_with(cluster, &[])
}

/// The same with these values of the chart, as `name=value`.
pub(crate) fn roles_with(cluster: &Cluster, values: &[&str]) -> Result<String> {
    let kinds = [
        "Role",
        "ClusterRole",
        "RoleBinding",
        "ClusterRoleBinding",
        "ServiceAccount",
    ];
    of_kinds(&rendered(cluster, values)?, &kinds)
}

/// Objects of some kinds that Reef's chart makes.
pub(crate) fn chart(cluster: &Cluster, kinds: &[&str]) -> Result<String> {
    of_kinds(&rendered(cluster, &[])?, kinds)
}

fn of_kinds(text: &str, kinds: &[&str]) -> Result<String> {
    let is_one = |part: &&str| {
        let kind = part.lines().find_map(|line| line.strip_prefix("kind: "));
        kind.is_some_and(|kind| kinds.contains(&kind.trim()))
    };
    let parts: Vec<&str> = text.split("\n---").filter(is_one).collect();
    ensure!(!parts.is_empty(), "the chart has none of {kinds:?}");
    Ok(parts.join("\n---\n"))
}

/// Everything the chart makes with these values.
pub(crate) fn rendered(cluster: &Cluster, values: &[&str]) -> Result<String> {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/helm/reef");
    let mut helm = cluster.command_as(ADMIN, "helm")?;
    helm.args(["template", "reef"])
        .arg(&chart)
        .args(["--namespace", "reef-system"])
        .args(values.iter().flat_map(|value| ["--set", value]));
    let output = helm.output().context("cannot run helm")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "helm template: {stderr}");
    Ok(String::from_utf8(output.stdout)?)
}

/// What every test's cluster has: namespaces, two nodes, the mesh's settings.
pub(crate) const BASE: &str = include_str!("base.yaml");

/// The name in Reef's certificate.
pub(crate) const SERVER: &str = "reef.reef-system.svc";
/// The audience of the tokens that Reef takes.
pub(crate) const AUDIENCE: &str = "istio-ca";

/// A cluster with Reef, and pods whose Envoys come to it over the encrypted port with their tokens.
pub(crate) struct Fixture {
    pub(crate) mesh: Mesh,
    pub(crate) cluster: Cluster,
    pub(crate) roles: String,
    pub(crate) tokens: TokenVolume,
    secure: bool,
    work: tempfile::TempDir,
}

impl Fixture {
    /// A cluster with objects in it, and Reef not started.
    pub(crate) fn prepare(power: Power, options: ClusterOptions, manifests: &str) -> Result<Self> {
        let work = tempfile::tempdir()?;
        let cluster = Cluster::start(&work.path().join("cluster"), options)?;
        cluster.apply(BASE)?;
        let roles = roles(&cluster)?;
        cluster.apply(&roles)?;
        if !manifests.is_empty() {
            cluster.apply(manifests)?;
        }
        let source = Source::Kubeconfig(cluster.kubeconfig_for(REEF));
        let mut mesh = Mesh::prepare(power, work.path(), source)?;
        mesh.set_debug_token(cluster.token_for("reef-system", "reef", None, AUDIENCE)?);
        let folder = work.path().join("tokens");
        let tokens = TokenVolume::make(&folder)?;
        mesh.set_secure(Some(Secure {
            tokens: folder,
            ca_file: work.path().join("root-cert.pem"),
            server_name: SERVER.to_owned(),
        }));
        Ok(Self {
            mesh,
            cluster,
            roles,
            tokens,
            secure: true,
            work,
        })
    }

    /// Uses the plaintext port instead. Before Reef is started.
    pub(crate) fn in_plaintext(mut self) -> Self {
        self.mesh.set_secure(None);
        self.secure = false;
        self
    }

    /// The same with Reef and every pod of the manifests running.
    pub(crate) fn start(power: Power, manifests: &str) -> Result<Self> {
        Self::start_with(power, ClusterOptions::default(), manifests)
    }

    /// The same with options of the cluster.
    pub(crate) fn start_with(
        power: Power,
        options: ClusterOptions,
        manifests: &str,
    ) -> Result<Self> {
        let mut fixture = Self::prepare(power, options, manifests)?;
        fixture.mesh.start_reef()?;
        fixture.start_pods(manifests)?;
        Ok(fixture)
    }

    /// Starts the pods of manifests and waits until their Envoys are ready.
    pub(crate) fn start_pods(&mut self, manifests: &str) -> Result<()> {
        if self.secure {
            self.issue(manifests)?;
            self.fetch_authority()?;
        }
        for pod in Manifests::parse(manifests)?.pods() {
            self.mesh.start_pod(&pod)?;
        }
        self.mesh.wait_ready(PATIENCE).map(drop)
    }

    /// Gives the pods of manifests that have no token one each, as a kubelet would before it starts them.
    pub(crate) fn issue(&mut self, manifests: &str) -> Result<()> {
        for pod in Manifests::parse(manifests)?.pods() {
            if self.tokens.get(&pod.name).is_none() {
                let token = self.token_of(&pod)?;
                self.tokens.put(&pod.name, &token)?;
            }
        }
        Ok(())
    }

    /// A token of a pod, as the API server makes it.
    pub(crate) fn token_of(&self, pod: &PodSpec) -> Result<String> {
        let (namespace, account) = (&pod.namespace, &pod.service_account);
        self.cluster
            .token_for(namespace, account, Some(&pod.name), AUDIENCE)
    }

    /// The file with the certificate of the authority that Reef made.
    pub(crate) fn authority(&self) -> PathBuf {
        self.work().join("root-cert.pem")
    }

    /// Writes that file, once.
    fn fetch_authority(&self) -> Result<()> {
        let file = self.authority();
        if file.exists() {
            return Ok(());
        }
        let how = ["get", "configmap", "reef-ca-root-cert", "-n", "reef-system"];
        let only = ["-o", "jsonpath={.data.root-cert\\.pem}"];
        let mut text = Ok(String::new());
        // It is published after the certificate is in use.
        let published = comes_true(|| {
            text = self.cluster.kubectl(&[&how[..], &only].concat());
            text.as_ref().is_ok_and(|text| text.contains("BEGIN"))
        });
        ensure!(published, "no authority: {text:?}\n{}", self.reef_tail());
        std::fs::write(file, text?)?;
        Ok(())
    }

    /// Where logs go.
    pub(crate) fn work(&self) -> &Path {
        self.work.path()
    }

    /// Asks `host:port` at an address from a pod.
    pub(crate) fn ask(&self, from: &str, address: &str, host: &str) -> Result<Answer> {
        self.mesh.call(from, &http(address, host))
    }

    /// The apps that answer twenty requests.
    pub(crate) fn answering(&self, from: &str, address: &str, host: &str) -> Result<Vec<String>> {
        let mut apps = Vec::new();
        for _ in 0..20 {
            let answer = self.ask(from, address, host)?;
            ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
            apps.push(answer.app);
        }
        apps.sort();
        apps.dedup();
        Ok(apps)
    }

    /// Waits until exactly these apps answer.
    pub(crate) fn follows(&self, from: &str, (address, host): Target, apps: &[&str]) -> Result<()> {
        let mut last = String::new();
        let done = comes_true(|| {
            let found = self.answering(from, address, host);
            last = format!("{found:?}");
            found.is_ok_and(|found| found == apps)
        });
        ensure!(done, "wanted {apps:?}, got {last}\n{}", self.reef_tail());
        Ok(())
    }

    /// The last lines Reef wrote.
    pub(crate) fn reef_tail(&self) -> String {
        let log = self.mesh.reef_log().unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(20);
        lines.get(from..).unwrap_or_default().join("\n")
    }

    /// Calls a target again and again while `play` runs; fails if one call was not answered by one of
    /// `apps`.
    pub(crate) fn under_traffic<T>(
        &mut self,
        from: &str,
        (address, host): Target,
        apps: &[&str],
        play: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let socket = self.mesh.control_of(from)?;
        let call = http(address, host);
        let good = |answer: &Answer| apps.contains(&answer.app.as_str());
        traffic::under(&socket, &call, good, || play(self))
    }
}

/// An address with port, and the host that is asked for there.
pub(crate) type Target = (&'static str, &'static str);

fn http(address: &str, host: &str) -> Call {
    Call {
        protocol: Protocol::Http1,
        address: address.to_owned(),
        authority: host.to_owned(),
        path: "/path".to_owned(),
    }
}

/// Reef's metrics of one name, by their labels.
pub(crate) fn metrics(name: &str) -> Result<BTreeMap<String, f64>> {
    let page = call::page(MONITORING, "/metrics")?;
    let mut found = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').context("no metric")?;
        let (own, labels) = series.split_once('{').unwrap_or((series, ""));
        if own == name {
            found.insert(labels.trim_end_matches('}').to_owned(), value.parse()?);
        }
    }
    Ok(found)
}

/// How many resources Reef sent since its start, of all types.
pub(crate) fn sent() -> Result<f64> {
    Ok(metrics("reef_xds_pushed_resources_total")?.values().sum())
}

/// A short time in tests, the long one when soaking.
pub(crate) fn lasting(short: u64, long: u64) -> Duration {
    Duration::from_secs(if soaks() { long } else { short })
}

/// Whether faults last as long as in life.
pub(crate) fn soaks() -> bool {
    std::env::var_os("REEF_SOAK").is_some()
}
