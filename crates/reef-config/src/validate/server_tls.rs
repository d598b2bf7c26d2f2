//! TLS of servers: of a `Gateway`, and of a `Sidecar`'s ingress.

use std::collections::BTreeSet;

use super::check::{Check, Shown};
use crate::istio::{ServerTlsMode, ServerTlsSettings, TlsProtocol};
use crate::kind::Kind;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::Gateway, Kind::Sidecar];
    Warning CIPHERS_OLD "tls-ciphers-old" "TLS before 1.2 comes with cipherSuites: none of the default ones is for it";
    Warning CIPHER "tls-cipher" "A cipher suite is one Envoy knows; others are ignored";
    Warning CIPHER_TWICE "tls-cipher-twice" "A cipher suite is there once";
    Error WORKLOAD "tls-workload" "ISTIO_MUTUAL goes without certificates, keys and credentialName: the workload's own are used";
    Warning PASSTHROUGH "tls-passthrough" "PASSTHROUGH and AUTO_PASSTHROUGH go without certificates, which have no effect";
    Error CERTIFICATE "tls-certificate" "SIMPLE, MUTUAL and OPTIONAL_MUTUAL have serverCertificate, credentialName or the like";
    Error KEY "tls-key" "SIMPLE, MUTUAL and OPTIONAL_MUTUAL have privateKey, credentialName or the like";
    Error AUTHORITY "tls-authority" "MUTUAL and OPTIONAL_MUTUAL have caCertificates, credentialName or the like";
    Error CRL "tls-crl" "A list of revoked certificates goes with modes that ask clients for theirs";
}

/// Cipher suites of Envoy's TLS library, by their OpenSSL names.
const CIPHERS: [&str; 15] = [
    "AES128-GCM-SHA256",
    "AES128-SHA",
    "AES256-GCM-SHA384",
    "AES256-SHA",
    "DES-CBC3-SHA",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-RSA-CHACHA20-POLY1305",
];

/// Checks TLS settings.
pub(super) fn check(check: &mut Check<'_>, at: &Path<'_>, tls: &ServerTlsSettings) {
    let set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let old = matches!(
        tls.min_protocol_version,
        TlsProtocol::TlsV1_0 | TlsProtocol::TlsV1_1
    );
    let reason = "the default cipher suites are not for TLS before 1.2";
    let field = at.key("minProtocolVersion");
    check.tell_if(
        old && tls.cipher_suites.is_empty(),
        &CIPHERS_OLD,
        &field,
        reason,
    );
    ciphers(check, &at.key("cipherSuites"), &tls.cipher_suites);

    let certificate = set(&tls.server_certificate);
    let key = set(&tls.private_key);
    let authority = set(&tls.ca_certificates);
    let secret = set(&tls.credential_name);
    let crl = set(&tls.ca_crl);
    match tls.mode {
        ServerTlsMode::IstioMutual => {
            let some = certificate || key || authority || secret;
            let reason = "ISTIO_MUTUAL uses the workload's own certificate and authorities";
            check.tell_if(some, &WORKLOAD, at, reason);
        }
        ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough => {
            let some = certificate || key || authority || secret || crl;
            let reason = "nothing is terminated here, so certificates have no effect";
            check.tell_if(some, &PASSTHROUGH, at, reason);
        }
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => {
            if secret || !tls.credential_names.is_empty() || !tls.tls_certificates.is_empty() {
                return;
            }
            let field = at.key("serverCertificate");
            check.tell_if(
                !certificate,
                &CERTIFICATE,
                &field,
                "a certificate is needed",
            );
            check.tell_if(!key, &KEY, &at.key("privateKey"), "a key is needed");
            let simple = tls.mode == ServerTlsMode::Simple;
            let trusted = simple || authority || set(&tls.ca_cert_credential_name);
            let field = at.key("caCertificates");
            check.tell_if(
                !trusted,
                &AUTHORITY,
                &field,
                "authorities of clients are needed",
            );
            let reason = "SIMPLE asks clients for no certificate";
            check.tell_if(simple && crl, &CRL, &at.key("caCrl"), reason);
        }
    }
}

fn ciphers(check: &mut Check<'_>, at: &Path<'_>, suites: &[String]) {
    let mut seen = BTreeSet::new();
    for (index, suite) in suites.iter().enumerate() {
        // Expressions such as `[A|B]` and `-ALL` are the library's to read.
        let name = suite.starts_with(|c: char| c.is_ascii_alphanumeric()) && suite != "ALL";
        if name && !CIPHERS.contains(&suite.as_str()) {
            let reason = format_args!("{} is not known and ignored", Shown(suite));
            check.tell(&CIPHER, &at.index(index), reason);
        } else if !seen.insert(suite) {
            let reason = format_args!("{} is there already", Shown(suite));
            check.tell(&CIPHER_TWICE, &at.index(index), reason);
        }
    }
}
