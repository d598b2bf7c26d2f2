//! The index page: every path with one line of explanation.

/// Path, query and meaning of each debug page; the index shows this list and the routes are made from the same paths.
pub(crate) const PAGES: &[(&str, &str)] = &[
    ("/debug/status", "totals of the mesh and of this process"),
    (
        "/debug/syncz",
        "connected proxies: what each was sent and acknowledged",
    ),
    (
        "/debug/adsz",
        "connected proxies: labels, metadata, subscriptions; ?proxyID= limits it",
    ),
    ("/debug/connections", "connected proxies, in short"),
    (
        "/debug/proxies",
        "connected proxies: services in scope, class, bytes sent by type",
    ),
    ("/debug/registryz", "services of all registries"),
    (
        "/debug/endpointShardz",
        "endpoints by service, namespace and shard",
    ),
    ("/debug/endpointz", "the same, under its older name"),
    (
        "/debug/configz",
        "Istio objects as they were read, as Kubernetes would show them",
    ),
    ("/debug/mesh", "the mesh configuration in effect"),
    ("/debug/resourcesz", "kinds of objects that are read"),
    (
        "/debug/instancesz",
        "service ports each connected proxy serves; ?proxyID= limits it",
    ),
    (
        "/debug/authorizationz",
        "authorization policies by namespace",
    ),
    ("/debug/telemetryz", "Telemetry objects by namespace"),
    (
        "/debug/push_status",
        "what rules contradict, under the names of the metrics that count it",
    ),
    (
        "/debug/cachez",
        "names of the resources connected proxies hold; ?sizes gives their sizes",
    ),
    (
        "/debug/config_dump?proxyID=POD.NAMESPACE",
        "everything one proxy holds; &types=cds,lds,rds,eds limits it",
    ),
    (
        "/debug/edsz?proxyID=POD.NAMESPACE",
        "the endpoints one proxy holds",
    ),
    (
        "/debug/sidecarz?proxyID=POD.NAMESPACE",
        "the scope of one proxy, each service with the reason why it is there",
    ),
    (
        "/debug/why?proxyID=POD.NAMESPACE&service=HOST",
        "why one proxy does or does not see one service",
    ),
    (
        "/debug/problems",
        "what is wrong, or not applied, in the inputs",
    ),
    ("/debug/list", "names of the debug pages, as JSON"),
    (
        "/metrics",
        "metrics, OpenMetrics text (monitoring port only)",
    ),
    ("/ready", "200 when proxies are served"),
    ("/healthz", "200 while the process answers"),
    ("/version", "version of this build"),
];

/// Names of the debug pages, without `/debug/`.
pub(crate) fn names() -> Vec<&'static str> {
    PAGES
        .iter()
        .filter_map(|(path, _)| path.split('?').next()?.strip_prefix("/debug/"))
        .filter(|name| *name != "list")
        .collect()
}

/// The page itself.
pub(crate) fn index() -> String {
    use std::fmt::Write as _;

    let mut html = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Reef</title></head>\n<body>\n<h1>Reef</h1>\n<table>\n",
    );
    for (path, about) in PAGES {
        let shown = path.replace('&', "&amp;");
        let about = about.replace('&', "&amp;");
        // Writing to a String cannot fail.
        let _ok = writeln!(
            html,
            "<tr><td><a href=\"{shown}\">{shown}</a></td><td>{about}</td></tr>"
        );
    }
    html.push_str("</table>\n</body></html>\n");
    html
}
