//! Checkpoints (C2SP tlog-checkpoint, a signed note) and proofs of inclusion (C2SP tlog-proof), in the one form that the format allows.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::keys::TrustedKey;
use crate::limits::PROOF_HASHES;
use crate::tree::Hash;

const PROOF_HEAD: &str = "c2sp.org/tlog-proof@v1";
const DASH: &str = "\u{2014} ";

/// A tree head with its one signature, which is not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) origin: String,
    pub(crate) size: u64,
    pub(crate) root: Hash,
    key_id: [u8; 4],
    signature: Vec<u8>,
}

/// A note with the way from one entry to its root.
#[derive(Debug)]
pub(crate) struct Proof {
    pub(crate) index: u64,
    pub(crate) path: Vec<Hash>,
    pub(crate) note: Note,
}

impl Note {
    /// Reads a note. With other words than exactly these bytes nobody says the same.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut lines = text.split('\n');
        let mut line = || lines.next().ok_or("the checkpoint is cut off");
        let (origin, size, root, empty, signed) = (line()?, line()?, line()?, line()?, line()?);
        if !empty.is_empty() {
            return Err("a checkpoint has three lines before its signature");
        }
        let signature = signed
            .strip_prefix(DASH)
            .and_then(|rest| rest.strip_prefix(origin)?.strip_prefix(' '))
            .ok_or("the signature is not in the name of the origin")?;
        let signature = STANDARD
            .decode(signature)
            .map_err(|_| "the signature is not base64")?;
        let (key_id, signature) = signature
            .split_first_chunk()
            .ok_or("the signature is too short")?;
        let note = Self {
            origin: origin.to_owned(),
            size: size.parse().map_err(|_| "the size is not a number")?,
            root: hash(root).ok_or("the root is not a hash in base64")?,
            key_id: *key_id,
            signature: signature.to_vec(),
        };
        if note.to_text() != text {
            return Err("the checkpoint is not written as one is, or more follows it");
        }
        Ok(note)
    }

    fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    fn to_text(&self) -> String {
        let signature = [&self.key_id[..], &self.signature].concat();
        format!(
            "{}\n{DASH}{} {}\n",
            self.body(),
            self.origin,
            STANDARD.encode(signature)
        )
    }

    /// Whether this key signed it.
    pub(crate) fn is_signed_by(&self, key: &TrustedKey) -> bool {
        key.note_name() == Some((self.origin.as_str(), self.key_id))
            && key.verifies(self.body().as_bytes(), &self.signature)
    }
}

impl Proof {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (head, note) = text.split_once("\n\n").ok_or("no empty line ends the proof")?;
        let mut lines = head.split('\n');
        if lines.next() != Some(PROOF_HEAD) {
            return Err("the first line does not say what it is");
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index: u64 = index
            .and_then(|index| index.parse().ok())
            .ok_or("no index follows")?;
        let path: Option<Vec<Hash>> = lines.take(PROOF_HASHES + 1).map(hash).collect();
        let path = path.ok_or("a line of the proof is not a hash in base64")?;
        let proof = Self {
            index,
            path,
            note: Note::parse(note)?,
        };
        if proof.to_text() != text {
            return Err("the proof is not written as one is");
        }
        Ok(proof)
    }

    fn to_text(&self) -> String {
        let path: String = self
            .path
            .iter()
            .map(|hash| STANDARD.encode(hash) + "\n")
            .collect();
        format!(
            "{PROOF_HEAD}\nindex {}\n{path}\n{}",
            self.index,
            self.note.to_text()
        )
    }
}

/// The leaf hashes of a log, one a line.
pub(crate) fn parse_log(text: &str) -> Result<Vec<Hash>, &'static str> {
    let text = text.strip_suffix('\n').ok_or("the last line has no end")?;
    let hashes: Option<Vec<Hash>> = text.split('\n').map(hash).collect();
    hashes.ok_or("a line is not a hash in base64")
}

/// A hash in the one way to write it: the decoder takes no other padding and no stray bits.
fn hash(text: &str) -> Option<Hash> {
    STANDARD.decode(text).ok()?.try_into().ok()
}
