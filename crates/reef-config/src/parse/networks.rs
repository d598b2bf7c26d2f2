//! The networks of a mesh, from key `meshNetworks` of ConfigMap `istio`.

use std::cell::RefCell;

use super::node::Node;
use super::object::{field_problem, syntax};
use super::typed::{self, Path};
use super::{code, yaml};
use crate::mesh_networks::{IstioNetworkGateway, MeshNetworks, NetworkEndpoints};
use crate::object::Origin;
use crate::problem::{Problem, Severity};

/// Parses the networks of a mesh, whose text begins at `origin`.
///
/// The second part are warnings: one for every field that is not in the API or has no effect.
///
/// # Errors
/// The text is not YAML, or a field does not fit, or says nothing Istio would accept. The earlier networks should
/// then stay.
pub fn mesh_networks(text: &str, origin: &Origin) -> Result<(MeshNetworks, Vec<Problem>), Problem> {
    let root = yaml::read(text).map_err(|error| syntax(error, origin))?;
    match &root {
        Node::Map(_) => {}
        Node::Null => return Ok((MeshNetworks::default(), Vec::new())),
        other => {
            let reason = format!(
                "{} where networks of a mesh are wanted",
                other.description()
            );
            return Err(Problem::error(code::FIELD, reason).at(origin));
        }
    }
    let unknown = RefCell::new(Vec::new());
    let networks: MeshNetworks = typed::read(&root, &Path::Root, &unknown)
        .map_err(|error| field_problem(error).at(origin))?;
    let mut problems = Vec::new();
    for (name, network) in &networks.networks {
        let field = format!("networks.{name}");
        if name.is_empty() {
            problems.push(invalid("networks", "a network must have a name"));
        }
        for (index, endpoints) in network.endpoints.iter().enumerate() {
            endpoints_of(
                &format!("{field}.endpoints[{index}]"),
                endpoints,
                &mut problems,
            );
        }
        for (index, gateway) in network.gateways.iter().enumerate() {
            gateway_of(
                &format!("{field}.gateways[{index}]"),
                gateway,
                &mut problems,
            );
        }
    }
    if let Some(at) = problems.iter().position(|p| p.severity == Severity::Error) {
        return Err(problems.swap_remove(at).at(origin));
    }
    problems.extend(unknown.into_inner().iter().map(|field| not_read(field)));
    for problem in &mut problems {
        problem.origin = Some(origin.clone());
    }
    problems.sort();
    problems.dedup();
    Ok((networks, problems))
}

fn endpoints_of(field: &str, endpoints: &NetworkEndpoints, problems: &mut Vec<Problem>) {
    match (&endpoints.from_cidr, &endpoints.from_registry) {
        (Some(_), Some(_)) => {
            problems.push(invalid(field, "has fromCidr or fromRegistry, not both"));
        }
        (Some(_), None) if endpoints.range().is_none() => {
            let field = format!("{field}.fromCidr");
            problems.push(invalid(field, "must be a range such as 10.1.0.0/16"));
        }
        (None, Some(registry)) if registry.is_empty() => {
            let field = format!("{field}.fromRegistry");
            problems.push(invalid(field, "must be the name of a cluster"));
        }
        _ => {}
    }
}

fn gateway_of(field: &str, gateway: &IstioNetworkGateway, problems: &mut Vec<Problem>) {
    let is_name = |text: &str| {
        text.split('.')
            .all(|label| super::name::check(label).is_ok())
    };
    let (name, says) = match (&gateway.registry_service_name, &gateway.address) {
        (Some(host), None) => ("registryServiceName", is_name(host)),
        (None, Some(address)) => {
            let is_ip = address.parse::<std::net::IpAddr>().is_ok();
            ("address", is_ip || is_name(address))
        }
        _ => {
            let reason = "has a registryServiceName or an address, one of both";
            problems.push(invalid(field, reason));
            return;
        }
    };
    if !says {
        let what = if name == "address" {
            "must be an address or a host name"
        } else {
            "must be a host name"
        };
        problems.push(invalid(format!("{field}.{name}"), what));
    }
    if u16::try_from(gateway.port).unwrap_or_default() == 0 {
        problems.push(invalid(format!("{field}.port"), "must be 1 to 65535"));
    }
    if gateway
        .locality
        .as_deref()
        .is_some_and(|text| !text.is_empty())
    {
        problems.push(not_read(&format!("{field}.locality")));
    }
}

fn invalid(field: impl Into<String>, reason: &str) -> Problem {
    Problem::error(code::INVALID, reason).field(field)
}

fn not_read(field: &str) -> Problem {
    let reason = "this setting of a network is not read, it has no effect";
    Problem::warning(code::NOT_APPLIED, reason).field(field)
}
