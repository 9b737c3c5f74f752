//! TLS for `localhost` names: an authority made once, and a leaf of it made at every start.

mod authority;
mod leaf;

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;

pub(crate) use authority::Authority;
pub(crate) use leaf::Leaf;

/// What the HTTPS listener speaks: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
pub(crate) fn server_config(leaf: Arc<Leaf>) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Protocol)?
        .with_no_client_auth()
        .with_cert_resolver(leaf);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authority's files cannot be read or written: mend the folder.
    #[error(transparent)]
    Folder(#[from] crate::folder::FolderError),
    /// `tls/ca.key` or `tls/ca.pem` is missing or not what was written: move the `tls` folder away for a new authority.
    #[error(
        "the certificate authority in {folder} is damaged; move that folder away and a new one is made, \
         which clients must then trust"
    )]
    Damaged {
        /// The `tls` folder.
        folder: String,
    },
    /// A certificate could not be made.
    #[error("cannot issue a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// The TLS library refused the configuration.
    #[error("cannot set up TLS: {0}")]
    Protocol(rustls::Error),
}

/// The UTC day that contains a time since the Unix epoch, as rcgen wants it.
fn day(since_epoch: Duration) -> (i32, u8, u8) {
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
    let moment = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    let date = jiff::tz::TimeZone::UTC.to_datetime(moment).date();
    (
        i32::from(date.year()),
        date.month().unsigned_abs(),
        date.day().unsigned_abs(),
    )
}
