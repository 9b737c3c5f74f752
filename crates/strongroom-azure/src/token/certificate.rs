//! The little that is needed of an X.509 certificate that an application signs with: its key, its life and its thumbprints. It
//! is registered, not trusted by a chain, so nothing else in it counts.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::rsa::PublicKey;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::Jwk;
use crate::limits::CERTIFICATE;

/// What is known of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its RSA key.
    pub key: Jwk,
    /// SHA-1 of the certificate, base64url, as older clients name it. It only finds the certificate.
    pub sha1: String,
    /// SHA-256 of the certificate, base64url.
    pub sha256: String,
    /// From when it counts, in seconds since the Unix epoch.
    pub not_before: u64,
    /// Until when.
    pub not_after: u64,
}

/// Why a text is no certificate that can be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is no certificate in PEM.
    #[error("it is not an X.509 certificate in PEM")]
    Malformed,
    /// Its key is no RSA key of 2048 to 8192 bits.
    #[error("its key is not an RSA key of 2048 to 8192 bits")]
    Key,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;

impl Certificate {
    /// Reads the first certificate in a PEM text; a private key beside it is passed over.
    pub fn from_pem(pem: &str) -> Result<Self, CertificateError> {
        let malformed = CertificateError::Malformed;
        let (_, rest) = pem.split_once("-----BEGIN CERTIFICATE-----").ok_or(malformed)?;
        let (body, _) = rest.split_once("-----END CERTIFICATE-----").ok_or(malformed)?;
        if body.len() > 2 * CERTIFICATE {
            return Err(malformed);
        }
        let body: String = body.split_ascii_whitespace().collect();
        Self::from_der(&STANDARD.decode(body).map_err(|_| malformed)?)
    }

    /// Reads a certificate in DER.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let malformed = CertificateError::Malformed;
        if der.len() > CERTIFICATE {
            return Err(malformed);
        }
        let (spki, not_before, not_after) = fields(der).ok_or(malformed)?;
        let public = PublicKey::from_der(spki).map_err(|_| CertificateError::Key)?;
        if !(256..=1024).contains(&public.modulus_len()) {
            return Err(CertificateError::Key);
        }
        let key = Jwk::rsa(
            String::new(),
            public.modulus().big_endian_without_leading_zero(),
            public.exponent().big_endian_without_leading_zero(),
        );
        let print = |algorithm| URL_SAFE_NO_PAD.encode(digest(algorithm, der));
        Ok(Self {
            key,
            sha1: print(&SHA1_FOR_LEGACY_USE_ONLY),
            sha256: print(&SHA256),
            not_before,
            not_after,
        })
    }
}

/// Subject public key info and both ends of the validity: RFC 5280, 4.1.
fn fields(der: &[u8]) -> Option<(&[u8], u64, u64)> {
    let mut outer = Der(der);
    let certificate = outer.take(SEQUENCE)?.content;
    let mut to_be_signed = Der(Der(certificate).take(SEQUENCE)?.content);
    to_be_signed.skip_if(VERSION)?;
    to_be_signed.take(INTEGER)?;
    to_be_signed.take(SEQUENCE)?;
    to_be_signed.take(SEQUENCE)?;
    let mut validity = Der(to_be_signed.take(SEQUENCE)?.content);
    let not_before = validity.time()?;
    let not_after = validity.time()?;
    to_be_signed.take(SEQUENCE)?;
    let spki = to_be_signed.take(SEQUENCE)?.whole;
    outer.0.is_empty().then_some((spki, not_before, not_after))
}

/// What is left to read.
struct Der<'a>(&'a [u8]);

struct Element<'a> {
    tag: u8,
    whole: &'a [u8],
    content: &'a [u8],
}

impl<'a> Der<'a> {
    fn next(&mut self) -> Option<Element<'a>> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            short @ 0..=0x7f => (usize::from(*short), rest),
            0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
            0x82 => {
                let (bytes, rest) = rest.split_first_chunk::<2>()?;
                (usize::from(u16::from_be_bytes(*bytes)), rest)
            }
            // Longer than any certificate that is looked at, or of no stated length.
            _ => return None,
        };
        let content = rest.get(..length)?;
        let whole = self.0.get(..self.0.len() - rest.len() + length)?;
        self.0 = rest.get(length..)?;
        Some(Element {
            tag: *tag,
            whole,
            content,
        })
    }

    fn take(&mut self, tag: u8) -> Option<Element<'a>> {
        self.next().filter(|element| element.tag == tag)
    }

    fn skip_if(&mut self, tag: u8) -> Option<()> {
        if self.0.first() == Some(&tag) {
            self.next()?;
        }
        Some(())
    }

    fn time(&mut self) -> Option<u64> {
        let element = self.next()?;
        let text = std::str::from_utf8(element.content).ok()?.strip_suffix('Z')?;
        let (year, rest) = match element.tag {
            UTC_TIME => {
                let year: u64 = digits(text.get(..2)?)?;
                (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
            }
            GENERALIZED_TIME => (digits(text.get(..4)?)?, text.get(4..)?),
            _ => return None,
        };
        if rest.len() != 10 {
            return None;
        }
        let part = |at: usize| digits(rest.get(at..at + 2)?);
        seconds(year, [part(0)?, part(2)?, part(4)?, part(6)?, part(8)?])
    }
}

fn digits(text: &str) -> Option<u64> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Seconds since the Unix epoch; times before it count as its beginning.
fn seconds(year: u64, [month, day, hour, minute, second]: [u64; 5]) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days of the civil calendar, counted from the first of March of year 0.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year.checked_sub(1)?, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let since_epoch = days.saturating_sub(719_468);
    Some(((since_epoch * 24 + hour) * 60 + minute) * 60 + second)
}
