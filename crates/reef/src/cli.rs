//! What can be typed: commands, options, their environment variables and defaults.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use reef_config::ClusterId;
use reef_kube::ClusterOptions;
use reef_mesh::Unenforced;

use crate::mesh::MeshOptions;
use crate::serve::ClusterSettings;

/// Reef, an xDS control plane for Istio sidecars.
#[derive(Debug, Parser)]
#[command(name = "reef", version, about, propagate_version = true)]
pub struct Cli {
    /// Logging, common to all commands.
    #[command(flatten)]
    pub log: LogOptions,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// How Reef logs.
#[derive(Debug, Clone, Args)]
pub struct LogOptions {
    /// Least level shown, or a list such as `info,reef_server=debug`.
    #[arg(
        long,
        global = true,
        env = "REEF_LOG_LEVEL",
        default_value = "info",
        value_name = "LEVEL"
    )]
    pub log_level: String,
    /// Form of the log lines.
    #[arg(
        long,
        global = true,
        env = "REEF_LOG_FORMAT",
        default_value = "text",
        value_enum
    )]
    pub log_format: LogFormat,
}

/// Form of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve proxies from a directory of Kubernetes and Istio YAML, or from a cluster.
    ///
    /// Without `--config-dir` the cluster of the kubeconfig is followed, and without that the one this pod runs in.
    Serve(Box<ServeArgs>),
    /// Validate a directory offline, or a cluster read once: parse, index, and generate for the default scopes.
    ///
    /// Exit code 0: all is well. 1: errors. 2: no error, but something is not applied. 64: wrong usage.
    Check(CheckArgs),
    /// Show a running Reef: its mesh, its proxies, its problems.
    Status(StatusArgs),
    /// Say why a proxy does, or does not, see a service.
    Why(WhyArgs),
    /// Say where a request would go, from what a proxy holds.
    ///
    /// Where Envoy leaves it to chance, all that can happen is told with its probability.
    Simulate(Box<crate::simulate::SimulateArgs>),
    /// Print what a proxy would hold, offline, as its config dump would show it.
    ///
    /// Problems are printed on standard error, a line each, and end nothing.
    Render(RenderArgs),
    /// Say what a change of the objects would do to every proxy, offline: which resources change, field by field, how
    /// many bytes are sent, and what drains or warms.
    ///
    /// Every Pod of either directory is a proxy. Exit code 0: nothing changes. 1: something does. 2: an input could not
    /// be read, or not in whole. 64: wrong usage. What the change makes wrong, or mends, is printed on standard error.
    Diff(DiffArgs),
    /// Write the bootstrap of a sidecar's Envoy.
    Bootstrap(Box<crate::sidecar::BootstrapArgs>),
    /// Add the sidecar to the pods of manifests, as the webhook does it in a cluster.
    ///
    /// Pods, Deployments, StatefulSets, DaemonSets, Jobs, CronJobs and Lists of them are changed, everything else is
    /// printed as it is. What was done is told on standard error.
    Inject(crate::inject::InjectArgs),
    /// Install or remove the iptables rules of a sidecar.
    Intercept(crate::sidecar::InterceptArgs),
    /// Print the completion script of a shell.
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the version of this build.
    Version(OutputArgs),
}

/// Form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// Form of the answer, as an option.
#[derive(Debug, Clone, Copy, Args)]
pub struct OutputArgs {
    /// Form of the answer.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
}

/// What the mesh is, beyond its objects; the same for serving, checking and rendering.
#[derive(Debug, Clone, Args)]
pub struct MeshArgs {
    /// File with the MeshConfig; wins over the ConfigMap `istio`.
    #[arg(long, env = "REEF_MESH_CONFIG", value_name = "FILE")]
    pub mesh_config: Option<PathBuf>,
    /// Suffix of Service names (istiod's `--domain`).
    #[arg(
        long,
        visible_alias = "cluster-domain",
        env = "REEF_DOMAIN",
        default_value = "cluster.local",
        value_parser = domain,
        value_name = "NAME"
    )]
    pub domain: String,
    /// Cluster the objects belong to, and proxies whose metadata names none (istiod's `--clusterID`).
    #[arg(
        long,
        env = "REEF_CLUSTER_ID",
        default_value = "Kubernetes",
        value_parser = clap::builder::NonEmptyStringValueParser::new(),
        value_name = "NAME"
    )]
    pub cluster_id: String,
    /// Traffic to workloads selected by a security rule that Reef cannot enforce yet.
    #[arg(
        long,
        env = "REEF_UNENFORCED_SECURITY",
        default_value = "deny",
        value_enum
    )]
    pub unenforced_security: UnenforcedArg,
}

/// A cluster, for commands that read one.
#[derive(Debug, Clone, Default, Args)]
pub struct ClusterArgs {
    /// Kubeconfig of the cluster to read; without it, the cluster this pod runs in, for `check` the one kubectl asks.
    #[arg(long, env = "REEF_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; its current one without.
    #[arg(
        long,
        env = "REEF_CONTEXT",
        requires = "kubeconfig",
        value_name = "NAME"
    )]
    pub context: Option<String>,
    /// ConfigMap with the MeshConfig, of which the keys `mesh` and `meshNetworks` are read.
    #[arg(
        long,
        env = "REEF_MESH_CONFIG_MAP",
        default_value = "istio-system/istio",
        value_parser = config_map,
        value_name = "NAMESPACE/NAME"
    )]
    pub mesh_config_map: (String, String),
}

impl ClusterArgs {
    /// The same as the server wants it.
    #[must_use]
    pub fn settings(&self) -> ClusterSettings {
        ClusterSettings {
            connect: ClusterOptions {
                kubeconfig: self.kubeconfig.clone(),
                context: self.context.clone(),
            },
            mesh_config_map: self.mesh_config_map.clone(),
        }
    }
}

/// What becomes of traffic whose security rules cannot be enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UnenforcedArg {
    /// It passes as if the rule were not there; the problem is reported.
    Allow,
    /// It is refused; the problem is reported.
    Deny,
}

impl MeshArgs {
    /// The same in the mesh's own terms.
    #[must_use]
    pub fn options(&self) -> MeshOptions {
        MeshOptions {
            domain: self.domain.clone(),
            cluster: ClusterId::from(self.cluster_id.as_str()),
            unenforced: match self.unenforced_security {
                UnenforcedArg::Allow => Unenforced::Allow,
                UnenforcedArg::Deny => Unenforced::Deny,
            },
        }
    }
}

/// Settings of `reef serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Directory of YAML or JSON objects instead of a cluster; may be given several times.
    #[arg(
        long,
        env = "REEF_CONFIG_DIR",
        value_delimiter = ',',
        conflicts_with = "kubeconfig",
        value_name = "DIR"
    )]
    pub config_dir: Vec<PathBuf>,
    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// What the mesh is.
    #[command(flatten)]
    pub mesh: MeshArgs,
    /// The encrypted port and identities.
    #[command(flatten)]
    pub channel: crate::channel::ChannelArgs,
    /// Address of the xDS port (plaintext gRPC).
    #[arg(
        long,
        env = "REEF_GRPC_ADDR",
        default_value = "127.0.0.1:15010",
        value_name = "ADDR"
    )]
    pub grpc_addr: SocketAddr,
    /// Address of the HTTP port: readiness and debug pages.
    #[arg(
        long,
        env = "REEF_HTTP_ADDR",
        default_value = "127.0.0.1:8080",
        value_name = "ADDR"
    )]
    pub http_addr: SocketAddr,
    /// Address of the monitoring port: the same, and metrics.
    #[arg(
        long,
        env = "REEF_MONITORING_ADDR",
        default_value = "127.0.0.1:15014",
        value_name = "ADDR"
    )]
    pub monitoring_addr: SocketAddr,
    /// Serve plaintext xDS beyond loopback. Whoever reaches the port reads every proxy's configuration.
    #[arg(long, env = "REEF_INSECURE_XDS")]
    pub insecure_xds: bool,
    /// The admission webhooks.
    #[command(flatten)]
    pub webhooks: crate::serve::webhook::WebhookArgs,
    /// Write problems into the `status` of Istio objects and tell them as Events. Of several replicas the one with the
    /// Lease `reef-leader` writes.
    #[arg(long, env = "REEF_STATUS", conflicts_with = "config_dir")]
    pub status: bool,
    /// Quiet time after a change before it is pushed; further changes start it anew. A change of endpoints alone that
    /// comes when nothing was pushed for `--debounce-max` does not wait.
    #[arg(long, env = "REEF_DEBOUNCE_AFTER", default_value = "10ms", value_parser = duration, value_name = "TIME")]
    pub debounce_after: Duration,
    /// Longest time a change waits however many follow it.
    #[arg(long, env = "REEF_DEBOUNCE_MAX", default_value = "100ms", value_parser = duration, value_name = "TIME")]
    pub debounce_max: Duration,
    /// How often all files are compared by name, size and time, whatever the kernel told of changes; for file systems
    /// that do not tell.
    #[arg(long, env = "REEF_COMPARE_EVERY", default_value = "30s", value_parser = duration, value_name = "TIME")]
    pub compare_every: Duration,
    /// How long open requests and streams may take to end on SIGTERM.
    #[arg(long, env = "REEF_DRAIN_DURATION", default_value = "5s", value_parser = duration, value_name = "TIME")]
    pub drain_duration: Duration,
    /// How old a connection may get, give or take a tenth, before its proxy is sent to connect anew, so that replicas
    /// share the proxies (istiod's `--keepaliveMaxServerConnectionAge`); 0 is for ever.
    #[arg(
        long,
        visible_alias = "keepaliveMaxServerConnectionAge",
        env = "REEF_MAX_SERVER_CONN_AGE",
        default_value = "30m",
        value_parser = duration,
        value_name = "TIME"
    )]
    pub max_server_conn_age: Duration,
}

/// Settings of `reef check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// Directory of YAML or JSON objects; may be given several times.
    #[arg(required_unless_present = "from_cluster", value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    /// Read a cluster once instead of directories.
    #[arg(long, conflicts_with = "dirs")]
    pub from_cluster: bool,
    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// What the mesh is.
    #[command(flatten)]
    pub mesh: MeshArgs,
    /// Form of the answer.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Settings of `reef render`.
#[derive(Debug, Clone, Args)]
pub struct RenderArgs {
    /// Directory of YAML or JSON objects; may be given several times.
    #[arg(required = true, value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    /// The proxy: a file with Envoy's node message, or a bootstrap with one, as JSON or YAML.
    #[arg(long, value_name = "FILE")]
    pub node: PathBuf,
    /// Types to print, of cds, lds, rds, eds; all if absent.
    #[arg(long, value_delimiter = ',', value_name = "TYPES")]
    pub types: Vec<String>,
    /// What the mesh is.
    #[command(flatten)]
    pub mesh: MeshArgs,
    /// Form of the answer.
    #[arg(short, long, value_enum, default_value = "yaml")]
    pub output: RenderOutput,
}

/// Settings of `reef diff`.
#[derive(Debug, Clone, Args)]
pub struct DiffArgs {
    /// Directory of YAML or JSON objects before the change.
    #[arg(value_name = "DIR_OLD")]
    pub old: PathBuf,
    /// Directory of YAML or JSON objects after the change.
    #[arg(value_name = "DIR_NEW")]
    pub new: PathBuf,
    /// A further proxy: a file with Envoy's node message, or a bootstrap with one, as JSON or YAML; may be given several
    /// times. Of a Pod of the same name the file counts.
    #[arg(long, value_name = "FILE")]
    pub node: Vec<PathBuf>,
    /// What the mesh is.
    #[command(flatten)]
    pub mesh: MeshArgs,
    /// Form of the answer.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Form of rendered resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RenderOutput {
    /// YAML.
    Yaml,
    /// One JSON document.
    Json,
}

/// Where a running Reef answers.
#[derive(Debug, Clone, Args)]
pub struct AdminArgs {
    /// Address of the monitoring or HTTP port of a running Reef.
    #[arg(
        long,
        env = "REEF_ADMIN_ADDR",
        default_value = "127.0.0.1:15014",
        value_name = "ADDR"
    )]
    pub admin_addr: SocketAddr,
    /// File with the token to send along. In a pod its service account's, if Reef is asked on the same machine.
    #[arg(long, env = "REEF_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// Settings of `reef status`.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// Whom to ask.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Form of the answer.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Settings of `reef why`.
#[derive(Debug, Clone, Args)]
pub struct WhyArgs {
    /// The proxy: `POD.NAMESPACE` or a full node id.
    pub proxy: String,
    /// The service: a host name, `name.namespace`, or a name in the proxy's own namespace.
    pub service: String,
    /// Whom to ask.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Form of the answer.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Reads a namespace and a name.
///
/// # Errors
/// If it is not two names with a slash between them.
pub fn config_map(text: &str) -> Result<(String, String), String> {
    let name = |name: &str| domain(name).is_ok();
    match text.split_once('/') {
        Some((namespace, map)) if name(namespace) && name(map) => {
            Ok((namespace.to_owned(), map.to_owned()))
        }
        _ => Err(format!(
            "`{text}` is not a place such as istio-system/istio"
        )),
    }
}

/// Reads a DNS suffix: labels of letters, digits and dashes, in lower case, without a dot at either end.
///
/// # Errors
/// If it is not one.
pub fn domain(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not a DNS name such as cluster.local"))
    }
}

/// Reads a time as people write it: `250ms`, `1.5s`, `2m`, `1h`; a bare `0` is zero.
///
/// # Errors
/// If the unit is missing or the number is none, is negative or too large.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time such as 250ms, 1.5s or 2m");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().ok().ok_or_else(wrong)?;
    Duration::try_from_secs_f64(number * seconds)
        .ok()
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests;
