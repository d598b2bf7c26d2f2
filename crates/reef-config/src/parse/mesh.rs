//! The mesh configuration, from a file or from ConfigMap `istio`.

use std::cell::RefCell;
use std::sync::Arc;

use super::node::Node;
use super::object::field_problem;
use super::typed::{self, Path};
use super::{code, yaml};
use crate::mesh_config::{APPLIED, MeshConfig};
use crate::object::Origin;
use crate::problem::Problem;

/// Parses a mesh configuration whose text begins at `origin`.
///
/// The second part are warnings: one for every field that is not in the API and one for every field that is
/// there and has no effect in Reef today.
///
/// # Errors
/// The text is not YAML or a field does not fit. The earlier configuration should then stay.
pub fn mesh_config(text: &str, origin: &Origin) -> Result<(MeshConfig, Vec<Problem>), Problem> {
    let root = yaml::read(text).map_err(|error| {
        let line = origin.line + error.line.unwrap_or(1) - 1;
        Problem::error(code::SYNTAX, error.reason).at(&Origin {
            path: Arc::clone(&origin.path),
            line,
        })
    })?;
    let Node::Map(fields) = &root else {
        return match root {
            Node::Null => Ok((MeshConfig::default(), Vec::new())),
            _ => Err(Problem::error(
                code::FIELD,
                format!(
                    "{} where a mesh configuration is wanted",
                    root.description()
                ),
            )
            .at(origin)),
        };
    };
    let unknown = RefCell::new(Vec::new());
    let config: MeshConfig = typed::read(&root, &Path::Root, &unknown)
        .map_err(|error| field_problem(error).at(origin))?;
    validate(&config).map_err(|problem| problem.at(origin))?;

    let unknown = unknown.into_inner();
    let mut problems = Vec::new();
    for (key, value) in fields {
        if !unknown.iter().any(|field| field == key.as_ref())
            && !APPLIED.contains(&key.as_ref())
            && *value != Node::Null
        {
            problems.push(not_applied(key).at(origin));
        }
    }
    for field in unknown {
        problems.push(not_applied(&field).at(origin));
    }
    problems.sort();
    Ok((config, problems))
}

fn not_applied(field: &str) -> Problem {
    Problem::warning(
        code::NOT_APPLIED,
        "this mesh setting is not read, it has no effect",
    )
    .field(field)
}

fn validate(config: &MeshConfig) -> Result<(), Problem> {
    let invalid = |field: &str, reason: &str| Problem::error(code::INVALID, reason).field(field);
    if config.root_namespace.is_empty() {
        return Err(invalid("rootNamespace", "must not be empty"));
    }
    if config.trust_domain.is_empty() {
        return Err(invalid("trustDomain", "must not be empty"));
    }
    if config.proxy_listen_port == 0 || config.proxy_inbound_listen_port == 0 {
        return Err(invalid(
            "proxyListenPort",
            "ports of listeners must not be 0",
        ));
    }
    if config.proxy_listen_port == config.proxy_inbound_listen_port {
        return Err(invalid(
            "proxyInboundListenPort",
            "must differ from proxyListenPort",
        ));
    }
    Ok(())
}
