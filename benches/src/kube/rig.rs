//! A real API server: the program `reef-cluster` of `tests/`, etcd behind it to fill it quickly, and `kubectl proxy` in
//! front of it to write without TLS.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::objects::Stored;
use crate::http::Http;
use crate::{clock, process};

/// Objects written to etcd at once; it allows 128.
const AT_ONCE: usize = 100;

/// The kinds of the mesh that are many.
const LISTED: [&str; 3] = [
    "/api/v1/services",
    "/api/v1/pods",
    "/apis/discovery.k8s.io/v1/endpointslices",
];

/// A running cluster; ends when dropped.
#[derive(Debug)]
pub(super) struct Rig {
    cluster: Child,
    proxy: Child,
    /// Where objects are written as a client does.
    pub(super) api: SocketAddr,
    etcd: SocketAddr,
    /// Who may do everything.
    pub(super) kubeconfig: PathBuf,
}

impl Rig {
    /// Starts it; files go to `work`.
    pub(super) async fn start(program: &Path, work: &Path) -> Result<Self> {
        let mut cluster = Command::new(program)
            .arg(work)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let out = cluster.stdout.take().context("a pipe was asked for")?;
        let (mut etcd, mut kubeconfig) = (None, None);
        for line in BufReader::new(out).lines() {
            let line = line?;
            if let Some(file) = line.strip_prefix("administrator: KUBECONFIG=") {
                kubeconfig = Some(PathBuf::from(file));
            } else if let Some(address) = line.strip_prefix("etcd: ") {
                etcd = Some(address.parse()?);
            } else if line.starts_with("press") {
                break;
            }
        }
        let kubeconfig = kubeconfig.context("the cluster did not start")?;
        let etcd = etcd.context("the cluster does not say where etcd is")?;
        let api = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let assets =
            std::env::var_os("KUBEBUILDER_ASSETS").context("KUBEBUILDER_ASSETS is not set")?;
        let proxy = Command::new(Path::new(&assets).join("kubectl"))
            .arg("--kubeconfig")
            .arg(&kubeconfig)
            .args(["proxy", "--port", &api.port().to_string()])
            .stdout(Stdio::null())
            .spawn()
            .context("starting kubectl proxy")?;
        let rig = Self {
            cluster,
            proxy,
            api,
            etcd,
            kubeconfig,
        };
        for _ in 0..200 {
            if Http::connect(api).await.is_ok() {
                return Ok(rig);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("kubectl proxy does not listen")
    }

    /// A connection to write objects by [`put`].
    pub(super) async fn store(&self) -> Result<Http> {
        Http::connect(self.etcd).await
    }

    /// Writes everything, and waits until the API server has it.
    pub(super) async fn load(&self, objects: impl Iterator<Item = Stored>) -> Result<usize> {
        let mut etcd = self.store().await?;
        let (mut waiting, mut count, mut pods) = (Vec::with_capacity(AT_ONCE), 0, 0);
        for (key, value) in objects {
            count += 1;
            pods += u64::from(key.starts_with("pods/"));
            waiting.push(json!({"requestPut": written(&key, &value)}));
            if waiting.len() == AT_ONCE {
                flush(&mut etcd, &mut waiting).await?;
            }
        }
        flush(&mut etcd, &mut waiting).await?;
        let mut api = Http::connect(self.api).await?;
        for _ in 0..600 {
            let page = ("GET", "/api/v1/pods?limit=1");
            let page: Value =
                serde_json::from_slice(&api.send(page, "application/json", b"").await?)?;
            let rest = page["metadata"]["remainingItemCount"].as_u64();
            if rest.unwrap_or_default() + 1 >= pods {
                return Ok(count);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        bail!("the API server does not have the {pods} pods")
    }

    /// CPU seconds the API server used so far.
    pub(super) fn cpu(&self) -> Result<f64> {
        process::cpu(process::child_of(self.cluster.id(), "kube-apiserver")?)
    }

    /// How many tokens the API server was asked about so far.
    pub(super) async fn reviews(&self) -> Result<f64> {
        let mut api = Http::connect(self.api).await?;
        let page = ("GET", "/metrics");
        let page = api.send(page, "application/json", b"").await?;
        let page = String::from_utf8(page)?;
        let counters = page.lines().filter(|line| {
            line.starts_with("apiserver_request_total{") && line.contains("\"tokenreviews\"")
        });
        let counts = counters.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        Ok(counts.sum())
    }

    /// How long three listers take side by side that read the large kinds as JSON and do nothing with it.
    pub(super) fn bare_list(&self) -> Result<Duration> {
        let text = std::fs::read_to_string(&self.kubeconfig)?;
        let field = |name: &str| {
            let found = text.lines().find_map(|line| line.trim().strip_prefix(name));
            found.with_context(|| format!("no {name} in the kubeconfig"))
        };
        let (server, ca) = (field("server: ")?, field("certificate-authority: ")?);
        let token = format!("Authorization: Bearer {}", field("token: ")?);
        let started = clock::now();
        let mut listers = Vec::new();
        for path in LISTED {
            let lister = Command::new("curl")
                .args([
                    "--silent",
                    "--show-error",
                    "--fail",
                    "--output",
                    "/dev/null",
                ])
                .args([
                    "--cacert",
                    ca,
                    "--header",
                    &token,
                    &format!("{server}{path}"),
                ])
                .spawn()
                .context("starting curl")?;
            listers.push(lister);
        }
        for mut lister in listers {
            ensure!(lister.wait()?.success(), "curl cannot list");
        }
        Ok(started.elapsed())
    }
}

/// Writes one object past the API server, which tells its watches of it.
pub(super) async fn put(etcd: &mut Http, (key, value): &Stored) -> Result<()> {
    let body = written(key, value).to_string();
    etcd.send(("POST", "/v3/kv/put"), "application/json", body.as_bytes())
        .await
        .map(drop)
}

fn written(key: &str, value: &Value) -> Value {
    let key = STANDARD.encode(format!("/registry/{key}"));
    json!({"key": key, "value": STANDARD.encode(value.to_string())})
}

async fn flush(etcd: &mut Http, waiting: &mut Vec<Value>) -> Result<()> {
    if waiting.is_empty() {
        return Ok(());
    }
    let body = json!({"success": std::mem::take(waiting)}).to_string();
    etcd.send(("POST", "/v3/kv/txn"), "application/json", body.as_bytes())
        .await
        .map(drop)
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _gone = self.proxy.kill();
        let _status = self.proxy.wait();
        // It ends its servers when its input ends.
        drop(self.cluster.stdin.take());
        let _status = self.cluster.wait();
    }
}
