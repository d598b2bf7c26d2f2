//! `PeerAuthentication`, `RequestAuthentication` and `AuthorizationPolicy`.

use std::collections::BTreeMap;

use crate::scalar::ApiDuration;

use super::{PolicyTargetReference, WorkloadSelector};

api_structs! {
    /// A `PeerAuthentication`.
    pub struct PeerAuthentication {
        /// Workloads it is for; absent means the namespace, or the mesh in the root namespace.
        pub selector: Option<WorkloadSelector>,
        /// For all ports.
        pub mtls: Option<MutualTls>,
        /// By port of the workload.
        pub port_level_mtls: BTreeMap<u16, MutualTls>,
    }

    /// `PeerAuthentication.MutualTLS`.
    pub struct MutualTls {
        /// Mode.
        pub mode: MutualTlsMode,
    }

    /// A `RequestAuthentication`.
    pub struct RequestAuthentication {
        /// Workloads it is for.
        pub selector: Option<WorkloadSelector>,
        /// Deprecated single form of `targetRefs`.
        pub target_ref: Option<PolicyTargetReference>,
        /// Resources it is attached to.
        pub target_refs: Vec<PolicyTargetReference>,
        /// Accepted issuers.
        pub jwt_rules: Vec<JwtRule>,
    }

    /// `JWTRule`.
    pub struct JwtRule {
        /// Issuer.
        pub issuer: String,
        /// Accepted audiences.
        pub audiences: Vec<String>,
        /// Where the keys are.
        pub jwks_uri: Option<String>,
        /// The keys.
        pub jwks: Option<String>,
        /// Headers that hold the token.
        pub from_headers: Vec<JwtFromHeader>,
        /// Query parameters that hold the token.
        pub from_params: Vec<String>,
        /// Cookies that hold the token.
        pub from_cookies: Vec<String>,
        /// Header the payload is passed on in.
        pub output_payload_to_header: Option<String>,
        /// Whether the token is passed on.
        pub forward_original_token: bool,
        /// Claims passed on as headers.
        pub output_claim_to_headers: Vec<JwtOutputClaim>,
        /// Time to fetch the keys, 5 s if absent.
        pub timeout: Option<ApiDuration>,
        /// Claims split at spaces.
        pub space_delimited_claims: Vec<String>,
    }

    /// `JWTHeader`.
    pub struct JwtFromHeader {
        /// Header.
        pub name: String,
        /// Text before the token.
        pub prefix: Option<String>,
    }

    /// `ClaimToHeader`.
    pub struct JwtOutputClaim {
        /// Header.
        pub header: String,
        /// Claim.
        pub claim: String,
    }

    /// An `AuthorizationPolicy`.
    pub struct AuthorizationPolicy {
        /// Workloads it is for.
        pub selector: Option<WorkloadSelector>,
        /// Deprecated single form of `targetRefs`.
        pub target_ref: Option<PolicyTargetReference>,
        /// Resources it is attached to.
        pub target_refs: Vec<PolicyTargetReference>,
        /// Rules, one of which must hold; `Some(empty)` and absent both match nothing.
        pub rules: Vec<AuthorizationRule>,
        /// What follows from a match.
        pub action: AuthorizationAction,
        /// The authorizer asked, for `CUSTOM`.
        pub provider: Option<ExtensionProviderRef>,
    }

    /// `AuthorizationPolicy.ExtensionProvider`.
    pub struct ExtensionProviderRef {
        /// Name in the mesh configuration.
        pub name: String,
    }

    /// `Rule`.
    pub struct AuthorizationRule {
        /// Sources, one of which must hold; none means any.
        pub from: Vec<RuleFrom>,
        /// Operations, one of which must hold; none means any.
        pub to: Vec<RuleTo>,
        /// Conditions, all of which must hold.
        pub when: Vec<Condition>,
    }

    /// `Rule.From`.
    pub struct RuleFrom {
        /// Source.
        pub source: Source,
    }

    /// `Rule.To`.
    pub struct RuleTo {
        /// Operation.
        pub operation: Operation,
    }

    /// `Source`; all fields that are there must hold.
    pub struct Source {
        /// Peer identities.
        pub principals: Vec<String>,
        /// Peer identities that must not be.
        pub not_principals: Vec<String>,
        /// Request identities (`issuer/subject`).
        pub request_principals: Vec<String>,
        /// Request identities that must not be.
        pub not_request_principals: Vec<String>,
        /// Namespaces of the peer.
        pub namespaces: Vec<String>,
        /// Namespaces that must not be.
        pub not_namespaces: Vec<String>,
        /// Addresses of the peer.
        pub ip_blocks: Vec<String>,
        /// Addresses that must not be.
        pub not_ip_blocks: Vec<String>,
        /// Addresses of the original client.
        pub remote_ip_blocks: Vec<String>,
        /// Original addresses that must not be.
        pub not_remote_ip_blocks: Vec<String>,
        /// Service accounts of the peer, `namespace/account`.
        pub service_accounts: Vec<String>,
        /// Service accounts that must not be.
        pub not_service_accounts: Vec<String>,
    }

    /// `Operation`; all fields that are there must hold.
    pub struct Operation {
        /// Hosts.
        pub hosts: Vec<String>,
        /// Hosts that must not be.
        pub not_hosts: Vec<String>,
        /// Ports.
        pub ports: Vec<String>,
        /// Ports that must not be.
        pub not_ports: Vec<String>,
        /// Methods.
        pub methods: Vec<String>,
        /// Methods that must not be.
        pub not_methods: Vec<String>,
        /// Paths.
        pub paths: Vec<String>,
        /// Paths that must not be.
        pub not_paths: Vec<String>,
    }

    /// `Condition`.
    pub struct Condition {
        /// Attribute.
        pub key: String,
        /// Values, one of which it must have.
        pub values: Vec<String>,
        /// Values it must not have.
        pub not_values: Vec<String>,
    }
}

api_enum! {
    /// `PeerAuthentication.MutualTLS.Mode`.
    pub enum MutualTlsMode {
        /// As the parent says.
        Unset = "UNSET",
        /// Plain text.
        Disable = "DISABLE",
        /// Either.
        Permissive = "PERMISSIVE",
        /// Mutual TLS.
        Strict = "STRICT",
    } default Unset
}

api_enum! {
    /// `AuthorizationPolicy.Action`.
    pub enum AuthorizationAction {
        /// Allowed; everything else is then denied.
        Allow = "ALLOW",
        /// Denied.
        Deny = "DENY",
        /// Logged.
        Audit = "AUDIT",
        /// Decided by an external authorizer.
        Custom = "CUSTOM",
    } default Allow
}
