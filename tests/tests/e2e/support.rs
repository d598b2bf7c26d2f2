//! A mesh from the demo's manifests, for tests.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reef_e2e::call::{Answer, Call, Protocol};
use reef_e2e::manifest::Manifests;
use reef_e2e::mesh::{Mesh, wait};
use reef_e2e::namespace::Power;

/// Address of an app that no manifest names.
pub(crate) const UNKNOWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);

/// A running mesh and what its manifests say.
pub(crate) struct Fixture {
    pub(crate) mesh: Mesh,
    pub(crate) manifests: Manifests,
    pub(crate) config: std::path::PathBuf,
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
        let manifests = Manifests::read(&config)?;
        let mut mesh = Mesh::start(power, work.path(), &config)?;
        for pod in manifests.pods() {
            if wanted.is_empty() || wanted.contains(&pod.name.as_str()) {
                mesh.start_pod(&pod)?;
            }
        }
        for outside in manifests.outside() {
            mesh.start_outside(&outside.host, outside.ip, &outside.ports)?;
        }
        mesh.start_outside("unknown", UNKNOWN, &[80])?;
        // Live in five seconds, with nothing left warming and nothing rejected.
        mesh.wait_ready(Duration::from_secs(5))?;
        ensure!(
            wait(Duration::from_secs(5), || mesh
                .complaints()
                .is_ok_and(|c| c.is_empty())),
            "{:?}",
            mesh.complaints()?
        );
        Ok(Self {
            mesh,
            manifests,
            config,
            _work: work,
        })
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
