//! T33: everybody against everything, in one table. A page or debug type that is not in it fails here.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use reef_admin::{Caller, Inspect, Refused, paths};
use reef_config::ChangeBatch;
use reef_identity::{Authorizer, ClusterRules, Credential, VerifiedToken};
use reef_mesh::{Locality, ProxyNode};
use reef_server::debug::{CONFIG_DUMP, PAGE, Question, SYNCZ, TYPES};
use reef_server::metrics::ServerMetrics;
use reef_server::protocol::Options;
use reef_server::provider::{BearerToken, NodeInfo, Peer, Refusal, ResourceProvider, ResourceView};
use reef_server::service::DiscoveryServer;
use reef_xds::{EncodedResource, ResourceType};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Access, Vouch, Vouching};
use crate::mesh::MeshOptions;
use crate::serve::identity::Gate;
use crate::serve::inspect::Pages;
use crate::serve::metrics::Metrics;
use crate::serve::provider::Provider;
use crate::serve::registry::{Entry, Stream};
use crate::serve::shared::Shared;

/// What becomes of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Answered, with what belongs to every namespace.
    All,
    /// Answered, with what belongs to the proxy `web-1.shop` and not with what belongs to `db-1.data`.
    Shop,
    /// Answered, with what names no proxy.
    Open,
    /// Refused: who asks is not known.
    Who,
    /// Refused: who asks may not.
    No,
}
use Fate::{All, No, Open, Shop, Who};

/// Who asks. The address of the first two is another machine's.
const CALLERS: [(&str, &str, Option<&str>); 7] = [
    ("nobody", "10.0.0.7:1", None),
    ("a forger", "10.0.0.7:1", Some("forged")),
    ("nobody, near", "127.0.0.1:1", None),
    ("a forger, near", "127.0.0.1:1", Some("forged")),
    ("the namespace shop", "10.0.0.7:1", Some("shop")),
    ("the system namespace", "10.0.0.7:1", Some("reef-system")),
    ("an allowed namespace", "10.0.0.7:1", Some("monitoring")),
];

/// The rows of each class, by caller.
const ANYONE: [Fate; 7] = [Open; 7];
const SYNC: [Fate; 7] = [Who, Who, All, Who, Shop, All, All];
const INDEX: [Fate; 7] = [Who, Who, Who, Who, Open, Open, Open];
const PROXIES: [Fate; 7] = [Who, Who, Who, Who, Shop, All, All];
const MESH: [Fate; 7] = [Who, Who, Who, Who, No, Open, Open];
const PLAIN: [Fate; 7] = [No; 7];

/// Every path, the query that asks about a proxy, and who gets what, with a cluster.
const PAGES: &[(&str, &str, [Fate; 7])] = &[
    ("/ready", "", ANYONE),
    ("/healthz", "", ANYONE),
    ("/version", "", ANYONE),
    ("/metrics", "", ANYONE),
    ("/debug", "", INDEX),
    ("/debug/", "", INDEX),
    ("/debug/list", "", INDEX),
    ("/debug/syncz", "", SYNC),
    ("/debug/adsz", "", PROXIES),
    ("/debug/connections", "", PROXIES),
    ("/debug/proxies", "", PROXIES),
    ("/debug/instancesz", "", PROXIES),
    ("/debug/cachez", "", PROXIES),
    ("/debug/config_dump", "proxyID=", PROXIES),
    ("/debug/edsz", "proxyID=", PROXIES),
    ("/debug/sidecarz", "proxyID=", PROXIES),
    ("/debug/why", "service=a.b&proxyID=", PROXIES),
    ("/debug/status", "", MESH),
    ("/debug/problems", "", MESH),
    ("/debug/registryz", "", MESH),
    ("/debug/endpointShardz", "", MESH),
    ("/debug/networkz", "", MESH),
    ("/debug/endpointz", "", MESH),
    ("/debug/configz", "", MESH),
    ("/debug/mesh", "", MESH),
    ("/debug/resourcesz", "", MESH),
    ("/debug/authorizationz", "", MESH),
    ("/debug/telemetryz", "", MESH),
    ("/debug/push_status", "", MESH),
];

/// Every debug type over xDS, what it asks about, and who gets what over TLS. Over plaintext nobody gets anything.
const ASKED: &[(&str, &str, [Fate; 7])] = &[
    (SYNCZ, "", PROXIES),
    (CONFIG_DUMP, "{proxy}", PROXIES),
    (PAGE, "config_dump?proxyID={proxy}", PROXIES),
    (PAGE, "syncz", PROXIES),
    (PAGE, "list", INDEX),
];

/// Tokens are names of namespaces.
#[derive(Debug)]
struct Names;

impl Vouch for Names {
    fn credential<'a>(&'a self, token: &'a str) -> Vouching<'a> {
        Box::pin(async move {
            if token == "forged" {
                return Err(Refused::Unauthenticated("authentication failed".to_owned()));
            }
            Ok(Credential::Token(Arc::new(VerifiedToken {
                namespace: token.into(),
                service_account: "default".into(),
                pod: None,
                expires: None,
            })))
        })
    }
}

/// What each proxy holds: one cluster, named after it.
#[derive(Debug)]
struct View(EncodedResource);

impl ResourceView for View {
    fn lineage(&self) -> u64 {
        u64::try_from(self.0.name().len()).unwrap()
    }
    fn generation(&self) -> u64 {
        u64::from(self.0.name().starts_with("web"))
    }
    fn resource(&self, _: ResourceType, _: &str) -> Option<EncodedResource> {
        None
    }
    fn for_each(&self, ty: ResourceType, f: &mut dyn FnMut(&EncodedResource)) {
        if ty == ResourceType::Cluster {
            f(&self.0);
        }
    }
    fn changed_since(&self, _: u64) -> Option<Vec<(ResourceType, Arc<str>)>> {
        None
    }
    fn absent(&self, _: ResourceType, _: &str) -> Option<EncodedResource> {
        None
    }
}

/// A server's parts, with two proxies connected, and no sockets.
struct Parts {
    provider: Arc<Provider>,
    pages: Arc<Pages>,
    _entries: Vec<Entry>,
}

fn parts(authorizer: Authorizer) -> Parts {
    let shared = Arc::new(Shared::default());
    let mut index = MeshOptions::default().index();
    index.apply(ChangeBatch {
        changes: Vec::new(),
        synced: true,
    });
    shared.snapshot.store(Some(Arc::clone(index.snapshot())));
    let mut entries = Vec::new();
    for (number, proxy) in ["web-1.shop", "db-1.data"].into_iter().enumerate() {
        let namespace = proxy.rsplit('.').next().unwrap();
        let id = format!("sidecar~10.1.0.{number}~{proxy}~{namespace}.svc.cluster.local");
        let node =
            ProxyNode::parse(&id, reef_mesh::Metadata::default(), Locality::default()).unwrap();
        let cluster = xds_api::envoy::config::cluster::v3::Cluster {
            name: proxy.to_owned(),
            ..Default::default()
        };
        let held = EncodedResource::encode(proxy, &cluster);
        let view: Arc<dyn ResourceView> = Arc::new(View(held));
        let stream = Stream::new(
            u64::try_from(number).unwrap(),
            Arc::new(node),
            true,
            None,
            0,
            watch::Sender::new(view).subscribe(),
        );
        entries.push(shared.registry.insert(Arc::new(stream)));
    }
    let access = Arc::new(Access::new(authorizer.clone(), Some(Arc::new(Names))));
    let metrics = Arc::new(Metrics::new(|_| {}));
    let later = Arc::new(OnceLock::new());
    let provider = Arc::new(Provider {
        connects: mpsc::channel(1).0,
        shared: Arc::clone(&shared),
        gate: Arc::new(Gate::new(authorizer, None, Arc::clone(&shared))),
        access: Arc::clone(&access),
        pages: Arc::clone(&later),
        metrics: Arc::clone(&metrics),
    });
    // The writer has no objects to tell of.
    let (asks, mut asked) = mpsc::channel::<oneshot::Sender<Vec<_>>>(1);
    std::thread::spawn(move || {
        while let Some(reply) = asked.blocking_recv() {
            reply.send(Vec::new()).unwrap_or_default();
        }
    });
    let server = DiscoveryServer::new(
        Arc::<Provider>::clone(&provider),
        "test",
        Options::default(),
        ServerMetrics::new(),
    );
    let pages = Arc::new(Pages {
        shared,
        metrics,
        access,
        asks,
        server,
    });
    Parts {
        provider,
        pages: Arc::clone(later.get_or_init(|| pages)),
        _entries: entries,
    }
}

fn cluster() -> Authorizer {
    Authorizer::new(true).with_cluster(ClusterRules {
        debug_namespaces: vec!["reef-system".to_owned(), "monitoring".to_owned()],
        check_peer_address: false,
    })
}

/// What a page's answers to questions about both proxies, or about none, come to. That pages for anybody have no guard,
/// and that the others have, is tested where the routes are.
async fn fate_of_page(
    parts: &Parts,
    page: &str,
    query: &str,
    peer: &str,
    token: Option<&str>,
) -> Fate {
    let peer: SocketAddr = peer.parse().unwrap();
    let caller = Caller {
        peer: Some(peer),
        token,
        syncz: page == "/debug/syncz",
    };
    let Some(path) = page.strip_prefix("/debug") else {
        return Open;
    };
    let rights = match parts.pages.rights(caller).await {
        Ok(rights) => rights,
        Err(Refused::Unauthenticated(_)) => return Who,
        Err(_) => return No,
    };
    let inspect: Arc<dyn Inspect> = Arc::<Pages>::clone(&parts.pages);
    let mut shown = String::new();
    for proxy in ["web-1.shop", "db-1.data"] {
        let asked = if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{query}{proxy}")
        };
        let (status, body) = reef_admin::ask(&inspect, rights.clone(), &asked).await;
        match status {
            200 if query.is_empty() => return fate(&String::from_utf8_lossy(&body)),
            200 => shown.push_str(proxy),
            403 => return No,
            404 => {}
            other => panic!("{asked}: {other}"),
        }
    }
    fate(&shown)
}

fn fate(shown: &str) -> Fate {
    match (shown.contains("web-1.shop"), shown.contains("db-1.data")) {
        (true, true) => All,
        (true, false) => Shop,
        (false, false) => Open,
        (false, true) => panic!("only the other's: {shown}"),
    }
}

async fn fate_of_question(parts: &Parts, kind: &str, about: &str, peer: &Peer) -> Fate {
    let node = NodeInfo {
        id: "debug~0.0.0.0~istioctl~cluster.local".to_owned(),
        ..NodeInfo::default()
    };
    let mut shown = String::new();
    for proxy in ["web-1.shop", "db-1.data"] {
        let question = Question {
            type_url: kind.to_owned(),
            names: vec![about.replace("{proxy}", proxy)],
        };
        match parts.provider.debug(&node, peer, &question).await {
            Ok(found) => {
                let all = found.resources.iter();
                let text: String = all
                    .map(|any| String::from_utf8_lossy(&any.value).into_owned())
                    .collect();
                // A proxy that is not there is named by who asked for it.
                if !text.contains("not connected to this Pilot instance") {
                    shown.push_str(&text);
                }
            }
            Err(Refusal::Unauthenticated { .. }) => return Who,
            Err(Refusal::NotPermitted { .. }) => return No,
            Err(other) => panic!("{kind} {about}: {other}"),
        }
    }
    fate(&shown)
}

#[tokio::test(flavor = "multi_thread")]
async fn t33_everybody_gets_what_the_table_says_of_every_page_and_debug_type() {
    let mut known: Vec<&str> = paths().map(|(path, _)| path).collect();
    let mut listed: Vec<&str> = PAGES.iter().map(|(path, ..)| *path).collect();
    known.sort_unstable();
    listed.sort_unstable();
    assert_eq!(known, listed, "a page is not in the table of this test");
    for kind in TYPES {
        assert!(
            ASKED.iter().any(|(asked, ..)| *asked == kind),
            "{kind} is not in the table of this test"
        );
    }

    let parts = parts(cluster());
    for (page, query, row) in PAGES {
        for ((who, peer, token), wanted) in CALLERS.iter().zip(row) {
            let got = fate_of_page(&parts, page, query, peer, *token).await;
            assert_eq!(got, *wanted, "{page} to {who}");
        }
    }
    for (kind, about, row) in ASKED {
        for tls in [true, false] {
            let row = if tls { row } else { &PLAIN };
            for ((who, peer, token), wanted) in CALLERS.iter().zip(row) {
                let peer = Peer {
                    address: Some(peer.parse().unwrap()),
                    tls,
                    bearer_token: token.map(BearerToken::new),
                    aggregated: true,
                    delta: false,
                };
                let got = fate_of_question(&parts, kind, about, &peer).await;
                assert_eq!(got, *wanted, "{kind} {about} to {who}, tls: {tls}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cluster_the_same_machine_reads_everything_and_no_other_anything() {
    let parts = parts(Authorizer::new(true));
    for (page, query, row) in PAGES.iter().filter(|(_, _, row)| *row != ANYONE) {
        let near = fate_of_page(&parts, page, query, "127.0.0.1:1", None).await;
        assert_eq!(near, row[5], "{page}: as the system namespace has it");
        // No token opens what nobody could have checked.
        for token in [None, Some("reef-system")] {
            let far = fate_of_page(&parts, page, query, "10.0.0.7:1", token).await;
            assert_eq!(far, No, "{page}");
        }
    }
    for (address, wanted) in [("127.0.0.1:1", All), ("10.0.0.7:1", No)] {
        let peer = Peer {
            address: Some(address.parse().unwrap()),
            ..Peer::default()
        };
        assert_eq!(fate_of_question(&parts, SYNCZ, "", &peer).await, wanted);
    }
}
