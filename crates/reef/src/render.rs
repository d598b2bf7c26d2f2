//! `reef render`: what a proxy would hold, offline, as its own config dump would show it.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use reef_server::provider::{Locality, NodeInfo};
use serde_json::{Value, json};

use crate::ask::print_json;
use crate::cli::{RenderArgs, RenderOutput};
use crate::offline::{self, Offline};
use crate::places;
use crate::serve::{dump, node};

/// Prints the resources of the proxy that a node message describes.
///
/// What is wrong goes to `problems`, a line each; it ends nothing.
///
/// # Errors
/// If a directory or the node file cannot be read, or the node is none.
pub fn run(args: &RenderArgs, out: &mut dyn Write, problems: &mut dyn Write) -> anyhow::Result<()> {
    let node = read_node(&args.node)?;
    let proxy = node::parse(&node).with_context(|| format!("{}", args.node.display()))?;
    let unread = proxy.problem();
    let Offline {
        index,
        mut engine,
        source_problems,
        ..
    } = offline::load(&args.dirs, &args.mesh)?;
    let view = dump::View(Arc::clone(&engine.connect(proxy).view));
    let mut found = index.problems();
    found.extend(source_problems);
    found.extend(engine.problems());
    found.extend(unread);
    places::fill_in(&index, &mut found);
    found.sort();
    found.dedup();
    for problem in found {
        writeln!(problems, "{}: {problem}", problem.severity)?;
    }
    let types: Vec<String> = args.types.iter().map(|ty| ty.to_lowercase()).collect();
    let rendered = dump::config_dump(&view, &types).map_err(anyhow::Error::msg)?;
    let rendered = json!({ "node": node.id, "configs": rendered["configs"] });
    match args.output {
        RenderOutput::Json => print_json(&rendered, out),
        RenderOutput::Yaml => Ok(out.write_all(yaml(&rendered)?.as_bytes())?),
    }
}

fn yaml(value: &Value) -> anyhow::Result<String> {
    serde_saphyr::to_string(value).context("the resources cannot be written as YAML")
}

/// Reads a node message, or the one in a bootstrap, as JSON or YAML.
///
/// # Errors
/// If the file cannot be read or is neither.
pub(crate) fn read_node(file: &Path) -> anyhow::Result<NodeInfo> {
    let path = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("{path}"))?;
    let whole: Value = serde_saphyr::from_str(&text).with_context(|| format!("{path}"))?;
    let node = whole.get("node").unwrap_or(&whole);
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let id = text(node, "id");
    if id.is_empty() {
        bail!(
            "{path}: neither a node message (`id: sidecar~IP~POD.NAMESPACE~DOMAIN`) nor a bootstrap with one"
        );
    }
    let locality = &node["locality"];
    Ok(NodeInfo {
        id,
        cluster: text(node, "cluster"),
        user_agent_name: text(node, "user_agent_name"),
        metadata: node["metadata"].clone(),
        locality: Locality {
            region: text(locality, "region"),
            zone: text(locality, "zone"),
            sub_zone: text(locality, "sub_zone"),
        },
        ..NodeInfo::default()
    })
}
