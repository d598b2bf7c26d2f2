//! A mesh from the demo's manifests, for tests.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reef_e2e::call::{Answer, Call, Protocol};
use reef_e2e::manifest::Manifests;
use reef_e2e::mesh::{Mesh, PATIENCE, comes_true};
use reef_e2e::namespace::Power;

/// Address of an app that no manifest names.
pub(crate) const UNKNOWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);

/// A running mesh and what its manifests say.
pub(crate) struct Fixture {
    pub(crate) mesh: Mesh,
    pub(crate) manifests: Manifests,
    pub(crate) config: std::path::PathBuf,
    /// How long the last wait for all Envoys took.
    pub(crate) live_after: Duration,
    _work: tempfile::TempDir,
}

impl Fixture {
    /// Starts the demo's mesh with further manifests, only the pods whose names pass `wanted`.
    pub(crate) fn start(power: Power, more: &str, wanted: &[&str]) -> Result<Self> {
        let work = tempfile::tempdir()?;
        let config = work.path().join("config");
        std::fs::create_dir(&config)?;
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/demo");
        for entry in std::fs::read_dir(example)? {
            let path = entry?.path();
            let name = path.file_name().context("a file without a name")?;
            std::fs::copy(&path, config.join(name))?;
        }
        if !more.is_empty() {
            std::fs::write(config.join("zz-test.yaml"), more)?;
        }
        let mut fixture = Self::begin(power, work)?;
        for pod in fixture.manifests.pods() {
            if wanted.is_empty() || wanted.contains(&pod.name.as_str()) {
                fixture.mesh.start_pod(&pod)?;
            }
        }
        for outside in fixture.manifests.outside() {
            let (host, ip) = (&outside.host, outside.ip);
            fixture.mesh.start_outside(host, ip, &outside.ports)?;
        }
        fixture.mesh.start_outside("unknown", UNKNOWN, &[80])?;
        fixture.settled()?;
        Ok(fixture)
    }

    /// Starts a mesh of these manifests alone, all its pods and nothing outside.
    pub(crate) fn of(power: Power, manifests: &str) -> Result<Self> {
        Ok(Self::begin_with(power, manifests, || Ok(()))?.0)
    }

    /// The same, with something to do when the network is there and before the first pod.
    pub(crate) fn begin_with<T>(
        power: Power,
        manifests: &str,
        first: impl FnOnce() -> Result<T>,
    ) -> Result<(Self, T)> {
        let work = tempfile::tempdir()?;
        std::fs::create_dir(work.path().join("config"))?;
        std::fs::write(work.path().join("config/mesh.yaml"), manifests)?;
        let mut fixture = Self::begin(power, work)?;
        let value = first()?;
        for pod in fixture.manifests.pods() {
            fixture.mesh.start_pod(&pod)?;
        }
        fixture.settled()?;
        Ok((fixture, value))
    }

    fn begin(power: Power, work: tempfile::TempDir) -> Result<Self> {
        let config = work.path().join("config");
        let manifests = Manifests::read(&config)?;
        let mesh = Mesh::start(power, work.path(), &config)?;
        Ok(Self {
            mesh,
            manifests,
            config,
            live_after: Duration::ZERO,
            _work: work,
        })
    }

    /// Waits until all is live, with nothing left warming and nothing rejected.
    pub(crate) fn settled(&mut self) -> Result<()> {
        self.live_after = self.mesh.wait_ready(PATIENCE)?;
        let mesh = &self.mesh;
        let quiet = || mesh.complaints().is_ok_and(|c| c.is_empty());
        ensure!(comes_true(quiet), "{:?}", mesh.complaints()?);
        Ok(())
    }

    /// Replaces a text in the manifests of [`Self::of`], as editors do.
    pub(crate) fn edit(&self, from: &str, to: &str) -> Result<()> {
        let file = self.config.join("mesh.yaml");
        let text = std::fs::read_to_string(&file)?;
        ensure!(text.contains(from), "no {from:?} in the manifests");
        let edited = file.with_extension("new");
        std::fs::write(&edited, text.replace(from, to))?;
        Ok(std::fs::rename(edited, file)?)
    }

    /// Makes the app of a pod call an address under a host's name.
    pub(crate) fn call(
        &self,
        from: &str,
        protocol: Protocol,
        address: &str,
        host: &str,
    ) -> Result<Answer> {
        self.mesh.call(
            from,
            &Call {
                protocol,
                address: address.to_owned(),
                authority: host.to_owned(),
                path: "/path".to_owned(),
            },
        )
    }

    /// Asks `host:port` from a pod.
    pub(crate) fn ask(&self, from: &str, kind: Protocol, host: &str, port: u16) -> Result<Answer> {
        let address = self
            .manifests
            .address_of(host)
            .unwrap_or_else(|_| host.to_owned());
        self.mesh.call(
            from,
            &Call {
                protocol: kind,
                address: format!("{address}:{port}"),
                authority: format!("{host}:{port}"),
                path: "/path".to_owned(),
            },
        )
    }

    /// Asks and says which app answered; `""`: none did, but a connection was there.
    pub(crate) fn who(&self, from: &str, kind: Protocol, host: &str, port: u16) -> Result<String> {
        Ok(self.ask(from, kind, host, port)?.app)
    }
}

/// A ready pod; `listen`: the arguments of its app, see `reef_e2e::app`.
pub(crate) fn pod(name: &str, ip: &str, listen: &str) -> String {
    pod_with(name, ip, listen, "")
}

/// A ready pod with further annotations, written as the inside of a YAML flow mapping.
pub(crate) fn pod_with(name: &str, ip: &str, listen: &str, annotations: &str) -> String {
    let app = name.trim_end_matches(|c: char| c == '-' || c.is_ascii_digit());
    let ips: Vec<String> = ip
        .split(' ')
        .map(|ip| format!("{{ip: \"{ip}\"}}"))
        .collect();
    let first = ip.split(' ').next().unwrap_or_default();
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: shop\n  \
         labels: {{app: {app}}}\n  annotations: {{reef-testapp/listen: \"{listen}\", \
         {annotations}}}\nspec: {{serviceAccountName: {app}, containers: [{{name: app}}]}}\n\
         status: {{phase: Running, podIP: {first}, podIPs: [{}], \
         conditions: [{{type: Ready, status: \"True\"}}]}}\n",
        ips.join(", ")
    )
}

/// A Service of the namespace `shop`; `ports` and `more` as the inside of YAML flow collections.
pub(crate) fn service(name: &str, app: &str, ports: &str, more: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{selector: {{app: {app}}}, ports: [{ports}], {more}}}\n"
    )
}

/// An EndpointSlice of a Service; `pods`: name, address and conditions.
pub(crate) fn slice(service: &str, ports: &str, pods: &[(&str, &str, &str)]) -> String {
    let family = if pods.iter().any(|(_, ip, _)| ip.contains(':')) {
        "IPv6"
    } else {
        "IPv4"
    };
    let mut text = format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  \
         name: {service}-{}\n  namespace: shop\n  \
         labels: {{kubernetes.io/service-name: {service}}}\n\
         addressType: {family}\nports: [{ports}]\nendpoints:\n",
        family.to_lowercase()
    );
    for (pod, ip, conditions) in pods {
        text.push_str(&format!(
            "  - addresses: [\"{ip}\"]\n    conditions: {{{conditions}}}\n    \
             targetRef: {{kind: Pod, name: {pod}, namespace: shop}}\n"
        ));
    }
    text
}

/// Conditions of an endpoint that takes requests.
pub(crate) const READY: &str = "ready: true, serving: true";
