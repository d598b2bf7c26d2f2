//! What tests of rules made to cost share: objects by the thousand, and what they cost.

use std::time::Duration;

use reef_gen::{ClassInput, problems};
use reef_mesh::identify;

use crate::world::{Output, class, node, output, snapshot};

const PROXY: &str = "id: sidecar~10.2.0.1~x.ns0~ns0.svc.cluster.local\n\
                     metadata: {NAMESPACE: ns0, INSTANCE_IPS: 10.2.0.1, WORKLOAD_CERT: none}\n";

/// The class of a proxy in a mesh of these documents.
pub(crate) fn class_of(documents: &[String]) -> ClassInput {
    let texts: Vec<&str> = documents.iter().map(String::as_str).collect();
    let snapshot = snapshot(&texts, None);
    class(&snapshot, &identify(&snapshot, &node(PROXY)))
}

/// What is told of a class.
pub(crate) fn told(class: &ClassInput) -> Vec<String> {
    problems(class).iter().map(ToString::to_string).collect()
}

/// What some work yields, and the processor time it takes.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begin = worked();
    let result = work();
    (result, worked().saturating_sub(begin))
}

/// Time this thread has had a processor: others' work does not count.
fn worked() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    let nanos = text.split(' ').next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanos.expect("a number"))
}

/// Everything a proxy receives of a mesh, from its text on, and what making it costs.
fn cost(documents: &[String]) -> (Output, Duration) {
    timed(|| output(&class_of(documents)))
}

/// Fails if four times as much costs more than eight times: it is linear, with some room for noise.
/// Returns what the larger mesh yields.
pub(crate) fn assert_linear(mesh: impl Fn(usize) -> Vec<String>, large: usize) -> Output {
    let best = |count| {
        let documents = mesh(count);
        let all = (0..3).map(|_| cost(&documents));
        all.min_by_key(|(_, cost)| *cost).expect("three of them")
    };
    let (_, small) = best(large / 4);
    let (made, large) = best(large);
    assert!(large < small * 8, "{small:?} becomes {large:?}");
    made
}

/// An object of Istio in namespace `ns0`.
pub(crate) fn object(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: ns0}}\n\
         spec: {{{spec}}}\n"
    )
}

/// A `VirtualService` with routes of a kind: `http`, `tls`, `tcp`.
pub(crate) fn rule(name: &str, hosts: &[String], kind: &str, routes: &[String]) -> String {
    let (hosts, routes) = (hosts.join(", "), routes.join(", "));
    let spec = format!("hosts: [{hosts}], {kind}: [{routes}]");
    object("VirtualService", name, &spec)
}

/// So many hosts.
pub(crate) fn hosts(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("h{at}.test")).collect()
}
