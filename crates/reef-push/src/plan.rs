//! What a push comes to: who gets which view, and what it took.

use std::fmt;
use std::sync::Arc;

use crate::store::BuildStats;
use crate::view::ClassView;

/// A connected proxy. Never used again for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProxyId(pub(crate) u64);

/// A class of proxies that share every resource. Never used again for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub(crate) u64);

impl ProxyId {
    /// The number, for maps of others.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl ClassId {
    /// The number; also the lineage of the class's views.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl From<ProxyId> for u64 {
    fn from(id: ProxyId) -> Self {
        id.0
    }
}

impl From<ClassId> for u64 {
    fn from(id: ClassId) -> Self {
        id.0
    }
}

impl fmt::Display for ProxyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proxy {}", self.0)
    }
}

impl fmt::Display for ClassId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "class {}", self.0)
    }
}

/// What a proxy gets when it connects.
#[derive(Debug, Clone)]
pub struct Connected {
    /// Its number, to disconnect it.
    pub proxy: ProxyId,
    /// Its class.
    pub class: ClassId,
    /// What it holds.
    pub view: Arc<ClassView>,
}

/// What a change means for the connected proxies. Whoever is not named keeps its view.
#[derive(Debug, Clone, Default)]
pub struct PushPlan {
    /// Classes of which some byte changed.
    pub classes: Vec<(ClassId, Arc<ClassView>)>,
    /// Proxies that are in another class now.
    pub moved: Vec<(ProxyId, ClassId, Arc<ClassView>)>,
    /// What it took.
    pub stats: PushStats,
}

/// What a push took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PushStats {
    /// Scopes resolved again.
    pub scopes_resolved: usize,
    /// Proxies whose keys were computed again.
    pub proxies_checked: usize,
    /// Classes looked into beyond endpoints.
    pub classes_remade: usize,
    /// Classes whose load assignments took the fast path.
    pub classes_endpoints: usize,
    /// Resources made and their bytes.
    pub build: BuildStats,
}

/// How much there is at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Connected proxies.
    pub proxies: usize,
    /// Classes, idle ones included.
    pub classes: usize,
    /// Scopes in use.
    pub scopes: usize,
    /// Resources in the stores.
    pub resources: usize,
    /// Bytes of the resources as they are sent, whether they are held or would be made.
    pub resource_bytes: usize,
    /// Parts (sets of resources of one type that classes share).
    pub parts: usize,
}
