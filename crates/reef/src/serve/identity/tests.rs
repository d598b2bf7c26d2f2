//! Streams at the gate: whom they may be, what is believed of what they say, and how long they wait.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use reef_config::Uid;
use reef_identity::ClusterRules;
use reef_mesh::identify;
use reef_server::provider::Locality;
use serde_json::json;

use super::*;
use crate::mesh::tests::snapshot;

const MESH: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: cart-1
  namespace: shop
  uid: 0f0e2f4a-1111-4222-8333-444455556666
  labels: {app: cart, topology.istio.io/network: net-1}
spec:
  nodeName: n1
  serviceAccountName: cart
  containers: [{name: c, ports: [{name: web, containerPort: 8080}]}]
status: {phase: Running, podIPs: [{ip: 10.1.0.7}, {ip: 'fd00::7'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: done, namespace: shop}
spec: {serviceAccountName: cart}
status: {phase: Succeeded, podIPs: [{ip: 10.1.0.9}]}
---
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {topology.kubernetes.io/region: west, topology.kubernetes.io/zone: w1}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm, namespace: shop}
spec: {address: 192.0.2.5, serviceAccount: machines, labels: {app: legacy}, locality: east/e1}
";

/// Answers by token.
#[derive(Default)]
struct Answers(Mutex<BTreeMap<String, Result<Review, Unreachable>>>);

impl Reviewer for Answers {
    fn review<'a>(&'a self, token: &'a str) -> ReviewFuture<'a> {
        Box::pin(async move {
            self.0
                .lock()
                .get(token)
                .cloned()
                .unwrap_or(Ok(Review::Refused))
        })
    }
}

struct World {
    gate: Arc<Gate>,
    shared: Arc<Shared>,
    answers: Arc<Answers>,
}

fn world() -> World {
    let shared = Arc::new(Shared::default());
    shared.snapshot.store(Some(snapshot(MESH)));
    let answers = Arc::new(Answers::default());
    let policy = Policy::new(vec!["istio-ca".to_owned()]);
    let reviewer: Arc<dyn Reviewer> = answers.clone();
    let tokens = Arc::new(Tokens::new(reviewer, policy));
    let authorizer = Authorizer::new(false).with_cluster(ClusterRules {
        debug_namespaces: vec!["reef-system".to_owned()],
        check_peer_address: true,
    });
    World {
        gate: Arc::new(Gate::new(authorizer, Some(tokens), Arc::clone(&shared))),
        shared,
        answers,
    }
}

/// Seconds since the epoch from which tokens of these tests expire an hour later.
fn wall() -> u64 {
    clock::wall().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl World {
    /// A token the API server answers for so.
    fn token(&self, account: &str, pod: Option<(&str, Option<&str>)>) -> BearerToken {
        let header = json!({ "alg": "RS256", "kid": "k" });
        let claims = json!({ "aud": ["istio-ca"], "exp": wall() + 3600, "for": [account, pod] });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let token = format!("{}.{}.AAAA", part(&header), part(&claims));
        let review = Review::Authentic {
            user: format!("system:serviceaccount:{account}"),
            pod: pod.map(|(name, uid)| BoundPod {
                name: name.into(),
                uid: uid.and_then(Uid::parse),
            }),
        };
        self.answers.0.lock().insert(token.clone(), Ok(review));
        BearerToken::new(token)
    }

    fn own_token(&self) -> BearerToken {
        let uid = Some("0f0e2f4a-1111-4222-8333-444455556666");
        self.token("shop:cart", Some(("cart-1", uid)))
    }

    async fn stream(&self, node: &NodeInfo, peer: &Peer) -> Result<Admitted, Refusal> {
        self.gate.admit(peer).await?;
        self.gate.stream(node, peer).await
    }
}

fn peer(address: &str, token: Option<BearerToken>) -> Peer {
    Peer {
        address: Some(address.parse().unwrap()),
        bearer_token: token,
        tls: true,
        aggregated: true,
        delta: true,
    }
}

fn cart() -> NodeInfo {
    NodeInfo {
        id: "sidecar~10.1.0.7~cart-1.shop~shop.svc.cluster.local".to_owned(),
        metadata: json!({
            "NAMESPACE": "bank",
            "LABELS": { "app": "vault" },
            "STATIC_LABELS": { "admin": "yes" },
            "SERVICE_ACCOUNT": "root",
            "INSTANCE_IPS": "10.9.9.9",
            "NODE_NAME": "elsewhere",
            "NETWORK": "net-9",
            "CLUSTER_ID": "other",
            "POD_PORTS": "[{\"name\":\"evil\",\"containerPort\":1}]",
            "INTERCEPTION_MODE": "TPROXY",
        }),
        locality: Locality {
            region: "mars".to_owned(),
            ..Locality::default()
        },
        ..NodeInfo::default()
    }
}

fn not_permitted<T: std::fmt::Debug>(outcome: Result<T, Refusal>) -> String {
    match outcome {
        Err(Refusal::NotPermitted { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_proxy_is_what_its_pod_is_and_not_what_it_says() {
    let world = world();
    let peer = peer("10.1.0.7:1", Some(world.own_token()));
    let admitted = world.stream(&cart(), &peer).await.unwrap();
    let snapshot = world.shared.snapshot.load_full().unwrap();
    let who = identify(&snapshot, &admitted.node);
    assert_eq!(&*who.namespace, "shop");
    assert_eq!(&*who.service_account, "cart");
    assert_eq!(who.labels.get("app").map(|v| &**v), Some("cart"));
    assert_eq!(who.labels.get("admin"), None);
    assert_eq!(&*who.locality.region, "west");
    assert_eq!(who.node_name.as_deref(), Some("n1"));
    assert_eq!(&*who.network, "net-1");
    assert_eq!(who.cluster, "Kubernetes");
    let ips: Vec<String> = who.ips.iter().map(ToString::to_string).collect();
    assert_eq!(ips, ["10.1.0.7", "fd00::7"]);
    assert_eq!(who.pod_ports.len(), 1);
    assert_eq!((&*who.pod_ports[0].0, who.pod_ports[0].1), ("web", 8080));
    // How it takes traffic in is its own affair.
    assert_eq!(who.interception, reef_mesh::Interception::Tproxy);

    // It is looked at again shortly before its token ends.
    let until = admitted.lease.until().unwrap();
    let left = until.duration_since(clock::now());
    assert!(
        left <= Duration::from_secs(3600) && left > Duration::from_secs(3200),
        "{left:?}"
    );
}

#[tokio::test]
async fn a_machine_outside_is_what_its_entry_is() {
    let world = world();
    let node = NodeInfo {
        id: "sidecar~192.0.2.5~host7.shop~shop.svc.cluster.local".to_owned(),
        ..cart()
    };
    let peer = peer("192.0.2.5:1", Some(world.token("shop:machines", None)));
    let admitted = world.stream(&node, &peer).await.unwrap();
    let snapshot = world.shared.snapshot.load_full().unwrap();
    let who = identify(&snapshot, &admitted.node);
    assert_eq!(who.labels.get("app").map(|v| &**v), Some("legacy"));
    assert_eq!(&*who.service_account, "machines");
    assert_eq!(&*who.locality.region, "east");
    let other = Peer {
        bearer_token: Some(world.token("shop:cart", None)),
        ..peer
    };
    not_permitted(world.stream(&node, &other).await);
}

#[tokio::test(start_paused = true)]
async fn without_a_good_token_nobody_is_listened_to() {
    let world = world();
    let unknown = BearerToken::new("not.a.token");
    for token in [None, Some(unknown)] {
        let peer = peer("127.0.0.1:1", token);
        match world.gate.admit(&peer).await {
            Err(Refusal::Unauthenticated { reason }) => assert_eq!(reason, "authentication failed"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            world.gate.stream(&cart(), &peer).await,
            Err(Refusal::Unauthenticated { .. })
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_claims_another_node_is_told_the_same_whatever_is_wrong() {
    let world = world();
    let own = || Some(world.own_token());
    let named = |id: &str| NodeInfo {
        id: id.to_owned(),
        ..cart()
    };
    let cases = [
        (cart(), peer("10.1.0.8:1", own())),
        (
            cart(),
            peer("10.1.0.7:1", Some(world.token("shop:root", None))),
        ),
        (
            cart(),
            peer("10.1.0.7:1", Some(world.token("bank:cart", None))),
        ),
        (
            cart(),
            peer(
                "10.1.0.7:1",
                Some(world.token("shop:cart", Some(("cart-2", None)))),
            ),
        ),
        (
            cart(),
            peer(
                "10.1.0.7:1",
                Some(world.token(
                    "shop:cart",
                    Some(("cart-1", Some("ffffffff-1111-4222-8333-444455556666"))),
                )),
            ),
        ),
        (
            named("sidecar~10.1.0.7~nobody.shop~shop.svc.cluster.local"),
            peer("10.1.0.7:1", own()),
        ),
        (
            named("sidecar~10.1.0.9~done.shop~shop.svc.cluster.local"),
            peer("10.1.0.9:1", Some(world.token("shop:cart", None))),
        ),
        (named("cart-1"), peer("10.1.0.7:1", own())),
    ];
    for delta in [false, true] {
        for (node, peer) in &cases {
            let peer = Peer {
                delta,
                ..peer.clone()
            };
            let reason = not_permitted(world.stream(node, &peer).await);
            assert_eq!(
                reason, "this peer may not be served as this node",
                "{}",
                node.id
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_waits_ten_seconds_for_its_pod() {
    let world = world();
    world.shared.snapshot.store(Some(snapshot(
        "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}",
    )));
    let peer = peer("10.1.0.7:1", Some(world.own_token()));
    let started = tokio::time::Instant::now();
    not_permitted(world.stream(&cart(), &peer).await);
    let waited = started.elapsed();
    assert!((10.0..10.2).contains(&waited.as_secs_f64()), "{waited:?}");

    let started = tokio::time::Instant::now();
    let node = cart();
    let come = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        world.shared.snapshot.store(Some(snapshot(MESH)));
    };
    let (admitted, ()) = tokio::join!(world.stream(&node, &peer), come);
    assert!(admitted.is_ok());
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn plaintext_must_name_a_workload_of_the_mesh() {
    let world = world();
    let plain = |address: &str| Peer {
        tls: false,
        ..peer(address, None)
    };
    let admitted = world.stream(&cart(), &plain("127.0.0.1:1")).await.unwrap();
    assert_eq!(admitted.lease.until(), None);
    let nobody = NodeInfo {
        id: "sidecar~10.1.0.8~nobody.shop~shop.svc.cluster.local".to_owned(),
        ..cart()
    };
    not_permitted(world.stream(&nobody, &plain("127.0.0.1:1")).await);
    let reason = not_permitted(world.stream(&cart(), &plain("10.1.0.7:1")).await);
    assert!(reason.contains("--insecure-xds"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn before_the_first_list_nobody_waits() {
    let world = world();
    world.shared.snapshot.store(None);
    let peer = peer("10.1.0.7:1", Some(world.own_token()));
    assert!(matches!(
        world.stream(&cart(), &peer).await,
        Err(Refusal::NotReady { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn while_nobody_can_be_asked_streams_outlive_their_tokens() {
    let world = world();
    let lease = Lease {
        until: Some(clock::now()),
        tokens: world.gate.tokens.clone(),
    };
    assert!(lease.until().unwrap() <= clock::now());
    let token = world.token("shop:cart", None);
    let silent = Unreachable {
        reason: "refused".to_owned(),
    };
    world
        .answers
        .0
        .lock()
        .insert(token.secret().to_owned(), Err(silent));
    assert!(matches!(
        world.gate.credential(Some(&token)).await,
        Err(Refusal::NotReady { .. })
    ));
    assert!(lease.until().unwrap() > clock::now() + Duration::from_secs(1));
}

#[tokio::test]
async fn without_a_cluster_a_proxy_is_what_it_says() {
    let shared = Arc::new(Shared::default());
    shared.snapshot.store(Some(snapshot(MESH)));
    let gate = Gate::new(Authorizer::new(false), None, shared);
    let mut peer = peer("127.0.0.1:1", Some(BearerToken::new("whatever")));
    peer.tls = false;
    let admitted = gate.stream(&cart(), &peer).await.unwrap();
    assert_eq!(&*admitted.node.namespace, "bank");
}
