//! The objects of the tests' shop, as YAML.

/// A ready pod of the namespace `shop`; `web-1` has the label `app: web`.
pub(crate) fn pod(name: &str, ip: &str, listen: &str) -> String {
    labelled(name, ip, listen, "")
}

/// The same with further labels, written as the inside of a YAML flow mapping.
pub(crate) fn labelled(name: &str, ip: &str, listen: &str, labels: &str) -> String {
    let app = name.trim_end_matches(|c: char| c == '-' || c.is_ascii_digit());
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: shop\n  \
         labels: {{app: {app}, {labels}}}\n  \
         annotations: {{reef-testapp/listen: \"{listen}\"}}\nspec:\n  serviceAccountName: {app}\n  \
         nodeName: node-a\n  containers: [{{name: app, image: reef-testapp}}]\n\
         status:\n  phase: Running\n  podIP: {ip}\n  podIPs: [{{ip: {ip}}}]\n  \
         conditions: [{{type: Ready, status: \"True\"}}]\n"
    )
}

/// A Service of the namespace `shop` with one HTTP port, 80, that leads to 8080.
pub(crate) fn service(name: &str, ip: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  \
         clusterIP: {ip}\n  selector: {{app: {name}}}\n  \
         ports: [{{name: http, port: 80, targetPort: 8080}}]\n"
    )
}

/// Its EndpointSlice, as the controller would write it; pods by name and address.
pub(crate) fn slice(service: &str, pods: &[(&str, &str)]) -> String {
    let endpoints = pods.iter().map(|(pod, ip)| {
        format!(
            "- addresses: [{ip}]\n  conditions: {{ready: true, serving: true, terminating: false}}\n  \
             nodeName: node-a\n  targetRef: {{kind: Pod, name: {pod}, namespace: shop}}\n"
        )
    });
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  \
         name: {service}-1\n  namespace: shop\n  \
         labels: {{kubernetes.io/service-name: {service}}}\naddressType: IPv4\n\
         ports: [{{name: http, port: 8080, protocol: TCP}}]\nendpoints:\n{}",
        endpoints.collect::<String>()
    )
}

/// A client and two pods of one Service.
pub(crate) fn shop() -> String {
    [
        pod("client-1", "10.244.1.10", ""),
        labelled("web-1", "10.244.1.11", "--http 8080", "version: v1"),
        labelled("web-2", "10.244.1.12", "--http 8080", "version: v2"),
        service("web", "10.96.1.1"),
        slice("web", &[("web-1", "10.244.1.11"), ("web-2", "10.244.1.12")]),
    ]
    .concat()
}

/// Where the shop's Service is, and its host.
pub(crate) const WEB: (&str, &str) = ("10.96.1.1:80", "web.shop");

/// Routes the Service to its second version.
pub(crate) const TO_V2: &str = "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec:
  host: web
  subsets: [{name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http: [{route: [{destination: {host: web, subset: v2}}]}]
";
