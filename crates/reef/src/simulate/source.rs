//! Where the configuration comes from.

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use reef_config::{Hostname, Namespace};
use reef_mesh::{MeshSnapshot, identify};
use reef_scope::{Scope, Why};
use reef_server::provider::{NodeInfo, ResourceView as _};
use reef_simulate::Config;
use reef_xds::ResourceType;
use serde_json::{Value, json};

use super::SimulateArgs;
use crate::ask::{self, encode};
use crate::cli::AdminArgs;
use crate::offline::{self, Offline};
use crate::render::read_node;
use crate::serve::{dump, node};

/// A proxy's configuration, and whom to ask for reasons.
#[derive(Debug)]
pub(super) struct Source {
    /// The proxy, for people.
    pub(super) proxy: String,
    /// What it holds.
    pub(super) config: Config,
    reasons: Reasons,
}

#[derive(Debug)]
enum Reasons {
    /// A dump has none.
    None,
    Offline(Arc<MeshSnapshot>, Arc<Scope>),
    Live(AdminArgs, String),
}

/// Gets the configuration.
///
/// # Errors
/// If there is no such proxy, file or server.
pub(super) fn load(args: &SimulateArgs, problems: &mut dyn Write) -> anyhow::Result<Source> {
    let mut config = Config::default();
    if let Some(path) = &args.dump {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let document: Value = match serde_json::from_str(&text) {
            Ok(document) => document,
            Err(_) => serde_saphyr::from_str(&text).with_context(|| path.display().to_string())?,
        };
        config.add_document(&document)?;
        if config.listeners.is_empty() {
            bail!("{} has no listeners", path.display());
        }
        return Ok(Source {
            proxy: path.display().to_string(),
            config,
            reasons: Reasons::None,
        });
    }
    if !args.config_dir.is_empty() {
        return offline(args, problems);
    }
    let proxy = args.proxy.clone().unwrap_or_default();
    let page = format!("/debug/config_dump?proxyID={}", encode(&proxy));
    config.add_document(&ask::page(&args.admin, &page)?)?;
    Ok(Source {
        proxy: proxy.clone(),
        config,
        reasons: Reasons::Live(args.admin.clone(), proxy),
    })
}

fn offline(args: &SimulateArgs, problems: &mut dyn Write) -> anyhow::Result<Source> {
    let Offline {
        index,
        mut engine,
        source_problems,
        ..
    } = offline::load(&args.config_dir, &args.mesh)?;
    let snapshot = Arc::clone(index.snapshot());
    let info = match (&args.node, &args.proxy) {
        (Some(path), _) => read_node(path)?,
        (None, proxy) => pod(&snapshot, proxy.as_deref().unwrap_or_default())?,
    };
    let proxy = node::parse(&info).context(info.id.clone())?;
    let identity = identify(&snapshot, &proxy);
    let view = dump::View(Arc::clone(&engine.connect(proxy).view));
    let mut found = index.problems();
    found.extend(source_problems);
    found.extend(engine.problems());
    found.sort();
    found.dedup();
    for problem in found {
        writeln!(problems, "{}: {problem}", problem.severity)?;
    }
    let mut config = Config::default();
    let mut broken = None;
    for ty in [
        ResourceType::Cluster,
        ResourceType::Endpoint,
        ResourceType::Listener,
        ResourceType::Route,
    ] {
        view.for_each(ty, &mut |resource| {
            broken = config.add(&resource.any()).err().or(broken.take());
        });
    }
    if let Some(broken) = broken {
        return Err(broken.into());
    }
    let scope = reef_scope::resolve(&snapshot, &reef_scope::select(&snapshot, &identity));
    Ok(Source {
        proxy: info.id.split('~').nth(2).unwrap_or(&info.id).to_owned(),
        config,
        reasons: Reasons::Offline(snapshot, scope),
    })
}

/// The node message that a sidecar of this pod would send.
fn pod(snapshot: &MeshSnapshot, name: &str) -> anyhow::Result<NodeInfo> {
    // A full id is its own answer.
    let name = name.split('~').nth(2).unwrap_or(name);
    let (pod, namespace) = name
        .rsplit_once('.')
        .with_context(|| format!("`{name}` is not POD.NAMESPACE"))?;
    let found = snapshot.pod(&Namespace::from(namespace), pod);
    let found = found.with_context(|| {
        format!("no Pod {name} is in the directory; `--node FILE` describes a proxy without one")
    })?;
    let ips: Vec<String> = found.ips.iter().map(IpAddr::to_string).collect();
    let first = ips.first().cloned().unwrap_or_default();
    Ok(NodeInfo {
        id: format!("sidecar~{first}~{pod}.{namespace}~{namespace}.svc.cluster.local"),
        metadata: json!({"NAMESPACE": namespace, "INSTANCE_IPS": ips.join(",")}),
        ..NodeInfo::default()
    })
}

impl Source {
    /// Why the proxy sees a host.
    ///
    /// # Errors
    /// If a running Reef no longer answers.
    pub(super) fn reasons(&self, host: &str) -> anyhow::Result<Vec<String>> {
        Ok(match &self.reasons {
            Reasons::None => Vec::new(),
            Reasons::Offline(snapshot, scope) => {
                match reef_scope::why(snapshot, scope, &Hostname::from(host)) {
                    Why::Included { reasons, .. } => {
                        reasons.iter().map(ToString::to_string).collect()
                    }
                    Why::Excluded(_) | Why::Unknown => Vec::new(),
                }
            }
            Reasons::Live(admin, proxy) => {
                let (proxy, host) = (encode(proxy), encode(host));
                let page = format!("/debug/why?proxyID={proxy}&service={host}");
                let answer = ask::page(admin, &page)?;
                let reasons = answer["services"][0]["reasons"].as_array();
                reasons
                    .into_iter()
                    .flatten()
                    .filter_map(|one| Some(one.as_str()?.to_owned()))
                    .collect()
            }
        })
    }
}
