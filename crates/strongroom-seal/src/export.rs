//! Handing one object's key out, in a form that Google Tink reads.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::secret::Secret;
use crate::xaes::KEY_LEN;

/// A key that opens one blob with any Tink library, outside of every lease: it outlives revocation.
pub struct TinkKeyset {
    json: Zeroizing<String>,
    associated_data: Vec<u8>,
}

impl TinkKeyset {
    pub(crate) fn new(main: &Secret<KEY_LEN>, associated_data: Vec<u8>) -> Self {
        let mut value = Zeroizing::new([0; VALUE_LEN]);
        let (head, key) = value.split_at_mut(VALUE_HEAD.len());
        head.copy_from_slice(&VALUE_HEAD);
        // The one place where an object key leaves: this is what an export is.
        key.copy_from_slice(main.expose_secret());
        // Room for everything at once, so that growing leaves no copy behind.
        let mut json = Zeroizing::new(String::with_capacity(JSON_ROOM));
        json.push_str(JSON_HEAD);
        STANDARD.encode_string(value.as_slice(), &mut json);
        json.push_str(JSON_TAIL);
        Self {
            json,
            associated_data,
        }
    }

    /// The keyset in Tink's JSON form, key in the clear.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// What must be given to Tink as associated data, byte for byte.
    pub fn associated_data(&self) -> &[u8] {
        &self.associated_data
    }
}

const VALUE_LEN: usize = VALUE_HEAD.len() + KEY_LEN;

/// The protobuf message `AesGcmHkdfStreamingKey` up to its key bytes. Field 1, the version, is 0 and so left out.
const VALUE_HEAD: [u8; 12] = [
    0x12, 8, // field 2, params: 8 bytes
    0x08, 0x80, 0x80, 0x40, // field 1, ciphertext segment size: 1,048,576
    0x10, 32, // field 2, derived key size: 32
    0x18, 3, // field 3, HKDF hash type: SHA256
    0x1a, 32, // field 3, key value: 32 bytes, which follow
];

const JSON_HEAD: &str = concat!(
    r#"{"primaryKeyId":1,"key":[{"keyData":{"#,
    r#""typeUrl":"type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey","value":""#
);

const JSON_TAIL: &str =
    r#"","keyMaterialType":"SYMMETRIC"},"status":"ENABLED","keyId":1,"outputPrefixType":"RAW"}]}"#;

const JSON_ROOM: usize = JSON_HEAD.len() + VALUE_LEN.div_ceil(3) * 4 + JSON_TAIL.len();
