//! A Kubernetes API server that can be told to misbehave: lists, watches and discovery of the kinds Reef reads, and
//! writes with the conflicts they may end in.
//!
//! [`FakeApi`] holds objects as JSON and a history with versions, and answers over plain HTTP/1.1, in JSON or for
//! Kubernetes' own kinds in protobuf. What a real server
//! does only by accident (a 410 in place of an answer, half an event, an event out of order, silence) it does when
//! told. It knows no authentication, writes nothing by itself, and is not fast.

mod answers;
mod http;
pub mod protobuf;
mod store;
mod writes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use store::{Store, Wanted};

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// When.
    pub at: Instant,
    /// `GET`, unless something is written.
    pub method: String,
    /// The path without its query.
    pub path: String,
    /// The query, decoded.
    pub query: Vec<(String, String)>,
    /// Of the body, without parameters.
    pub content_type: String,
    /// What is to be written.
    pub body: String,
    /// What the answer may be written in.
    pub accepts: String,
}

impl Asked {
    /// What is to be written, as JSON; null if it is nothing or no JSON.
    #[must_use]
    pub fn written(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// A parameter of the query.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The last part of the path: the plural of the kind.
    #[must_use]
    pub fn plural(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Whether the answer is written in protobuf: asked for first, and not for a kind of users, which no server has in it.
    #[must_use]
    pub fn in_protobuf(&self) -> bool {
        self.accepts
            .starts_with("application/vnd.kubernetes.protobuf")
            && !self.path.contains("istio.io")
    }

    /// Whether a watch is asked for.
    #[must_use]
    pub fn is_watch(&self) -> bool {
        self.get("watch") == Some("true")
    }
}

/// What is answered in place of the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instead {
    /// This status, with this message and this many seconds of `Retry-After`.
    Refuse(u16, String, Option<u64>),
    /// Nothing, for ever.
    Silence,
    /// The truth, after this time. Who has gone meanwhile has asked all the same.
    Late(Duration),
    /// The connection ends.
    Reset,
    /// The truth, so slowly: this many bytes every so often.
    Drip(usize, Duration),
    /// A watch with these bytes, which then ends.
    Body(String),
}

/// What happens to open watches.
#[derive(Debug, Clone)]
pub(crate) enum Interfere {
    /// These bytes come in between.
    Send(String),
    /// The connection breaks.
    Break,
    /// Nothing comes any more.
    Mute,
}

/// Decides about each request; `None` is the truth.
type Script = Box<dyn Fn(&Asked) -> Option<Instead> + Send>;

/// What requests share.
pub(crate) struct Shared {
    pub(crate) store: Mutex<Store>,
    pub(crate) asked: Mutex<Vec<Asked>>,
    pub(crate) script: Mutex<Option<Script>>,
    /// The version, for watches that wait.
    pub(crate) moved: watch::Sender<u64>,
    /// To watches of a plural; an empty one is all.
    pub(crate) interfere: broadcast::Sender<(String, Interfere)>,
    pub(crate) watches: Mutex<Vec<String>>,
    /// Whether it answers in protobuf at all.
    pub(crate) protobuf: AtomicBool,
}

impl Shared {
    /// Tells watches that wait how far history has come.
    pub(crate) fn tell(&self) {
        let version = self.store.lock().version;
        self.moved.send_replace(version);
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Interferences that wait for one watch.
const WAITING: usize = 64;

/// A server; ends when dropped.
#[derive(Debug)]
pub struct FakeApi {
    addr: SocketAddr,
    shared: Arc<Shared>,
    server: JoinSet<()>,
}

impl FakeApi {
    /// Starts a server on a free port of loopback, with Istio's kinds installed in `v1` and no objects.
    ///
    /// # Panics
    /// If no port can be had.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test without a port cannot go on")]
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::on(listener)
    }

    #[expect(clippy::expect_used, reason = "a bound socket has an address")]
    fn on(listener: TcpListener) -> Self {
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            store: Mutex::new(Store::new()),
            asked: Mutex::default(),
            script: Mutex::new(None),
            moved: watch::Sender::new(0),
            interfere: broadcast::channel(WAITING).0,
            watches: Mutex::default(),
            protobuf: AtomicBool::new(true),
        });
        let mut server = JoinSet::new();
        server.spawn(http::serve(listener, Arc::clone(&shared)));
        Self {
            addr,
            shared,
            server,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A kubeconfig for it.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: fake\nclusters:\n\
             - {{name: fake, cluster: {{server: \"http://{}\"}}}}\nusers:\n- {{name: fake, user: {{}}}}\n\
             contexts:\n- {{name: fake, context: {{cluster: fake, user: fake}}}}\n",
            self.addr
        )
    }

    /// Creates or replaces an object and returns its version; `creationTimestamp` and `uid` are added.
    ///
    /// # Panics
    /// If it has no `apiVersion`, `kind` or name, or the kind is not known here.
    pub fn apply(&self, object: Value) -> u64 {
        let version = self.shared.store.lock().apply(object);
        self.moved();
        version
    }

    /// Creates or replaces objects without telling each watch of each.
    pub fn apply_all(&self, objects: impl IntoIterator<Item = Value>) {
        {
            let mut store = self.shared.store.lock();
            for object in objects {
                store.apply(object);
            }
        }
        self.moved();
    }

    /// Deletes an object; false if there is none.
    pub fn delete(&self, plural: &str, namespace: &str, name: &str) -> bool {
        let deleted = self.shared.store.lock().delete(plural, namespace, name);
        self.moved();
        deleted
    }

    /// Counts the version on, as a change of something nobody watches does.
    pub fn tick(&self, versions: u64) {
        self.shared.store.lock().version += versions;
    }

    /// Forgets history: a watch from an older version is told that it is gone.
    pub fn compact(&self) {
        self.shared.store.lock().compact();
    }

    /// Everything there is, to be put back.
    #[must_use]
    pub fn backup(&self) -> Backup {
        Backup(self.shared.store.lock().clone())
    }

    /// Everything is as it was then, versions included, as after a restore of etcd; watches break.
    pub fn restore(&self, backup: &Backup) {
        self.restore_unnoticed(backup);
        self.break_watches("");
    }

    /// The same behind the back of open watches, which stay and tell nothing of it.
    pub fn restore_unnoticed(&self, backup: &Backup) {
        *self.shared.store.lock() = backup.0.clone();
    }

    /// Installs kinds of a group in a version.
    pub fn install(&self, group: &str, version: &str, plurals: &[&str]) {
        let mut store = self.shared.store.lock();
        for plural in plurals {
            store.install(group, version, plural);
        }
    }

    /// Removes a kind and all its objects; its watches end.
    pub fn uninstall(&self, plural: &str) {
        self.shared.store.lock().uninstall(plural);
        self.interfere(plural, Interfere::Break);
    }

    /// The definition of a kind has no status subresource from now on.
    pub fn without_status(&self, plural: &str) {
        let mut store = self.shared.store.lock();
        store.without_status.insert(plural.to_owned());
    }

    /// An object as it is.
    #[must_use]
    pub fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let store = self.shared.store.lock();
        store.object(plural, namespace, name).cloned()
    }

    /// All objects of a kind.
    #[must_use]
    pub fn all(&self, plural: &str) -> Vec<Value> {
        self.shared.store.lock().list(plural, &Wanted::default())
    }

    /// Answers everything in JSON, whatever is asked for, as a server that knows nothing else.
    pub fn json_only(&self) {
        self.shared.protobuf.store(false, Ordering::Release);
    }

    /// Decides about each request from now on; `None` answers with the truth.
    pub fn script(&self, decide: impl Fn(&Asked) -> Option<Instead> + Send + 'static) {
        *self.shared.script.lock() = Some(Box::new(decide));
    }

    /// Answers with the truth again.
    pub fn behave(&self) {
        *self.shared.script.lock() = None;
    }

    /// Sends bytes into the open watches of a kind, or of all if `plural` is empty; into one in protobuf what the lines of
    /// these are there.
    pub fn send(&self, plural: &str, bytes: impl Into<String>) {
        self.interfere(plural, Interfere::Send(bytes.into()));
    }

    /// Tells the open watches of a kind, or of all, that their version is gone.
    pub fn send_gone(&self, plural: &str) {
        self.send(plural, answers::gone_event());
    }

    /// Breaks the open watches of a kind, or of all.
    pub fn break_watches(&self, plural: &str) {
        self.interfere(plural, Interfere::Break);
    }

    /// Lets the open watches of a kind, or of all, fall silent as over a dead connection.
    pub fn mute_watches(&self, plural: &str) {
        self.interfere(plural, Interfere::Mute);
    }

    /// Everything asked so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().clone()
    }

    /// Forgets what was asked.
    pub fn forget_asked(&self) {
        self.shared.asked.lock().clear();
    }

    /// How many watches of a kind are open.
    #[must_use]
    pub fn watches(&self, plural: &str) -> usize {
        let watches = self.shared.watches.lock();
        watches.iter().filter(|open| *open == plural).count()
    }

    /// Ends: connections break and further ones are refused. The port may be had again by [`Stopped::restart`].
    pub async fn stop(mut self) -> Stopped {
        self.server.shutdown().await;
        Stopped {
            addr: self.addr,
            store: self.shared.store.lock().clone(),
        }
    }

    fn interfere(&self, plural: &str, how: Interfere) {
        // Without a watch there is nobody to tell.
        let _nobody = self.shared.interfere.send((plural.to_owned(), how));
    }

    fn moved(&self) {
        self.shared.tell();
    }
}

/// The state of a server at some time.
#[derive(Debug, Clone)]
pub struct Backup(Store);

/// A server that is down.
#[derive(Debug)]
pub struct Stopped {
    addr: SocketAddr,
    store: Store,
}

impl Stopped {
    /// A kubeconfig for the server that was there.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Starts it again at the same address with what it had.
    ///
    /// # Panics
    /// If somebody has taken the port.
    #[expect(clippy::expect_used, reason = "a test without its port cannot go on")]
    pub async fn restart(self) -> FakeApi {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option of a socket");
        socket.bind(self.addr).expect("the port is ours");
        let api = FakeApi::on(socket.listen(64).expect("a bound socket listens"));
        *api.shared.store.lock() = self.store;
        api.moved();
        api
    }
}
