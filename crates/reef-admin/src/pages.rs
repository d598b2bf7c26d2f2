//! The index page: every path with one line of explanation, and whom it is for.

use crate::access::Audience::{self, Anyone, Index, Mesh, Proxies, Syncz};

/// A page: its path and query, what it is about, and whom it is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    link: &'static str,
    about: &'static str,
    audience: Audience,
}

impl Page {
    const fn new(link: &'static str, audience: Audience, about: &'static str) -> Self {
        Self {
            link,
            about,
            audience,
        }
    }

    /// Its path, without the query.
    fn path(&self) -> &'static str {
        self.link.split('?').next().unwrap_or(self.link)
    }
}

/// Every page; the index shows this list, and whom a page is for is decided by it.
const PAGES: &[Page] = &[
    Page::new(
        "/debug/status",
        Mesh,
        "totals of the mesh and of this process",
    ),
    Page::new(
        "/debug/syncz",
        Syncz,
        "connected proxies: what each was sent and acknowledged",
    ),
    Page::new(
        "/debug/adsz",
        Proxies,
        "connected proxies: labels, metadata, subscriptions; ?proxyID= limits it",
    ),
    Page::new("/debug/connections", Proxies, "connected proxies, in short"),
    Page::new(
        "/debug/proxies",
        Proxies,
        "connected proxies: services in scope, class, bytes sent by type",
    ),
    Page::new("/debug/registryz", Mesh, "services of all registries"),
    Page::new(
        "/debug/endpointShardz",
        Mesh,
        "endpoints by service, namespace and shard",
    ),
    Page::new("/debug/endpointz", Mesh, "the same, under its older name"),
    Page::new("/debug/networkz", Mesh, "gateways between networks"),
    Page::new(
        "/debug/configz",
        Mesh,
        "Istio objects as they were read, as Kubernetes would show them",
    ),
    Page::new("/debug/mesh", Mesh, "the mesh configuration in effect"),
    Page::new("/debug/resourcesz", Mesh, "kinds of objects that are read"),
    Page::new(
        "/debug/instancesz",
        Proxies,
        "service ports each connected proxy serves; ?proxyID= limits it",
    ),
    Page::new(
        "/debug/authorizationz",
        Mesh,
        "authorization policies by namespace",
    ),
    Page::new("/debug/telemetryz", Mesh, "Telemetry objects by namespace"),
    Page::new(
        "/debug/push_status",
        Mesh,
        "what rules contradict, under the names of the metrics that count it",
    ),
    Page::new(
        "/debug/cachez",
        Proxies,
        "names of the resources connected proxies hold; ?sizes gives their sizes",
    ),
    Page::new(
        "/debug/config_dump?proxyID=POD.NAMESPACE",
        Proxies,
        "everything one proxy holds; &types=cds,lds,rds,eds limits it",
    ),
    Page::new(
        "/debug/edsz?proxyID=POD.NAMESPACE",
        Proxies,
        "the endpoints one proxy holds",
    ),
    Page::new(
        "/debug/sidecarz?proxyID=POD.NAMESPACE",
        Proxies,
        "the scope of one proxy, each service with the reason why it is there",
    ),
    Page::new(
        "/debug/why?proxyID=POD.NAMESPACE&service=HOST",
        Proxies,
        "why one proxy does or does not see one service",
    ),
    Page::new(
        "/debug/problems",
        Mesh,
        "what is wrong, or not applied, in the inputs",
    ),
    Page::new("/debug/list", Index, "names of the debug pages, as JSON"),
    Page::new(
        "/metrics",
        Anyone,
        "metrics, OpenMetrics text (monitoring port only)",
    ),
    Page::new("/ready", Anyone, "200 when proxies are served"),
    Page::new("/healthz", Anyone, "200 while the process answers"),
    Page::new("/version", Anyone, "version of this build"),
];

/// Every path there is, and whom it is for.
pub fn paths() -> impl Iterator<Item = (&'static str, Audience)> {
    let index = [("/debug", Index), ("/debug/", Index)];
    let pages = PAGES.iter().map(|page| (page.path(), page.audience));
    index.into_iter().chain(pages)
}

/// Whom a path is for; one that is in no list is for those who may read everything.
pub(crate) fn audience(path: &str) -> Audience {
    let found = paths().find(|(known, _)| *known == path);
    found.map_or(Mesh, |(_, audience)| audience)
}

/// Names of the debug pages, without `/debug/`.
pub(crate) fn names() -> Vec<&'static str> {
    PAGES
        .iter()
        .filter_map(|page| page.path().strip_prefix("/debug/"))
        .filter(|name| *name != "list")
        .collect()
}

/// The page itself.
pub(crate) fn index() -> String {
    use std::fmt::Write as _;

    let mut html = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Reef</title></head>\n<body>\n<h1>Reef</h1>\n<table>\n",
    );
    for page in PAGES {
        let shown = page.link.replace('&', "&amp;");
        let about = page.about.replace('&', "&amp;");
        // Writing to a String cannot fail.
        let _ok = writeln!(
            html,
            "<tr><td><a href=\"{shown}\">{shown}</a></td><td>{about}</td></tr>"
        );
    }
    html.push_str("</table>\n</body></html>\n");
    html
}
