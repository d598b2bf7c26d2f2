//! `tls` towards the host.

use super::super::check::Check;
use crate::istio::{ClientTlsMode, ClientTlsSettings};
use crate::kind::Kind;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::DestinationRule];
    Error SKIP "dr-tls-skip" "insecureSkipVerify goes without caCertificates and subjectAltNames, and with mode SIMPLE without credentialName";
    Error CREDENTIAL "dr-tls-credential" "credentialName goes without files of certificates";
    Error CERTIFICATE "dr-tls-certificate" "Mode MUTUAL has clientCertificate or credentialName";
    Error KEY "dr-tls-key" "Mode MUTUAL has privateKey or credentialName";
    Info ("IST0128") AUTHORITY "dr-tls-authority" "Modes SIMPLE and MUTUAL of the whole rule name caCertificates or credentialName, or the system's authorities decide whom to trust";
    Info ("IST0129") AUTHORITY_PORT "dr-tls-authority-port" "Modes SIMPLE and MUTUAL of a port name caCertificates or credentialName, or the system's authorities decide whom to trust";
}

/// Checks TLS settings that are there, of one `port` or of the whole rule.
pub(super) fn check(
    check: &mut Check<'_>,
    at: &Path<'_>,
    settings: Option<&ClientTlsSettings>,
    port: bool,
) {
    let Some(tls) = settings else { return };
    let set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let (simple, mutual) = (
        tls.mode == ClientTlsMode::Simple,
        tls.mode == ClientTlsMode::Mutual,
    );
    let skip = tls.insecure_skip_verify.unwrap_or_default();
    let verified = set(&tls.ca_certificates)
        || !tls.subject_alt_names.is_empty()
        || (simple && set(&tls.credential_name));
    let broken = (simple || mutual) && skip && verified;
    let reason = "what the server shows is not verified, so nothing may say how";
    check.tell_if(broken, &SKIP, &at.key("insecureSkipVerify"), reason);
    if (simple || mutual) && set(&tls.credential_name) {
        let files = set(&tls.client_certificate)
            || set(&tls.private_key)
            || set(&tls.ca_certificates)
            || set(&tls.ca_crl);
        let reason = "with credentialName there must be no files";
        check.tell_if(files, &CREDENTIAL, &at.key("credentialName"), reason);
        return;
    }
    if mutual {
        let field = at.key("clientCertificate");
        let missing = !set(&tls.client_certificate);
        check.tell_if(
            missing,
            &CERTIFICATE,
            &field,
            "mode MUTUAL needs a certificate",
        );
        let field = at.key("privateKey");
        check.tell_if(
            !set(&tls.private_key),
            &KEY,
            &field,
            "mode MUTUAL needs a key",
        );
    }
    if (simple || mutual) && !skip && !set(&tls.ca_certificates) && !set(&tls.ca_crl) {
        let rule = if port { &AUTHORITY_PORT } else { &AUTHORITY };
        let reason = "whom the system's authorities have signed for is trusted";
        check.tell(rule, &at.key("caCertificates"), reason);
    }
}
