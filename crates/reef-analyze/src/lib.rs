//! What is wrong between objects: a host nobody has, a subset nobody defines, two rules for one workload.
//!
//! ```text
//! objects + MeshSnapshot ──analyze──► [Problem]
//! ```
//!
//! Each finding is a [`Rule`] of `docs/validation.md`, as those of one object are (`reef_config::validate`), and
//! never an error: the objects are in effect, but a part of one does nothing, or not what its author means.
//!
//! This is a room of its own because it looks at the whole mesh at once, at a cost that follows the mesh and not
//! the change. Nothing that serves proxies may use it; `reef check` does, on a mesh that stands still.

mod destinations;
mod gateways;
mod routes;
mod security;
mod services;
mod view;
mod workloads;

use std::sync::Arc;

use reef_config::validate::Rule;
use reef_config::{Object, Problem};
use reef_mesh::MeshSnapshot;

use view::View;

/// Looks at all objects of a mesh; what is found is sorted.
#[must_use]
pub fn analyze(objects: &[Arc<Object>], snapshot: &MeshSnapshot) -> Vec<Problem> {
    let view = View::new(objects, snapshot);
    let mut findings = Findings::default();
    routes::analyze(&view, &mut findings);
    destinations::analyze(&view, &mut findings);
    services::analyze(&view, &mut findings);
    workloads::analyze(&view, &mut findings);
    gateways::analyze(&view, &mut findings);
    security::analyze(&view, &mut findings);
    let mut problems = findings.problems;
    problems.sort();
    problems.dedup();
    problems
}

/// Every rule of this room.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    [
        routes::RULES,
        destinations::RULES,
        services::RULES,
        services::of_services::RULES,
        services::exports::RULES,
        workloads::RULES,
        workloads::selectors::RULES,
        workloads::telemetry::RULES,
        gateways::RULES,
        security::RULES,
        security::peers::RULES,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// Where findings go.
#[derive(Debug, Default)]
struct Findings {
    problems: Vec<Problem>,
}

impl Findings {
    fn tell(
        &mut self,
        rule: &'static Rule,
        object: &Object,
        field: impl Into<String>,
        reason: String,
    ) {
        let mut problem = rule.problem(reason).of(&object.key).field(field);
        problem.origin.clone_from(&object.origin);
        self.problems.push(problem);
    }
}
