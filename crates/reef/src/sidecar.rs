//! `reef bootstrap` and `reef intercept`: the options of `reef-proxy`, as they can be typed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use reef_config::proxy_config::{self, MeshProxyConfig};
use reef_proxy::bootstrap::{
    AppProbe, Authority, BootstrapOptions, DiscoveryAddress, InterceptionMode, Locality, PodPort,
    SecureChannel, WorkloadCert, build,
};
use reef_proxy::intercept::{
    Family, InterceptMode, InterceptOptions, ProxySockets, install, install_input, remove,
    route_commands,
};
use reef_proxy::pod_info;

/// Settings of `reef bootstrap`.
#[derive(Debug, Clone, Args)]
pub struct BootstrapArgs {
    /// Name of the pod.
    #[arg(long, env = "POD_NAME")]
    pub pod: String,
    /// Namespace of the pod.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub namespace: String,
    /// Addresses of the pod; the first identifies the workload.
    #[arg(long, env = "INSTANCE_IP", required = true, value_delimiter = ',')]
    pub ip: Vec<IpAddr>,
    /// Where Reef's xDS port is, `host:port`.
    #[arg(
        long,
        env = "REEF_DISCOVERY",
        default_value = "127.0.0.1:15010",
        value_name = "HOST:PORT"
    )]
    pub discovery: DiscoveryAddress,
    /// File with the pod's token: the channel to Reef is encrypted then, and every stream carries the token the file
    /// holds at that time. Two more files are written, `token.json` and `ca.json`, which tell Envoy where things are.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// File with the certificate of the authority that Reef's certificate comes from.
    #[arg(long, requires = "token_file", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// That certificate itself, in PEM, where there is no file; it is written into `ca.json`.
    #[arg(long, env = "REEF_CA_CERT", hide_env_values = true, value_name = "PEM")]
    pub ca_cert: Option<String>,
    /// Name in Reef's certificate, if it is another than the host of `--discovery`.
    #[arg(long, requires = "token_file", value_name = "NAME")]
    pub server_name: Option<String>,
    /// Where the two files of `--token-file` go; else beside the bootstrap.
    #[arg(long, requires = "token_file", value_name = "DIR")]
    pub sds_dir: Option<PathBuf>,
    /// Suffix of Service names.
    #[arg(long, default_value = "cluster.local")]
    pub cluster_domain: String,
    /// Which cluster's objects describe this proxy.
    #[arg(long, default_value = "Kubernetes")]
    pub cluster_id: String,
    /// Network of the pod, where the mesh has several.
    #[arg(long)]
    pub network: Option<String>,
    /// Label of the pod, `KEY=VALUE`; may be given several times.
    #[arg(long = "label", value_parser = pair, value_name = "KEY=VALUE")]
    pub labels: Vec<(String, String)>,
    /// Annotation of the pod, `KEY=VALUE`; may be given several times.
    #[arg(long = "annotation", value_parser = pair, value_name = "KEY=VALUE")]
    pub annotations: Vec<(String, String)>,
    /// Directory with the files `labels` and `annotations` of a downwardAPI volume; annotations of Istio are read.
    /// What `--label` and `--annotation` say wins.
    #[arg(long, value_name = "DIR")]
    pub pod_info: Option<PathBuf>,
    /// Service account of the pod.
    #[arg(long, env = "SERVICE_ACCOUNT", default_value = "default")]
    pub service_account: String,
    /// Name of the Deployment or the like that owns the pod.
    #[arg(long)]
    pub workload_name: Option<String>,
    /// Name of the node the pod runs on.
    #[arg(long, env = "NODE_NAME")]
    pub node_name: Option<String>,
    /// Port the pod's containers declare, `[NAME:]PORT`; may be given several times.
    #[arg(long = "pod-port", value_parser = pod_port, value_name = "[NAME:]PORT")]
    pub pod_ports: Vec<PodPort>,
    /// `region[/zone[/subzone]]`.
    #[arg(long)]
    pub locality: Option<Locality>,
    /// How traffic gets into the proxy; else the annotations say it (`sidecar.istio.io/interceptionMode`, and
    /// `interceptionMode` of `proxy.istio.io/config`), else it is redirected.
    #[arg(long, value_enum)]
    pub interception: Option<InterceptionArg>,
    /// Socket of an agent that gives out the workload's certificate; without it the proxy has none.
    #[arg(long, value_name = "PATH")]
    pub sds_socket: Option<String>,
    /// Port of Envoy's admin interface, on loopback; else `proxyAdminPort` of the annotation `proxy.istio.io/config`, else
    /// 15000. Of its other fields `concurrency` and the drain times are options of Envoy's command line, and `statusPort`
    /// is that of Istio's agent: they make no difference here.
    #[arg(long)]
    pub admin_port: Option<u16>,
    /// Port of the readiness listener (`/healthz/ready`).
    #[arg(long, default_value_t = 15021)]
    pub status_port: u16,
    /// Port of the Prometheus listener (`/stats/prometheus`).
    #[arg(long, default_value_t = 15090)]
    pub prometheus_port: u16,
    /// Probes of the application that are handed on, as a JSON list; `reef inject` writes it.
    #[arg(long, env = "REEF_APP_PROBES", value_parser = app_probes, value_name = "JSON")]
    pub app_probes: Option<AppProbes>,
    /// Port of the listener for such probes.
    #[arg(long, default_value_t = 15020)]
    pub probe_port: u16,
    /// Mark Envoy's sockets with this number, for `reef intercept install --mark`.
    #[arg(long)]
    pub socket_mark: Option<u32>,
    /// Where to write; standard output if absent.
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Probes of the application, one value of an option.
#[derive(Debug, Clone, Default)]
pub struct AppProbes(pub Vec<AppProbe>);

/// How traffic gets into the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InterceptionArg {
    /// By iptables REDIRECT.
    Redirect,
    /// By iptables TPROXY.
    Tproxy,
    /// Not at all.
    None,
}

/// Settings of `reef intercept`.
#[derive(Debug, Clone, Args)]
pub struct InterceptArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: InterceptAction,
}

/// What `reef intercept` does, in the network namespace it runs in.
#[derive(Debug, Clone, Subcommand)]
pub enum InterceptAction {
    /// Install the rules; what was installed before is replaced.
    Install(InstallArgs),
    /// Remove every rule that `install` made.
    Remove {
        /// IPv4 only, where there is no ip6tables.
        #[arg(long)]
        ipv4_only: bool,
    },
}

/// Settings of `reef intercept install`.
#[derive(Debug, Clone, Args)]
pub struct InstallArgs {
    /// Annotation of the pod, `KEY=VALUE`, with Istio's names; may be given several times.
    #[arg(long = "annotation", value_parser = pair, value_name = "KEY=VALUE")]
    pub annotations: Vec<(String, String)>,
    /// Port that takes what the application sends.
    #[arg(long, default_value_t = 15001)]
    pub outbound_port: u16,
    /// Port that takes what is sent to the application.
    #[arg(long, default_value_t = 15006)]
    pub inbound_port: u16,
    /// User ids of the proxy.
    #[arg(long, value_delimiter = ',', default_value = "1337")]
    pub uid: Vec<u32>,
    /// Group ids of the proxy.
    #[arg(long, value_delimiter = ',', default_value = "1337")]
    pub gid: Vec<u32>,
    /// Tell the proxy's sockets by this mark, not by user and group.
    #[arg(long)]
    pub mark: Option<u32>,
    /// IPv4 only, where there is no ip6tables.
    #[arg(long)]
    pub ipv4_only: bool,
    /// Print the rules, change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Writes a bootstrap.
///
/// # Errors
/// If an option makes no valid bootstrap, or it cannot be written.
pub fn bootstrap(args: &BootstrapArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let (labels, annotations) = about_pod(args)?;
    let settings = annotated_settings(&annotations)?;
    let options = BootstrapOptions {
        pod: args.pod.clone(),
        namespace: args.namespace.clone(),
        ips: args.ip.clone(),
        discovery: args.discovery.clone(),
        secure: secure(args)?,
        cluster_domain: args.cluster_domain.clone(),
        cluster_id: args.cluster_id.clone(),
        mesh_id: args.cluster_domain.clone(),
        network: args.network.clone(),
        interception: interception(args, &annotations, &settings)?,
        labels,
        annotations,
        service_account: args.service_account.clone(),
        workload_name: args.workload_name.clone(),
        node_name: args.node_name.clone(),
        pod_ports: args.pod_ports.clone(),
        locality: args.locality.clone().unwrap_or_default(),
        workload_cert: match &args.sds_socket {
            None => WorkloadCert::None,
            Some(socket) => WorkloadCert::SdsGrpc {
                socket: socket.clone(),
            },
        },
        admin_port: args
            .admin_port
            .or(settings.proxy_admin_port)
            .unwrap_or(15000),
        status_port: args.status_port,
        prometheus_port: args.prometheus_port,
        app_probes: args.app_probes.clone().unwrap_or_default().0,
        probe_port: args.probe_port,
        socket_mark: args.socket_mark,
    };
    let document = serde_json::to_string_pretty(&build(&options)?)? + "\n";
    if let Some(channel) = &options.secure {
        for (name, content) in channel.files() {
            let path = channel.dir.join(name);
            std::fs::write(&path, serde_json::to_string_pretty(&content)? + "\n")
                .with_context(|| format!("{} cannot be written", path.display()))?;
        }
    }
    match &args.file {
        None => Ok(out.write_all(document.as_bytes())?),
        Some(path) => std::fs::write(path, document)
            .with_context(|| format!("{} cannot be written", path.display())),
    }
}

/// How Reef is reached where there is a token for it.
fn secure(args: &BootstrapArgs) -> anyhow::Result<Option<SecureChannel>> {
    let Some(token) = &args.token_file else {
        return Ok(None);
    };
    let authority = match (&args.ca_file, &args.ca_cert) {
        (Some(path), _) => Authority::File(std::path::absolute(path)?),
        (None, Some(pem)) => Authority::Inline(pem.clone()),
        (None, None) => anyhow::bail!(
            "--token-file needs --ca-file or --ca-cert: a token is shown to nobody but Reef"
        ),
    };
    let beside = args.file.as_deref().and_then(Path::parent);
    let dir = args.sds_dir.as_deref().or(beside).context(
        "--token-file needs a place for two more files: --file, or --sds-dir where the bootstrap goes to standard output",
    )?;
    let channel = SecureChannel::new(
        &args.discovery,
        args.server_name.as_deref(),
        std::path::absolute(token)?,
        authority,
        std::path::absolute(if dir.as_os_str().is_empty() {
            Path::new(".")
        } else {
            dir
        })?,
    )?;
    Ok(Some(channel))
}

type Strings = BTreeMap<String, String>;

/// Labels and annotations of the pod, from files and options.
fn about_pod(args: &BootstrapArgs) -> anyhow::Result<(Strings, Strings)> {
    let of_file = |name: &str| -> anyhow::Result<Strings> {
        let Some(dir) = &args.pod_info else {
            return Ok(Strings::new());
        };
        let path = dir.join(name);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        Ok(pod_info::strings(&text))
    };
    let mut labels = of_file("labels")?;
    labels.extend(args.labels.iter().cloned());
    let mut annotations = of_file("annotations")?;
    // Others can be as large as the whole object, and nobody asks a proxy for them.
    annotations.retain(|name, _| {
        let group = name.split_once('/').map(|(group, _)| group);
        group.is_some_and(|group| group == "istio.io" || group.ends_with(".istio.io"))
    });
    annotations.extend(args.annotations.iter().cloned());
    Ok((labels, annotations))
}

/// The settings in the annotation for them; none are all defaults.
fn annotated_settings(annotations: &Strings) -> anyhow::Result<MeshProxyConfig> {
    let name = proxy_config::ANNOTATION;
    let Some(text) = annotations.get(name) else {
        return Ok(MeshProxyConfig::default());
    };
    match reef_config::parse::proxy_config(text) {
        Ok((settings, _)) => Ok(settings),
        Err(problem) => anyhow::bail!("annotation {name}: {problem}"),
    }
}

fn interception(
    args: &BootstrapArgs,
    annotations: &Strings,
    settings: &MeshProxyConfig,
) -> anyhow::Result<InterceptionMode> {
    const ANNOTATION: &str = "sidecar.istio.io/interceptionMode";
    if let Some(mode) = args.interception {
        return Ok(match mode {
            InterceptionArg::Redirect => InterceptionMode::Redirect,
            InterceptionArg::Tproxy => InterceptionMode::Tproxy,
            InterceptionArg::None => InterceptionMode::None,
        });
    }
    let mode = match annotations.get(ANNOTATION).map(|mode| mode.trim()) {
        Some(mode) if !mode.is_empty() => mode,
        _ => settings.interception_mode.unwrap_or_default().as_str(),
    };
    match mode {
        "REDIRECT" => Ok(InterceptionMode::Redirect),
        "TPROXY" => Ok(InterceptionMode::Tproxy),
        "NONE" => Ok(InterceptionMode::None),
        other => {
            anyhow::bail!("annotation {ANNOTATION}: `{other}` is not REDIRECT, TPROXY or NONE")
        }
    }
}

/// Installs or removes interception rules.
///
/// # Errors
/// If an annotation cannot be read or iptables refuses.
pub fn intercept(args: &InterceptArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    match &args.action {
        InterceptAction::Remove { ipv4_only } => Ok(remove(families(*ipv4_only))?),
        InterceptAction::Install(args) => {
            let annotations: BTreeMap<String, String> = args.annotations.iter().cloned().collect();
            let Some(mut options) = InterceptOptions::from_annotations(&annotations)? else {
                writeln!(
                    out,
                    "the annotations ask for no interception: nothing installed"
                )?;
                return Ok(());
            };
            if args.mark.is_some() && options.mode == InterceptMode::Tproxy {
                anyhow::bail!(
                    "TPROXY needs a proxy that runs as a user of its own (--uid): Envoy's sockets \
                     cannot have TPROXY's mark and the one of --mark"
                );
            }
            options.outbound_port = args.outbound_port;
            options.inbound_port = args.inbound_port;
            options.proxy = match args.mark {
                Some(mark) => ProxySockets::Mark(mark),
                None => ProxySockets::Owner {
                    uids: args.uid.iter().copied().collect::<BTreeSet<_>>(),
                    gids: args.gid.iter().copied().collect::<BTreeSet<_>>(),
                },
            };
            let families = families(args.ipv4_only);
            if args.dry_run {
                for family in families {
                    out.write_all(install_input(&options, *family, "").as_bytes())?;
                    for command in route_commands(&options, *family) {
                        writeln!(out, "# ip {}", command.join(" "))?;
                    }
                }
                return Ok(());
            }
            Ok(install(&options, families)?)
        }
    }
}

fn families(ipv4_only: bool) -> &'static [Family] {
    if ipv4_only {
        &[Family::V4]
    } else {
        &[Family::V4, Family::V6]
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not KEY=VALUE")),
    }
}

fn pod_port(text: &str) -> Result<PodPort, String> {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) => (Some(name.to_owned()), port),
        None => (None, text),
    };
    let container_port = port.parse().ok().filter(|port| *port > 0);
    let container_port = container_port.ok_or_else(|| format!("`{text}` is not [NAME:]PORT"))?;
    Ok(PodPort {
        name,
        container_port,
        protocol: "TCP".to_owned(),
    })
}

fn app_probes(text: &str) -> Result<AppProbes, String> {
    let probes = serde_json::from_str(text);
    probes
        .map(AppProbes)
        .map_err(|error| format!("no list of probes: {error}"))
}
