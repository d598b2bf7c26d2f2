//! The certificates Reef serves with where nobody brings any: an authority of its own for ten years, and leaves that are
//! rotated. Times are seconds since the epoch.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use x509_parser::pem::Pem;

/// How long a made authority lives. It does not rotate: every pod has it in its bootstrap.
pub const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);

/// How long a leaf lives.
pub const LEAF_LIFE: Duration = Duration::from_secs(90 * 86_400);

/// How far back certificates begin, for peers whose clocks are behind.
const BACKDATE: u64 = 300;

/// A certificate (leaf first, if it is a chain) and its key, both as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyedCert {
    /// The certificate or chain.
    pub cert: String,
    /// The private key.
    pub key: String,
}

impl std::fmt::Debug for KeyedCert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyedCert")
            .field("cert", &self.cert)
            .field("key", &"…")
            .finish()
    }
}

/// A certificate cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// Making it failed.
    #[error("a certificate cannot be made")]
    Make(#[from] rcgen::Error),
    /// It is not one.
    #[error("{what} is not a certificate in PEM form")]
    Read {
        /// What was read.
        what: &'static str,
    },
}

/// Makes an authority called `name`, valid from `now` on for [`CA_LIFE`].
///
/// # Errors
/// [`CertError::Make`] if there is no randomness.
pub fn make_ca(name: &str, now: u64) -> Result<KeyedCert, CertError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = called(name);
    // It signs leaves and nothing that signs.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params, now, CA_LIFE);
    let cert = params.self_signed(&key)?.pem();
    Ok(KeyedCert {
        cert,
        key: key.serialize_pem(),
    })
}

/// Makes a serving certificate for `names`, signed by `ca`, valid from `now` on for `life` but no longer than `ca`.
///
/// # Errors
/// [`CertError`] if the authority cannot be read or a name is none.
pub fn issue_leaf(
    ca: &KeyedCert,
    names: &[String],
    now: u64,
    life: Duration,
) -> Result<KeyedCert, CertError> {
    let issuer = Issuer::from_ca_cert_pem(&ca.cert, KeyPair::from_pem(&ca.key)?)?;
    let (_, ca_ends) = validity(&ca.cert)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = called(names.first().map_or("reef", String::as_str));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let left = Duration::from_secs(ca_ends.saturating_sub(now));
    valid(&mut params, now, life.min(left));
    let leaf = params.signed_by(&key, &issuer)?;
    Ok(KeyedCert {
        cert: leaf.pem(),
        key: key.serialize_pem(),
    })
}

/// Whether a serving certificate has to be made anew at `now`: it cannot be read, lacks one of `names`, was not made by
/// `ca`, or has less than a third of its life left.
#[must_use]
pub fn needs_rotation(leaf: &str, ca: &str, names: &[String], now: u64) -> bool {
    let Ok(pem) = first(leaf, "the serving certificate") else {
        return true;
    };
    let (Ok(ca), Ok(cert)) = (first(ca, "the authority"), pem.parse_x509()) else {
        return true;
    };
    let Ok(ca) = ca.parse_x509() else {
        return true;
    };
    let signed = cert.verify_signature(Some(ca.public_key())).is_ok();
    let held: Vec<&str> = match cert.subject_alternative_name() {
        Ok(Some(extension)) => extension
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                x509_parser::extensions::GeneralName::DNSName(name) => Some(*name),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    let named = names.iter().all(|name| held.contains(&name.as_str()));
    let (from, until) = span(&cert);
    !signed || !named || now >= due(from, until) || now < from
}

/// When a leaf has to be made anew if nothing else is wrong with it: when a third of its life is left.
///
/// # Errors
/// [`CertError::Read`] if it cannot be read.
pub fn rotation_due(leaf: &str) -> Result<u64, CertError> {
    validity(leaf).map(|(from, until)| due(from, until))
}

fn due(from: u64, until: u64) -> u64 {
    until - until.saturating_sub(from) / 3
}

/// When the first certificate of a PEM text begins and ends.
///
/// # Errors
/// [`CertError::Read`] if there is none.
pub fn validity(pem: &str) -> Result<(u64, u64), CertError> {
    const WHAT: &str = "the text";
    let pem = first(pem, WHAT)?;
    let cert = pem
        .parse_x509()
        .map_err(|_unsaid| CertError::Read { what: WHAT })?;
    Ok(span(&cert))
}

fn first(text: &str, what: &'static str) -> Result<Pem, CertError> {
    Pem::iter_from_buffer(text.as_bytes())
        .filter_map(Result::ok)
        .find(|pem| pem.label == "CERTIFICATE")
        .ok_or(CertError::Read { what })
}

fn span(cert: &x509_parser::certificate::X509Certificate<'_>) -> (u64, u64) {
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp());
    let validity = cert.validity();
    (
        seconds(validity.not_before).unwrap_or_default(),
        seconds(validity.not_after).unwrap_or_default(),
    )
}

fn called(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    // X.509 allows 64 characters in a common name; what counts are the alternative names.
    named.push(
        DnType::CommonName,
        name.chars().take(64).collect::<String>(),
    );
    named
}

fn valid(params: &mut CertificateParams, now: u64, life: Duration) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(now.saturating_sub(BACKDATE));
    params.not_after = epoch + Duration::from_secs(now) + life;
}
