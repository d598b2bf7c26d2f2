//! Host entries of egress listeners: `namespace/dnsName`, exclusions with `~`.

use reef_config::names::{Hostname, Namespace};

/// One parsed host entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEntry {
    /// The entry as written.
    pub text: String,
    /// Namespace it is about, `.` resolved; `None` means all.
    pub namespace: Option<Namespace>,
    /// Host or pattern; `*` means all.
    pub host: Hostname,
    /// True if it takes services away.
    pub exclude: bool,
}

/// Why a host entry is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Not exactly one slash.
    #[error("host `{0}` must have the form namespace/dnsName")]
    Form(String),
    /// The namespace part is empty.
    #[error("host `{0}` has no namespace; use `*` for all or `.` for its own")]
    Namespace(String),
    /// The DNS part is a short name or a partial wildcard.
    #[error(
        "host `{0}`: the name must be `*`, a full name with a dot, or a name that starts with `*.`"
    )]
    Name(String),
}

impl HostEntry {
    /// Parses an entry for proxies of `consumer`.
    ///
    /// # Errors
    /// [`HostError`] if the entry can't mean anything.
    pub fn parse(text: &str, consumer: &Namespace) -> Result<Self, HostError> {
        let (namespace, host) = text
            .split_once('/')
            .filter(|(_, host)| !host.contains('/'))
            .ok_or_else(|| HostError::Form(text.to_owned()))?;
        let (exclude, namespace) = match namespace.strip_prefix('~') {
            // A bare `~` takes away from all namespaces.
            Some("") => (true, "*"),
            Some(rest) => (true, rest),
            None => (false, namespace),
        };
        let namespace = match namespace {
            "" => return Err(HostError::Namespace(text.to_owned())),
            "*" => None,
            "." => Some(consumer.clone()),
            name => Some(Namespace::from(name)),
        };
        let valid = host == "*"
            || host.strip_prefix("*.").map_or_else(
                || !host.contains('*') && host.contains('.'),
                |rest| !rest.is_empty() && !rest.contains('*'),
            );
        if !valid {
            return Err(HostError::Name(text.to_owned()));
        }
        Ok(Self {
            text: text.to_owned(),
            namespace,
            host: Hostname::from(host),
            exclude,
        })
    }
}
