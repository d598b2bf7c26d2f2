//! One configuration object: its key, age, metadata, origin and typed spec.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU64;
use std::sync::Arc;

use crate::istio;
use crate::k8s;
use crate::kind::Kind;
use crate::labels::Labels;
use crate::names::{ClusterId, Namespace};

/// What identifies an object: cluster, kind, namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The cluster the object was read from.
    pub cluster: ClusterId,
    /// The kind.
    pub kind: Kind,
    /// The namespace; `default` if the object names none.
    pub namespace: Namespace,
    /// The name within the namespace.
    pub name: Arc<str>,
}

impl Hash for ObjectKey {
    /// Without the cluster: most keys share it, and it would be half of the work.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
        self.namespace.hash(state);
        self.name.hash(state);
    }
}

impl ObjectKey {
    /// Makes a key in the default cluster.
    #[must_use]
    pub fn new(kind: Kind, namespace: impl Into<Namespace>, name: impl Into<Arc<str>>) -> Self {
        Self {
            cluster: ClusterId::default(),
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectKey {
    /// `Kind namespace/name`, with ` (cluster C)` if it is not the default cluster.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)?;
        if self.cluster != "Kubernetes" {
            write!(f, " (cluster {})", self.cluster)?;
        }
        Ok(())
    }
}

/// Orders objects from the oldest to the youngest; where rules conflict the oldest wins.
///
/// By creation time; an object without one is younger than every object with one. Equal times are ordered
/// by name, then by namespace. Never by file modification time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Age {
    /// Seconds since the epoch, if the object says.
    pub created: Option<i64>,
    /// The object's name.
    pub name: Arc<str>,
    /// The object's namespace.
    pub namespace: Namespace,
}

impl Ord for Age {
    fn cmp(&self, other: &Self) -> Ordering {
        let absent_last = |created: Option<i64>| (created.is_none(), created);
        absent_last(self.created)
            .cmp(&absent_last(other.created))
            .then_with(|| self.name.cmp(&other.name))
            .then_with(|| self.namespace.cmp(&other.namespace))
    }
}

impl PartialOrd for Age {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The metadata that rules read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ObjectMeta {
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
    /// `creationTimestamp` in seconds since the epoch.
    pub created: Option<i64>,
    /// `generation`, as the API server counts it.
    pub generation: Option<i64>,
    /// `uid`, of Pods only: a token is made for one pod, not for whichever has its name later.
    pub uid: Option<Uid>,
}

/// The `uid` of an object: which of the objects that have had its name.
///
/// Its upper half has the version of the UUID, which is never 0; so an [`Option`] of one takes no more room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(NonZeroU64, u64);

impl Uid {
    /// Reads a UUID; `None` if the text is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut digits = text.bytes().filter(|byte| *byte != b'-');
        let mut digit = || char::from(digits.next()?).to_digit(16);
        let mut half = || (0..16).try_fold(0, |all, _| Some(all << 4 | u64::from(digit()?)));
        let uid = Self(NonZeroU64::new(half()?)?, half()?);
        digits.next().is_none().then_some(uid)
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (upper, lower) = (self.0.get(), self.1);
        let (first, second, third) = (upper >> 32, upper >> 16 & 0xffff, upper & 0xffff);
        let (fourth, last) = (lower >> 48, lower & 0xffff_ffff_ffff);
        write!(
            f,
            "{first:08x}-{second:04x}-{third:04x}-{fourth:04x}-{last:012x}"
        )
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where an object was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The file's path as the source found it, or the cluster an API server told it of.
    pub path: Arc<str>,
    /// The first line of the document, counted from 1; 0 where there are no lines, as in a cluster.
    pub line: u32,
}

impl Origin {
    /// A place without lines: the objects of a cluster.
    #[must_use]
    pub fn cluster(cluster: &ClusterId) -> Self {
        Self {
            path: format!("cluster {cluster}").into(),
            line: 0,
        }
    }

    /// The line, if there are lines.
    #[must_use]
    pub fn line(&self) -> Option<u32> {
        (self.line > 0).then_some(self.line)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line() {
            Some(line) => write!(f, "{}:{line}", self.path),
            None => f.write_str(&self.path),
        }
    }
}

/// One configuration object.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Its identity.
    pub key: ObjectKey,
    /// Its metadata.
    pub meta: ObjectMeta,
    /// Where it was read, if from a file.
    pub origin: Option<Origin>,
    /// Its typed content.
    pub spec: Spec,
}

impl Object {
    /// Where the object stands between older and younger ones.
    #[must_use]
    pub fn age(&self) -> Age {
        Age {
            created: self.meta.created,
            name: Arc::clone(&self.key.name),
            namespace: self.key.namespace.clone(),
        }
    }

    /// Whether the two mean the same: all but the place they were read from.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        self.key == other.key && self.meta == other.meta && self.spec == other.spec
    }
}

macro_rules! specs {
    ($($(#[$meta:meta])* $kind:ident($type:ty),)*) => {
        /// The typed content of an object, one variant per [`Kind`].
        #[derive(Debug, Clone, PartialEq)]
        pub enum Spec {
            $($(#[$meta])* $kind(Box<$type>),)*
        }

        impl Spec {
            /// The content as JSON, as far as it was read.
            pub(crate) fn to_value(&self) -> serde_json::Value {
                // Maps have strings as keys and nothing else can fail.
                match self {
                    $(Self::$kind(content) => serde_json::to_value(content).unwrap_or_default(),)*
                }
            }

            /// The kind this content belongs to.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)*
                }
            }
        }
    };
}

specs! {
    /// Core `Namespace`.
    Namespace(k8s::Namespace),
    /// Core `Node`.
    Node(k8s::Node),
    /// Core `Pod`.
    Pod(k8s::Pod),
    /// Core `Service`.
    Service(k8s::Service),
    /// `EndpointSlice`.
    EndpointSlice(k8s::EndpointSlice),
    /// Core `Endpoints`.
    Endpoints(k8s::Endpoints),
    /// Core `ConfigMap`.
    ConfigMap(k8s::ConfigMap),
    /// Istio `ServiceEntry`.
    ServiceEntry(istio::ServiceEntry),
    /// Istio `WorkloadEntry`.
    WorkloadEntry(istio::WorkloadEntry),
    /// Istio `WorkloadGroup`.
    WorkloadGroup(istio::WorkloadGroup),
    /// Istio `Sidecar`.
    Sidecar(istio::Sidecar),
    /// Istio `VirtualService`.
    VirtualService(istio::VirtualService),
    /// Istio `DestinationRule`.
    DestinationRule(istio::DestinationRule),
    /// Istio `Gateway`.
    Gateway(istio::Gateway),
    /// Istio `PeerAuthentication`.
    PeerAuthentication(istio::PeerAuthentication),
    /// Istio `RequestAuthentication`.
    RequestAuthentication(istio::RequestAuthentication),
    /// Istio `AuthorizationPolicy`.
    AuthorizationPolicy(istio::AuthorizationPolicy),
    /// Istio `EnvoyFilter`.
    EnvoyFilter(istio::EnvoyFilter),
    /// Istio `Telemetry`.
    Telemetry(istio::Telemetry),
    /// Istio `ProxyConfig`.
    ProxyConfig(istio::ProxyConfig),
}
