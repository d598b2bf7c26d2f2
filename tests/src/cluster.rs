//! A real API server on this machine: etcd, kube-apiserver, and kubectl to talk with it.
//!
//! ```text
//! assets   where the four programs are
//! keys     the certificates and tokens of a cluster, made for it alone
//! faults   stopping, killing, compacting, wiping
//! audit    which verbs were used, and what a ClusterRole grants
//! objects  what a cluster without controllers needs us to write: CRDs, statuses
//! tokens   tokens of pods, mounted and rotated, and forged ones
//! ```
//!
//! There is no controller, no scheduler and no kubelet: who needs EndpointSlices, pods with an address
//! or ServiceAccounts writes them, and a namespace that is deleted stays.

mod assets;
pub mod audit;
pub mod faults;
mod keys;
pub mod objects;
pub mod tokens;

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::mesh::{comes_true, wait};
use crate::net::Running;

pub use assets::tool;
pub use keys::{ADMIN, REEF};

/// How long a cold start of the API server may take on a busy machine.
const START: Duration = Duration::from_secs(90);

/// What is special about a cluster.
#[derive(Debug, Default, Clone)]
pub struct ClusterOptions {
    /// Further arguments of kube-apiserver; the last of a name counts.
    pub api_arguments: Vec<String>,
    /// Does not install the Istio kinds.
    pub without_crds: bool,
    /// Installs definitions that let every field pass, even where `deploy/crds` has better ones.
    pub bare_crds: bool,
}

/// A running cluster. Everything ends with the value.
#[derive(Debug)]
pub struct Cluster {
    work: PathBuf,
    options: ClusterOptions,
    /// Ports of etcd for clients, of etcd for its like, of the API server.
    ports: [u16; 3],
    etcd: Option<Running>,
    api: Option<Running>,
}

impl Cluster {
    /// Starts etcd and the API server and installs the Istio kinds. Files go to `work`.
    ///
    /// # Errors
    /// When a program is missing or does not become ready.
    pub fn start(work: &Path, options: ClusterOptions) -> Result<Self> {
        std::fs::create_dir_all(work)?;
        let mut cluster = Self {
            work: work.to_path_buf(),
            options,
            ports: free_ports()?,
            etcd: None,
            api: None,
        };
        keys::make(work)?;
        std::fs::write(work.join("audit.yaml"), audit::POLICY)?;
        for user in [ADMIN, REEF] {
            cluster.write_kubeconfig(user, keys::token(user))?;
        }
        cluster.start_etcd()?;
        cluster.start_api()?;
        // It makes them when it is ready already.
        let own = ["get", "namespace", "default", "kube-system"];
        let made = comes_true(|| cluster.kubectl(&own).is_ok());
        ensure!(made, "it made no namespaces:\n{}", cluster.tail());
        if !cluster.options.without_crds {
            let crds = match cluster.options.bare_crds {
                true => objects::bare_crds(),
                false => objects::crds()?,
            };
            cluster.apply(&crds)?;
            cluster.wait_established()?;
        }
        Ok(cluster)
    }

    /// Waits until every kind that is defined can be asked for: what says that it is established knows no more than that it
    /// will be.
    ///
    /// # Errors
    /// When one is not, with what was said.
    pub fn wait_established(&self) -> Result<()> {
        let established = ["wait", "--for=condition=established", "crd", "--all"];
        self.kubectl(&[&established[..], &["--timeout=90s"]].concat())?;
        let all = ["get", "crd", "-o", "jsonpath={.items[*].metadata.name}"];
        let names = self.kubectl(&all)?.replace(' ', ",");
        let mut said = Ok(String::new());
        let served = comes_true(|| {
            said = self.kubectl(&["get", &names, "--all-namespaces"]);
            said.is_ok()
        });
        ensure!(served, "kinds are not served: {said:?}");
        Ok(())
    }

    fn start_etcd(&mut self) -> Result<()> {
        let [clients, peers, _] = self.ports;
        let address = format!("http://127.0.0.1:{clients}");
        let peer = format!("http://127.0.0.1:{peers}");
        let mut command = Command::new(tool("etcd")?);
        command
            .arg("--data-dir")
            .arg(self.work.join("etcd"))
            .args(["--unsafe-no-fsync", "--log-level", "warn"])
            .args(["--listen-client-urls", &address])
            .args(["--advertise-client-urls", &address])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")]);
        self.etcd = Some(Running::start(&mut command, self.work.join("etcd.log"))?);
        Ok(())
    }

    /// Starts the API server and waits until it is ready.
    ///
    /// # Errors
    /// When it ends or is not ready in time, with its last lines.
    pub fn start_api(&mut self) -> Result<()> {
        let mut api = Running::start(&mut self.api_command()?, self.work.join("api.log"))?;
        let ready = wait(START, || {
            api.ended() || self.kubectl(&["get", "--raw", "/readyz"]).is_ok()
        });
        if !ready || api.ended() {
            bail!("the API server did not become ready:\n{}", api.tail());
        }
        self.api = Some(api);
        Ok(())
    }

    fn api_command(&self) -> Result<Command> {
        let [etcd, _, port] = self.ports;
        let file = |name: &str| self.work.join(name).to_string_lossy().into_owned();
        let mut command = Command::new(tool("kube-apiserver")?);
        for (name, value) in [
            ("etcd-servers", format!("http://127.0.0.1:{etcd}")),
            ("bind-address", "127.0.0.1".to_owned()),
            // A namespace of ours has no default route to guess it from.
            ("advertise-address", "127.0.0.1".to_owned()),
            ("endpoint-reconciler-type", "none".to_owned()),
            ("secure-port", port.to_string()),
            ("tls-cert-file", file(keys::SERVING_CERT)),
            ("tls-private-key-file", file(keys::SERVING_KEY)),
            ("cert-dir", file("certs")),
            ("service-cluster-ip-range", "10.96.0.0/12".to_owned()),
            ("allow-privileged", "true".to_owned()),
            ("authorization-mode", "RBAC".to_owned()),
            ("audit-policy-file", file("audit.yaml")),
            ("audit-log-path", file(audit::LOG)),
            ("token-auth-file", file(keys::TOKENS)),
            ("service-account-issuer", keys::ISSUER.to_owned()),
            ("service-account-key-file", file(keys::ACCOUNT_PUBLIC)),
            ("service-account-signing-key-file", file(keys::ACCOUNT_KEY)),
            ("api-audiences", format!("{},istio-ca", keys::ISSUER)),
            // Pods without a token made for them.
            ("disable-admission-plugins", "ServiceAccount".to_owned()),
            // Webhooks are reached at the endpoints of their Service: nobody has a virtual address.
            ("enable-aggregator-routing", "true".to_owned()),
        ] {
            command.arg(format!("--{name}={value}"));
        }
        command.args(&self.options.api_arguments);
        Ok(command)
    }

    /// Gives the API server further arguments, from its next start on.
    pub fn set_api_arguments(&mut self, arguments: &[&str]) {
        self.options.api_arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
    }

    /// Where the API server listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[2])
    }

    /// Where etcd listens.
    pub fn etcd_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// The certificate that signed the API server's.
    pub fn ca_file(&self) -> PathBuf {
        self.work.join(keys::CA_CERT)
    }

    /// The kubeconfig of a user of the token file: [`ADMIN`] or [`REEF`].
    pub fn kubeconfig_for(&self, user: &str) -> PathBuf {
        self.work
            .join(format!("{}.kubeconfig", user.replace(':', "-")))
    }

    /// Writes a kubeconfig for a bearer token; returns where it is.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_kubeconfig(&self, user: &str, token: &str) -> Result<PathBuf> {
        let file = self.kubeconfig_for(user);
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters:\n- name: test\n  cluster:\n    server: https://{}\n    \
             certificate-authority: {}\n\
             contexts:\n- name: test\n  context: {{cluster: test, user: test}}\n\
             users:\n- name: test\n  user:\n    token: {token}\n",
            self.address(),
            self.ca_file().display()
        );
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    /// Prepares kubectl (or helm) with the rights of a user.
    ///
    /// # Errors
    /// When the program is missing.
    pub fn command_as(&self, user: &str, program: &str) -> Result<Command> {
        let mut command = Command::new(tool(program)?);
        command
            .env("KUBECONFIG", self.kubeconfig_for(user))
            .env("KUBECACHEDIR", self.work.join("kubectl-cache"))
            // Neither reads or writes what belongs to the person who runs the tests.
            .env("HOME", &self.work)
            .env_remove("XDG_CACHE_HOME")
            .env_remove("XDG_CONFIG_HOME");
        Ok(command)
    }

    /// Runs kubectl as administrator; returns what it printed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_with(arguments, "")
    }

    /// The same, with something on its standard input.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = self.command_as(ADMIN, "kubectl")?;
        // A stopped API server answers nobody.
        command.arg("--request-timeout=30s").args(arguments);
        answer_of(&mut command, input)
    }

    /// Applies manifests, and the statuses of Pods among them, which `kubectl apply` leaves out.
    ///
    /// # Errors
    /// When kubectl or the API server refuses.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        self.kubectl_with(&["apply", "-f", "-"], manifests)?;
        let statuses = objects::statuses(manifests)?;
        if !statuses.is_empty() {
            let how = [
                "apply",
                "--server-side",
                "--force-conflicts",
                "--subresource=status",
            ];
            self.kubectl_with(&[&how[..], &["-f", "-"]].concat(), &statuses)?;
        }
        Ok(())
    }

    /// Waits until roles and bindings that were applied count: authorization learns of them by watches of its own, each of
    /// which tells a kind's objects in order, so whoever has the rights of one made now has those of all before it.
    ///
    /// # Errors
    /// When they do not.
    pub fn wait_rights(&self) -> Result<()> {
        static TURN: AtomicU32 = AtomicU32::new(0);
        let turn = TURN.fetch_add(1, Ordering::Relaxed);
        let user = format!("mark-{}-{turn}", std::process::id());
        let role = |kind: &str, namespace: &str| {
            format!(
                "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\n\
                 metadata: {{name: {user}{namespace}}}\n\
                 rules: [{{apiGroups: [''], resources: [pods], verbs: [{}]}}]\n\
                 ---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}Binding\n\
                 metadata: {{name: {user}{namespace}}}\n\
                 roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: {user}}}\n\
                 subjects: [{{kind: User, apiGroup: rbac.authorization.k8s.io, name: {user}}}]\n",
                if kind == "Role" { "get" } else { "list" }
            )
        };
        let marks = [
            role("Role", ", namespace: default"),
            role("ClusterRole", ""),
        ]
        .concat();
        self.kubectl_with(&["create", "-f", "-"], &marks)?;
        let review = |verb: &str| {
            format!(
                "---\napiVersion: authorization.k8s.io/v1\nkind: SubjectAccessReview\nspec: {{user: {user}, \
                 resourceAttributes: {{namespace: default, resource: pods, verb: {verb}}}}}\n"
            )
        };
        let reviews = [review("get"), review("list")].concat();
        let how = ["create", "-o", "jsonpath={.status.allowed};", "-f", "-"];
        let mut said = Ok(String::new());
        let counts = comes_true(|| {
            said = self.kubectl_with(&how, &reviews);
            said.as_ref().is_ok_and(|said| said == "true;true;")
        });
        self.kubectl_with(&["delete", "-f", "-"], &marks)?;
        ensure!(counts, "the roles have no effect: {said:?}");
        Ok(())
    }

    /// Deletes what manifests name, at once: there is no kubelet to wait for.
    ///
    /// # Errors
    /// When kubectl or the API server refuses.
    pub fn delete(&self, manifests: &str) -> Result<()> {
        let how = [
            "delete",
            "--grace-period=0",
            "--force",
            "--wait=false",
            "-f",
            "-",
        ];
        self.kubectl_with(&how, manifests).map(drop)
    }

    /// Makes a token of a ServiceAccount for an audience, bound to a Pod if one is named.
    ///
    /// # Errors
    /// When the account or the Pod is not there.
    pub fn token_for(
        &self,
        namespace: &str,
        account: &str,
        pod: Option<&str>,
        audience: &str,
    ) -> Result<String> {
        let mut arguments = vec!["create", "token", account, "-n", namespace];
        arguments.extend(["--duration=1h", "--audience", audience]);
        if let Some(pod) = pod {
            arguments.extend(["--bound-object-kind=Pod", "--bound-object-name", pod]);
        }
        Ok(self.kubectl(&arguments)?.trim().to_owned())
    }

    /// Everything the API server was asked since its first start, oldest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn audit(&self) -> Result<Vec<audit::Event>> {
        audit::read(&self.work.join(audit::LOG))
    }

    /// The last lines of the API server's log.
    pub fn tail(&self) -> String {
        self.api.as_ref().map(Running::tail).unwrap_or_default()
    }
}

/// Runs a command with an input; returns what it printed.
fn answer_of(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Who refuses its arguments reads no input; its exit code says more.
        stdin.write_all(input.as_bytes()).unwrap_or_default();
    }
    let output = child.wait_with_output()?;
    let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
    ensure!(
        output.status.success(),
        "{}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8(output.stdout).context("no UTF-8")
}

/// Ports nobody uses now, and which no connection is given while a server is down: clients that knock at a port of
/// those may get it for their own end, and the server has to find another.
fn free_ports() -> Result<[u16; 3]> {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 10_000;
    // Clusters beside one another, of several processes, begin at different ones.
    let start = u16::try_from(std::process::id() % u32::from(COUNT))?;
    let all = (0..COUNT).map(|at| FIRST + (start + at) % COUNT);
    let free = all.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let found: Vec<u16> = free.take(3).collect();
    let found = <[u16; 3]>::try_from(found);
    found.map_err(|found| anyhow::anyhow!("free ports: only {found:?}"))
}

#[cfg(test)]
mod tests;
