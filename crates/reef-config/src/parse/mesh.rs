//! The mesh configuration, from a file or from ConfigMap `istio`, and the settings of one proxy.

use std::borrow::Cow;
use std::cell::RefCell;

use super::node::Node;
use super::object::{field_problem, syntax};
use super::typed::{self, Path};
use super::{code, mesh_checks, yaml};
use crate::connection_settings::ConnectionSettings;
use crate::mesh_config::{APPLIED, APPLIED_TO_PROXIES, MeshConfig};
use crate::object::Origin;
use crate::problem::{Problem, Severity};
use crate::proxy_config::MeshProxyConfig;

/// Parses a mesh configuration whose text begins at `origin`.
///
/// The second part are warnings: one for every field that is not in the API and one for every field that is
/// there and has no effect in Reef today.
///
/// # Errors
/// The text is not YAML or a field does not fit. The earlier configuration should then stay.
pub fn mesh_config(text: &str, origin: &Origin) -> Result<(MeshConfig, Vec<Problem>), Problem> {
    let root = yaml::read(text).map_err(|error| syntax(error, origin))?;
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
    let mut problems = Vec::new();
    mesh_checks::check(&config, &mut problems);
    if let Some(at) = problems.iter().position(|p| p.severity == Severity::Error) {
        return Err(problems.swap_remove(at).at(origin));
    }
    let mut unread = unknown.into_inner();
    for (key, value) in fields {
        match value {
            Node::Map(inner) if key == "defaultConfig" => {
                unread_of_proxy(inner, &config.default_config, key, &mut unread);
            }
            Node::Null => {}
            _ if APPLIED.contains(&key.as_ref()) => {}
            _ => unread.push(key.to_string()),
        }
    }
    unread.sort();
    unread.dedup();
    problems.extend(unread.iter().map(|field| not_applied(field)));
    for problem in &mut problems {
        problem.origin = Some(origin.clone());
    }
    problems.sort();
    Ok((config, problems))
}

/// Parses the settings of one proxy: the text of annotation `proxy.istio.io/config`, or the JSON of
/// metadata `PROXY_CONFIG`. Fields the API does not have and fields without effect are returned by path.
///
/// # Errors
/// The text is not YAML or a field does not fit.
pub fn proxy_config(text: &str) -> Result<(MeshProxyConfig, Vec<String>), Problem> {
    let root = yaml::read(text).map_err(|error| Problem::error(code::SYNTAX, error.reason))?;
    let fields = match &root {
        Node::Map(fields) => fields,
        Node::Null => return Ok((MeshProxyConfig::default(), Vec::new())),
        _ => {
            let reason = format!("{} where proxy settings are wanted", root.description());
            return Err(Problem::error(code::FIELD, reason));
        }
    };
    let unknown = RefCell::new(Vec::new());
    let config: MeshProxyConfig =
        typed::read(&root, &Path::Root, &unknown).map_err(field_problem)?;
    let mut problems = Vec::new();
    mesh_checks::proxy(&config, "", &mut problems);
    if let Some(problem) = problems.pop() {
        return Err(problem);
    }
    let mut unread = unknown.into_inner();
    unread_of_proxy(fields, &config, "", &mut unread);
    unread.sort();
    unread.dedup();
    Ok((config, unread))
}

/// Adds the fields of proxy settings that are there and have no effect.
fn unread_of_proxy(
    fields: &[(Cow<'_, str>, Node<'_>)],
    config: &MeshProxyConfig,
    within: &str,
    unread: &mut Vec<String>,
) {
    let without_effect = fields
        .iter()
        .filter(|(key, value)| *value != Node::Null && !APPLIED_TO_PROXIES.contains(&key.as_ref()))
        .map(|(key, _)| key.to_string());
    let connections = config.connection_settings.iter();
    let connections = connections
        .flat_map(ConnectionSettings::without_effect)
        .map(|field| format!("connectionSettings.{field}"));
    unread.extend(without_effect.chain(connections).map(|key| match within {
        "" => key,
        _ => format!("{within}.{key}"),
    }));
}

fn not_applied(field: &str) -> Problem {
    Problem::warning(
        code::NOT_APPLIED,
        "this mesh setting is not read, it has no effect",
    )
    .field(field)
}
