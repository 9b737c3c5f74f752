//! `strongroom export`: one object with its own key, in a new folder, so that Google Tink opens it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::client::Instance;
use super::{CliError, ExportArgs, Failure, table};
use crate::limits;

pub(super) fn run(args: &ExportArgs) -> Result<(), CliError> {
    let instance = Instance::find(args.folder.folder()?)?;
    let to = args.to.as_path();
    let mut writer: Option<Export> = None;
    let mut head = Zeroizing::new(Vec::new());
    let request = json!({"kind": args.kind, "id": args.id, "part": args.part});
    instance.admin_stream("export", &request, |mut piece| {
        if writer.is_none() {
            piece = read_head(piece, &mut head)?;
            if head.last() == Some(&b'\n') {
                writer = Some(Export::begin(to, &head)?);
            }
        }
        match &mut writer {
            Some(writer) => writer.blob(piece),
            None => Ok(()),
        }
    })?;
    let writer = writer.ok_or(Failure::Protocol("an export without its first line"))?;
    writer.end()?;
    table::line(&format!(
        "{} holds keyset.json, associated_data.bin and sealed.bin. Whoever has the folder can read this \
         object, even after a revocation.",
        to.display()
    ))
}

/// Takes the first line, the keyset, off the front of the answer. What is left belongs to the blob.
fn read_head<'a>(piece: &'a [u8], head: &mut Vec<u8>) -> Result<&'a [u8], CliError> {
    let end = piece
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(piece.len(), |at| at + 1);
    let (line, rest) = piece.split_at(end);
    head.extend_from_slice(line);
    if head.len() > limits::COMMAND_ANSWER_BYTES {
        return Err(Failure::Protocol("an export with an endless first line").into());
    }
    Ok(rest)
}

/// The folder being written.
struct Export {
    sealed: File,
    expected: u64,
    written: u64,
}

impl Export {
    fn begin(to: &Path, head: &[u8]) -> Result<Self, CliError> {
        let head: Value =
            serde_json::from_slice(head).map_err(|_| Failure::Protocol("an export's first line"))?;
        let text = |name| {
            head.get(name)
                .and_then(Value::as_str)
                .ok_or(Failure::Protocol("an export's first line"))
        };
        let keyset = Zeroizing::new(text("keyset_json")?.to_owned());
        let associated = STANDARD
            .decode(text("associated_data")?)
            .map_err(|_| Failure::Protocol("an export's associated data"))?;
        let expected = head.get("stored_length").and_then(Value::as_u64);
        DirBuilder::new()
            .mode(0o700)
            .create(to)
            .map_err(CliError::io(to.display().to_string()))?;
        let create = |name: &str| {
            let path = to.join(name);
            let file = OpenOptions::new()
                .create_new(true)
                .write(true)
                .mode(0o600)
                .open(&path);
            file.map_err(CliError::io(path.display().to_string()))
        };
        create("keyset.json")?
            .write_all(keyset.as_bytes())
            .map_err(CliError::io("keyset.json"))?;
        create("associated_data.bin")?
            .write_all(&associated)
            .map_err(CliError::io("associated_data.bin"))?;
        let expected = expected.ok_or(Failure::Protocol("an export's length"))?;
        Ok(Self {
            sealed: create("sealed.bin")?,
            expected,
            written: 0,
        })
    }

    fn blob(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.written = self.written.saturating_add(bytes.len() as u64);
        self.sealed.write_all(bytes).map_err(CliError::io("sealed.bin"))
    }

    fn end(self) -> Result<(), CliError> {
        if self.written != self.expected {
            return Err(Failure::Protocol("an export that is not as long as it says").into());
        }
        self.sealed.sync_all().map_err(CliError::io("sealed.bin"))
    }
}
