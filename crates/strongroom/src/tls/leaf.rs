//! The leaf certificate: made in memory at every start and renewed long before it ends; its key never
//! touches a disk.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivatePkcs8KeyDer;

use super::{Authority, TlsError, day};
use crate::limits;

/// Names the listener answers to. A wildcard directly under `localhost` is refused by every client, so the
/// single names stand one by one.
const NAMES: [&str; 7] = [
    "localhost",
    "login.localhost",
    "management.localhost",
    "graph.localhost",
    "*.vault.localhost",
    "*.openai.localhost",
    "*.cognitiveservices.localhost",
];

/// The certificate shown to whoever connects.
#[derive(Debug)]
pub(crate) struct Leaf {
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    key: Arc<CertifiedKey>,
    made: Duration,
}

impl Leaf {
    /// A fresh leaf, made at `now` (time since the Unix epoch).
    pub(crate) fn issue(authority: &Authority, now: Duration) -> Result<Self, TlsError> {
        Ok(Self {
            current: RwLock::new(make(authority, now)?),
        })
    }

    /// Replaces the leaf if it is near its end. Says whether it did.
    pub(crate) fn renew_if_due(&self, authority: &Authority, now: Duration) -> Result<bool, TlsError> {
        let made = self.current.read().unwrap_or_else(PoisonError::into_inner).made;
        if now.abs_diff(made) < limits::LEAF_RENEWAL {
            return Ok(false);
        }
        let renewed = make(authority, now)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(true)
    }
}

impl ResolvesServerCert for Leaf {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.current.read().unwrap_or_else(PoisonError::into_inner).key,
        ))
    }
}

fn make(authority: &Authority, now: Duration) -> Result<Current, TlsError> {
    let mut parameters = CertificateParams::new(NAMES.map(str::to_owned))?;
    parameters
        .subject_alt_names
        .push(SanType::IpAddress([127, 0, 0, 1].into()));
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters
        .distinguished_name
        .push(DnType::CommonName, "Strongroom local listener");
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.use_authority_key_identifier_extension = true;
    let (year, month, date) = day(now.saturating_sub(limits::CERTIFICATE_BACKDATE));
    parameters.not_before = date_time_ymd(year, month, date);
    let (year, month, date) = day(now.saturating_add(limits::LEAF_LIFE));
    parameters.not_after = date_time_ymd(year, month, date);

    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let certificate = parameters.signed_by(&key, authority.issuer())?;
    let chain = vec![certificate.into(), authority.certificate().clone()];
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let key = CertifiedKey::from_der(chain, key.into(), &aws_lc_rs::default_provider())
        .map_err(TlsError::Protocol)?;
    Ok(Current {
        key: Arc::new(key),
        made: now,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::DataFolder;

    const NOW: Duration = Duration::from_secs(1_795_000_000);

    #[test]
    fn the_authority_survives_a_restart_and_still_issues() {
        let place = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(place.path()).unwrap();
        let _lock = folder.occupy().unwrap();
        let first = Authority::load_or_make(&folder.tls(), NOW).unwrap();
        let second = Authority::load_or_make(&folder.tls(), NOW + Duration::from_secs(60)).unwrap();
        assert_eq!(first.pem(), second.pem());
        Leaf::issue(&second, NOW).unwrap();
    }

    #[test]
    fn a_lost_authority_key_is_an_error_and_not_a_silent_new_authority() {
        let place = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(place.path()).unwrap();
        let _lock = folder.occupy().unwrap();
        Authority::load_or_make(&folder.tls(), NOW).unwrap();
        std::fs::remove_file(folder.tls().join("ca.key")).unwrap();
        assert!(matches!(
            Authority::load_or_make(&folder.tls(), NOW),
            Err(TlsError::Damaged { .. })
        ));
    }

    #[test]
    fn a_leaf_is_renewed_long_before_it_ends_and_not_earlier() {
        let place = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(place.path()).unwrap();
        let _lock = folder.occupy().unwrap();
        let authority = Authority::load_or_make(&folder.tls(), NOW).unwrap();
        let leaf = Leaf::issue(&authority, NOW).unwrap();
        assert!(
            !leaf
                .renew_if_due(&authority, NOW + Duration::from_secs(3600))
                .unwrap()
        );
        assert!(leaf.renew_if_due(&authority, NOW + limits::LEAF_RENEWAL).unwrap());
    }
}
