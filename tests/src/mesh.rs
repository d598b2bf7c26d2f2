//! A running mesh: Reef, and per pod an Envoy and an app. Needs `namespace::settle` before.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::call::{self, Answer, Call, Protocol};
use crate::control;
use crate::manifest::{Manifests, PodSpec};
use crate::namespace::{Power, run, shell};
use crate::net::{HOST, PodNet, Running, make_bridge};

/// Port of Reef's xDS.
const XDS_PORT: u16 = 15010;
/// The same with TLS.
pub const SECURE_PORT: u16 = 15012;
/// Reef's monitoring address, inside the namespace.
pub const MONITORING: &str = "127.0.0.1:15014";
/// Envoy's user, where there is more than one.
const PROXY_ID: u32 = 1337;
/// Mark of Envoy's sockets where there is not; another than TPROXY's.
const PROXY_MARK: u32 = 1339;

/// Istio's pod annotation for how connections get into the proxy.
const INTERCEPTION: &str = "sidecar.istio.io/interceptionMode";

/// One pod: its network, its app and, in the mesh, its Envoy.
#[derive(Debug)]
struct Pod {
    net: PodNet,
    ip: Ipv4Addr,
    control: PathBuf,
    _app: Running,
    envoy: Option<Running>,
}

/// Where Reef reads the mesh.
#[derive(Debug, Clone)]
pub enum Source {
    /// Files of a folder.
    Folder(PathBuf),
    /// The API server a kubeconfig names.
    Kubeconfig(PathBuf),
}

/// How Envoys reach Reef with their pods' tokens.
#[derive(Debug, Clone)]
pub struct Secure {
    /// Folder with a token for each pod, by the pod's name.
    pub tokens: PathBuf,
    /// Certificate of the authority that Reef's certificate comes from.
    pub ca_file: PathBuf,
    /// The name in Reef's certificate.
    pub server_name: String,
}

/// The mesh. Everything ends with the value.
#[derive(Debug)]
pub struct Mesh {
    secure: Option<Secure>,
    /// What Reef's debug pages ask for where it follows a cluster.
    debug_token: Option<String>,
    power: Power,
    work: PathBuf,
    source: Source,
    envoy_binary: PathBuf,
    reef_arguments: Vec<String>,
    reef: Option<Running>,
    pods: BTreeMap<String, Pod>,
    others: Vec<Running>,
}

impl Mesh {
    /// Makes the network and starts Reef over `config`. Logs and sockets go to `work`.
    ///
    /// # Errors
    /// When a program is missing or Reef is not ready in [`PATIENCE`].
    pub fn start(power: Power, work: &Path, config: &Path) -> Result<Self> {
        let mut mesh = Self::prepare(power, work, Source::Folder(config.to_path_buf()))?;
        mesh.start_reef()?;
        Ok(mesh)
    }

    /// Makes the network, and leaves it to the caller to start Reef.
    ///
    /// # Errors
    /// When a program is missing.
    pub fn prepare(power: Power, work: &Path, source: Source) -> Result<Self> {
        make_bridge()?;
        let envoy_binary = mount_envoy()?;
        shell(&format!("chmod 755 {}", work.display()))?;
        Ok(Self {
            secure: None,
            debug_token: None,
            power,
            work: work.to_path_buf(),
            source,
            envoy_binary,
            reef_arguments: Vec::new(),
            reef: None,
            pods: BTreeMap::new(),
            others: Vec::new(),
        })
    }

    /// Starts Reef and waits until it is ready.
    ///
    /// # Errors
    /// When it ends or is not ready in [`PATIENCE`].
    pub fn start_reef(&mut self) -> Result<()> {
        self.spawn_reef()?;
        self.wait_reef(PATIENCE)
    }

    /// Starts Reef.
    ///
    /// # Errors
    /// When the program is missing.
    pub fn spawn_reef(&mut self) -> Result<()> {
        let mut command = Command::new(program("reef", "REEF_BIN")?);
        command.arg("serve");
        // Who has a certificate to show speaks plaintext to this machine only, which is the default.
        if self.secure.is_none() {
            command.args([
                "--insecure-xds",
                "--grpc-addr",
                &format!("{HOST}:{XDS_PORT}"),
            ]);
        }
        match &self.source {
            Source::Folder(folder) => command.arg("--config-dir").arg(folder),
            Source::Kubeconfig(file) => command.arg("--kubeconfig").arg(file),
        };
        command
            .args(["--http-addr", "127.0.0.1:8080"])
            .args(["--monitoring-addr", MONITORING])
            .args(&self.reef_arguments);
        self.reef = Some(Running::start(&mut command, self.work.join("reef.log"))?);
        Ok(())
    }

    /// Waits until Reef is ready.
    ///
    /// # Errors
    /// When it ends or is not ready in time, with its last lines.
    pub fn wait_reef(&mut self, limit: Duration) -> Result<()> {
        let reef = self.reef.as_mut().context("Reef was not started")?;
        let ready = wait(limit, || reef.ended() || reef_is_ready());
        if !ready || reef.ended() {
            bail!("Reef did not become ready:\n{}", reef.tail());
        }
        Ok(())
    }

    /// Everything Reef wrote since its first start.
    ///
    /// # Errors
    /// When there is no log.
    pub fn reef_log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.work.join("reef.log"))?)
    }

    /// Gives Reef further arguments, from its next start on.
    pub fn set_reef_arguments(&mut self, arguments: &[&str]) {
        self.reef_arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
    }

    /// Makes the Envoys of pods that are started from now on use TLS and tokens, and Reef, from its next start on, serve
    /// nobody else but this machine; or ends that.
    pub fn set_secure(&mut self, secure: Option<Secure>) {
        self.secure = secure;
    }

    /// Kills Reef with SIGKILL.
    pub fn kill_reef(&mut self) {
        self.reef = None;
    }

    /// Whether Reef ended by itself, or was never started.
    pub fn reef_ended(&mut self) -> bool {
        self.reef.as_mut().is_none_or(Running::ended)
    }

    /// Reef's process id, in our namespace.
    pub fn reef_pid(&self) -> Option<u32> {
        self.reef.as_ref().map(Running::pid)
    }

    /// Starts everything the manifests name, without waiting for readiness.
    ///
    /// # Errors
    /// When a network or a process cannot be made.
    pub fn start_all(&mut self, manifests: &Manifests) -> Result<()> {
        for pod in manifests.pods() {
            self.start_pod(&pod)?;
        }
        for outside in manifests.outside() {
            self.start_outside(&outside.host, outside.ip, &outside.ports)?;
        }
        Ok(())
    }

    /// Starts one pod with its sidecar.
    ///
    /// # Errors
    /// When its network or a process cannot be made.
    pub fn start_pod(&mut self, spec: &PodSpec) -> Result<()> {
        let net = PodNet::make(&spec.name, spec.ip)?;
        if let Some(v6) = spec.v6 {
            net.add_v6(v6)?;
        }
        self.intercept(&net, spec)?;
        let listen = spec.listen(&self.work);
        let (app, control) = self.start_app(&net, &spec.name, &spec.name, &listen)?;
        let envoy = self.start_envoy(&net, spec)?;
        let pod = Pod {
            net,
            ip: spec.ip,
            control,
            _app: app,
            envoy: Some(envoy),
        };
        self.pods.insert(spec.name.clone(), pod);
        Ok(())
    }

    /// Starts an app outside the mesh.
    ///
    /// # Errors
    /// When its network or the process cannot be made.
    pub fn start_outside(&mut self, name: &str, ip: Ipv4Addr, ports: &[u16]) -> Result<()> {
        let net = PodNet::make(name, ip)?;
        let listen: Vec<String> = ports
            .iter()
            .flat_map(|port| ["--http".to_owned(), port.to_string()])
            .collect();
        let (app, control) = self.start_app(&net, name, name, &listen)?;
        let pod = Pod {
            net,
            ip,
            control,
            _app: app,
            envoy: None,
        };
        self.pods.insert(name.to_owned(), pod);
        Ok(())
    }

    fn start_app(
        &self,
        net: &PodNet,
        file: &str,
        name: &str,
        listen: &[String],
    ) -> Result<(Running, PathBuf)> {
        let control = self.work.join(format!("{file}.sock"));
        let testapp = program("reef-testapp", "REEF_TESTAPP_BIN")?;
        let mut command = net.command(&testapp.to_string_lossy());
        command.args(["--name", name, "--control"]).arg(&control);
        command.args(listen);
        let app = Running::start(&mut command, self.work.join(format!("{file}.app.log")))?;
        Ok((app, control))
    }

    /// Installs the rules the pod's annotations ask for, by the command a person would use.
    fn intercept(&self, net: &PodNet, spec: &PodSpec) -> Result<()> {
        let mut command = net.command(&program("reef", "REEF_BIN")?.to_string_lossy());
        command.args(["intercept", "install"]);
        for (key, value) in &spec.annotations {
            command.args(["--annotation", &format!("{key}={value}")]);
        }
        if self.power == Power::User {
            command.args(["--mark", &PROXY_MARK.to_string()]);
        }
        run(&mut command).with_context(|| format!("pod {}", spec.name))
    }

    /// Writes the bootstrap by the command a person would use; returns where it is.
    fn bootstrap(&self, spec: &PodSpec, mode: &str) -> Result<PathBuf> {
        let file = self.work.join(format!("{}.bootstrap.json", spec.name));
        let ips: Vec<String> = std::iter::once(spec.ip.to_string())
            .chain(spec.v6.map(|v6| v6.to_string()))
            .collect();
        let mut command = Command::new(program("reef", "REEF_BIN")?);
        command
            .args(["bootstrap", "--pod", &spec.name])
            .args(["--namespace", &spec.namespace, "--ip", &ips.join(",")])
            .args(["--service-account", &spec.service_account])
            .args(["--interception", &mode.to_lowercase(), "--file"])
            .arg(&file);
        let port = match &self.secure {
            None => XDS_PORT,
            Some(secure) => {
                command
                    .arg("--token-file")
                    .arg(secure.tokens.join(&spec.name))
                    .arg("--ca-file")
                    .arg(&secure.ca_file)
                    .args(["--server-name", &secure.server_name])
                    .arg("--sds-dir")
                    .arg(self.sds_dir(&spec.name)?);
                SECURE_PORT
            }
        };
        command.args(["--discovery", &format!("{HOST}:{port}")]);
        for (key, value) in &spec.labels {
            command.args(["--label", &format!("{key}={value}")]);
        }
        for (key, value) in &spec.annotations {
            command.args(["--annotation", &format!("{key}={value}")]);
        }
        for (name, port) in &spec.ports {
            command.args(["--pod-port", &format!("{name}:{port}")]);
        }
        if let Some(node) = &spec.node {
            command.args(["--node-name", node]);
        }
        if self.power == Power::User {
            command.args(["--socket-mark", &PROXY_MARK.to_string()]);
        }
        run(&mut command).with_context(|| format!("pod {}", spec.name))?;
        Ok(file)
    }

    /// A folder for the files that tell an Envoy where token and certificate are.
    fn sds_dir(&self, pod: &str) -> Result<PathBuf> {
        let folder = self.work.join(format!("{pod}.sds"));
        std::fs::create_dir_all(&folder)?;
        shell(&format!("chmod 755 {}", folder.display()))?;
        Ok(folder)
    }

    fn start_envoy(&self, net: &PodNet, spec: &PodSpec) -> Result<Running> {
        let mode = spec.annotations.get(INTERCEPTION);
        let mode = mode.map_or("REDIRECT", String::as_str);
        let file = self.bootstrap(spec, mode)?;
        let binary = self.envoy_binary.to_string_lossy();
        let id = PROXY_ID.to_string();
        let mut command = match self.power {
            Power::User => net.command(&binary),
            Power::Root => {
                let mut command = net.command("setpriv");
                command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
                if mode == "TPROXY" {
                    // For the addresses and marks of others.
                    let admin = "+net_admin";
                    command.args(["--inh-caps", admin, "--ambient-caps", admin]);
                }
                command.arg(&*binary);
                command
            }
        };
        command
            .arg("--config-path")
            .arg(&file)
            .args(["--concurrency", "1", "--disable-hot-restart"])
            .args(["--log-level", "warning"]);
        Running::start(
            &mut command,
            self.work.join(format!("{}.envoy.log", spec.name)),
        )
    }

    /// Starts a process in a pod's network; it ends with the mesh.
    ///
    /// # Errors
    /// When there is no such pod or the program cannot be started.
    pub fn start_in(&mut self, pod: &str, program: &str, arguments: &[&str]) -> Result<()> {
        let mut command = self.command_in(pod, program)?;
        let log = self.work.join(format!("{pod}.{}.log", self.others.len()));
        self.others
            .push(Running::start(command.args(arguments), log)?);
        Ok(())
    }

    /// Names of the pods that have a sidecar, sorted.
    pub fn proxies(&self) -> Vec<String> {
        let with = self.pods.iter().filter(|(_, pod)| pod.envoy.is_some());
        with.map(|(name, _)| name.clone()).collect()
    }

    fn pod(&self, name: &str) -> Result<&Pod> {
        self.pods
            .get(name)
            .with_context(|| format!("no pod {name}"))
    }

    /// Makes the app of a pod perform a call.
    ///
    /// # Errors
    /// What the call ended with.
    pub fn call(&self, pod: &str, call: &Call) -> Result<Answer> {
        control::ask(&self.pod(pod)?.control, call)
    }

    /// Asks the admin interface of a pod's Envoy.
    ///
    /// # Errors
    /// When it does not answer with 200.
    pub fn envoy_admin(&self, pod: &str, path: &str) -> Result<String> {
        let answer = self.call(
            pod,
            &Call {
                protocol: Protocol::Http1,
                address: "127.0.0.1:15000".to_owned(),
                authority: "127.0.0.1:15000".to_owned(),
                path: path.to_owned(),
            },
        )?;
        if answer.status != 200 {
            bail!("{pod}: {path}: {} {}", answer.status, answer.body.trim());
        }
        Ok(answer.body)
    }

    /// Reads one number of a pod's Envoy; 0 if Envoy has not made it yet.
    ///
    /// # Errors
    /// When the admin interface does not answer.
    pub fn envoy_stat(&self, pod: &str, name: &str) -> Result<u64> {
        let page = self.envoy_admin(pod, &format!("/stats?filter=^{name}$"))?;
        let number = page.trim().rsplit(": ").next().unwrap_or_default();
        Ok(number.parse().unwrap_or_default())
    }

    /// Bytes a pod's Envoy has received from Reef, as Envoy counts them on its sockets.
    ///
    /// # Errors
    /// When the admin interface does not answer.
    pub fn received_bytes(&self, pod: &str) -> Result<u64> {
        self.envoy_stat(pod, "cluster.reef-xds.upstream_cx_rx_bytes_total")
    }

    /// Whether a pod's readiness listener says that its Envoy is ready.
    ///
    /// # Errors
    /// When there is no such pod.
    pub fn is_ready(&self, pod: &str) -> Result<bool> {
        let address = format!("{}:15021", self.pod(pod)?.ip);
        Ok(call::page(&address, "/healthz/ready").is_ok())
    }

    /// Waits until every Envoy is ready; returns how long that took.
    ///
    /// # Errors
    /// When one is not in time, with its last log lines.
    pub fn wait_ready(&mut self, limit: Duration) -> Result<Duration> {
        let begin = now();
        for name in self.proxies() {
            let left = limit.saturating_sub(begin.elapsed());
            if wait(left, || self.is_ready(&name).unwrap_or(false)) {
                continue;
            }
            let state = self.envoy_admin(&name, "/server_info").unwrap_or_default();
            let stats = self
                .envoy_admin(&name, "/stats?filter=warming|rejected|init_fetch|update_")
                .unwrap_or_default();
            let log = self.pod(&name)?.envoy.as_ref().map(Running::tail);
            bail!(
                "{name} is not ready after {limit:?}\n{}\n{stats}\n{}\nReef:\n{}",
                state.lines().find(|l| l.contains("state")).unwrap_or("-"),
                log.unwrap_or_default(),
                self.reef.as_ref().map(Running::tail).unwrap_or_default()
            );
        }
        Ok(begin.elapsed())
    }

    /// Counts rejected updates and things still warming, over all Envoys.
    ///
    /// # Errors
    /// When an Envoy or Reef does not answer.
    pub fn complaints(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for name in self.proxies() {
            for stat in [
                "cluster_manager.cds.update_rejected",
                "cluster_manager.warming_clusters",
                "listener_manager.lds.update_rejected",
                "listener_manager.total_listeners_warming",
            ] {
                let count = self.envoy_stat(&name, stat)?;
                if count > 0 {
                    found.push(format!("{name}: {stat} = {count}"));
                }
            }
        }
        for proxy in self.reef_proxies()? {
            for (kind, state) in proxy["types"].as_object().into_iter().flatten() {
                if let Some(error) = state["lastError"].as_str() {
                    found.push(format!("{}: {kind}: {error}", proxy["id"]));
                }
            }
        }
        Ok(found)
    }

    /// Shows this token when asking for debug pages.
    pub fn set_debug_token(&mut self, token: String) {
        self.debug_token = Some(token);
    }

    /// What Reef says about its proxies (`/debug/proxies`).
    ///
    /// # Errors
    /// When Reef does not answer.
    pub fn reef_proxies(&self) -> Result<Vec<Value>> {
        let page = call::page_as(MONITORING, "/debug/proxies", self.debug_token.as_deref())?;
        Ok(serde_json::from_str(&page)?)
    }

    /// The control socket of a pod's app, for calls from other threads.
    ///
    /// # Errors
    /// When there is no such pod.
    pub fn control_of(&self, pod: &str) -> Result<PathBuf> {
        Ok(self.pod(pod)?.control.clone())
    }

    /// Prepares a command in a pod's network.
    ///
    /// # Errors
    /// When there is no such pod.
    pub fn command_in(&self, pod: &str, program: &str) -> Result<Command> {
        Ok(self.pod(pod)?.net.command(program))
    }
}

/// Whether Reef says that it is ready.
pub fn reef_is_ready() -> bool {
    call::page(MONITORING, "/ready").is_ok()
}

/// How long tests wait for what must come, unless how soon it comes is what they are about: who waits in vain fails a
/// little later, and who waits on a very busy machine does not fail.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Waits for what must come true. `false` if it did not in all our patience.
pub fn comes_true(condition: impl FnMut() -> bool) -> bool {
    wait(PATIENCE, condition)
}

/// Waits for a condition, asking every 50 ms. `false` if it did not come true in time.
pub fn wait(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let begin = now();
    loop {
        if condition() {
            return true;
        }
        if begin.elapsed() >= limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The time, for measuring.
#[expect(
    clippy::disallowed_methods,
    reason = "real processes take real time; nothing here is the product's core"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// Finds a program of ours: where the environment says, else beside this one.
///
/// # Errors
/// When it is not built.
pub fn program(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let this = std::env::current_exe()?;
    let found = this
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.with_context(|| {
        format!("{name} is not built: cargo build -p reef -p reef-e2e --bins (or set {variable})")
    })
}

/// Makes Envoy readable for every user: the file may be below a closed home folder.
fn mount_envoy() -> Result<PathBuf> {
    let binary = std::env::var("ENVOY_BIN")
        .context("ENVOY_BIN is not set; `cargo xtask envoy` fetches Envoy and prints its path")?;
    shell(&format!(
        "touch /run/envoy && mount --bind '{binary}' /run/envoy"
    ))?;
    Ok(PathBuf::from("/run/envoy"))
}
