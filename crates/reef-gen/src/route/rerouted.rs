//! Route configurations after a `VirtualService` changed in nothing but what it says: the virtual
//! hosts are the same, those it owns have other routes.

use std::sync::Arc;

use reef_mesh::VirtualServiceRule;
use reef_scope::RuleChange;

use super::table::{Presence, Table};
use super::{HostRoutes, RouteKey};
use crate::input::ClassInput;

/// The route configurations of a class that changed rules reach, out of all as they were `before`.
///
/// `None` if that can't be told from the rules alone, so that [`route_keys`](super::route_keys) must
/// be asked: a rule may own other hosts than before, as it has routes now where it had none.
pub(crate) fn rerouted<'a>(
    input: &ClassInput,
    changes: &[RuleChange],
    before: impl Iterator<Item = &'a RouteKey>,
) -> Option<Vec<RouteKey>> {
    let mut real: Vec<&RuleChange> = Vec::with_capacity(changes.len());
    for change in changes {
        match (
            Presence::of(input, &change.before),
            Presence::of(input, &change.after),
        ) {
            (Presence::Never, Presence::Never) => {}
            (Presence::Always, Presence::Always) => real.push(change),
            _ => return None,
        }
    }
    if real.is_empty() {
        return Some(Vec::new());
    }
    let mut found = Vec::new();
    for key in before {
        let mut made = Made::default();
        let mut hosts: Option<Vec<Arc<HostRoutes>>> = None;
        for (at, routes) in key.hosts.iter().enumerate() {
            let Some(table) = &routes.table else { continue };
            let Some(rule) = after(&real, table) else {
                continue;
            };
            let table = made.table(input, rule, table)?;
            let hosts = hosts.get_or_insert_with(|| key.hosts.to_vec());
            *hosts.get_mut(at)? = Arc::new(routes.with_table(table));
        }
        if let Some(hosts) = hosts {
            found.push(RouteKey {
                hosts: hosts.into(),
                ..key.clone()
            });
        }
    }
    Some(found)
}

/// The rule a table is of, as it is now, if it changed.
fn after<'a>(changes: &[&'a RuleChange], table: &Table) -> Option<&'a VirtualServiceRule> {
    // Names tell most apart.
    let found = changes.iter().find(|change| {
        let object = &change.before.object;
        object.name == table.object.name && *object == table.object
    });
    found.map(|change| &*change.after)
}

/// New tables by the old ones: hosts that shared one share the other.
#[derive(Default)]
struct Made(Vec<(*const Table, Arc<Table>)>);

impl Made {
    fn table(
        &mut self,
        input: &ClassInput,
        rule: &VirtualServiceRule,
        old: &Arc<Table>,
    ) -> Option<Arc<Table>> {
        let place = Arc::as_ptr(old);
        // Hosts of one rule have few tables: one for each port.
        if let Some((_, made)) = self.0.iter().rev().find(|(of, _)| *of == place) {
            return Some(made.clone());
        }
        let table = Arc::new(Table::select(input, rule, old.listener)?);
        self.0.push((place, table.clone()));
        Some(table)
    }
}
