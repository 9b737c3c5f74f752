//! The local certificate authority: P-256, made at the first start, and by its own certificate unable to
//! vouch for anything but `localhost` names and loopback addresses.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, GeneralSubtree, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, NameConstraints, date_time_ymd,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::{TlsError, day};
use crate::folder::write_private;
use crate::limits;

/// The authority, ready to issue.
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The authority kept in `folder`, or a new one if there is none.
    pub(crate) fn load_or_make(folder: &Path, now: Duration) -> Result<Self, TlsError> {
        let key_file = folder.join("ca.key");
        let certificate_file = folder.join("ca.pem");
        match (key_file.exists(), certificate_file.exists()) {
            (true, true) => Self::load(folder, &key_file, &certificate_file),
            // The certificate is written last: without it nobody has trusted the key yet.
            (_, false) => Self::make(&key_file, &certificate_file, now),
            (false, true) => Err(damaged(folder)),
        }
    }

    fn make(key_file: &Path, certificate_file: &Path, now: Duration) -> Result<Self, TlsError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let parameters = parameters(now);
        let certificate = parameters.self_signed(&key)?;
        write_private(key_file, Zeroizing::new(key.serialize_pem()).as_bytes())?;
        write_private(certificate_file, certificate.pem().as_bytes())?;
        let pem = certificate.pem();
        Ok(Self {
            certificate: certificate.into(),
            pem,
            issuer: Issuer::new(parameters, key),
        })
    }

    fn load(folder: &Path, key_file: &Path, certificate_file: &Path) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|cause| crate::folder::FolderError::at(path, cause))
        };
        let key_pem = Zeroizing::new(read(key_file)?);
        let pem = read(certificate_file)?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| damaged(folder))?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(|_| damaged(folder))?;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| damaged(folder))?;
        // Only name, key usages and key identifier enter what is issued; the dates here do not.
        Ok(Self {
            certificate,
            pem,
            issuer: Issuer::new(parameters(Duration::ZERO), key),
        })
    }

    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The certificate as clients are given it.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }
}

fn parameters(now: Duration) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters
        .distinguished_name
        .push(DnType::CommonName, "Strongroom local authority");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([127, 0, 0, 0], 8)),
        ],
        excluded_subtrees: Vec::new(),
    });
    let (year, month, date) = day(now.saturating_sub(limits::CERTIFICATE_BACKDATE));
    parameters.not_before = date_time_ymd(year, month, date);
    let (year, month, date) = day(now.saturating_add(limits::AUTHORITY_LIFE));
    parameters.not_after = date_time_ymd(year, month, date);
    parameters
}

fn damaged(folder: &Path) -> TlsError {
    TlsError::Damaged {
        folder: folder.display().to_string(),
    }
}
