//! What parent and worker say to each other: JSON behind its length, over the worker's stdin and stdout.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};
use zeroize::Zeroizing;

use crate::limits;
use crate::model::generate::{ChatOrder, GenerateError, Outcome, Passage};

/// Parent to worker.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToWorker {
    /// The first frame: which model to load. `None` is the one that comes along. With `weights`, so many bytes of other weights for
    /// it follow the frame.
    Load {
        folder: Option<PathBuf>,
        weights: Option<u64>,
    },
    Chat {
        id: u64,
        order: ChatOrder,
    },
    Embed {
        id: u64,
        passages: Vec<Passage>,
    },
    /// Nobody waits for this answer any more; it may already be out.
    Cancel {
        id: u64,
    },
}

/// Worker to parent.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromWorker {
    /// The model is loaded.
    Loaded,
    /// The model cannot be loaded; the worker ends.
    NotLoaded {
        reason: String,
    },
    Reply {
        id: u64,
        reply: Reply,
    },
}

/// A part of the answer to one request.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    Text(String),
    Answered(Outcome),
    Vector(Vec<f32>),
    Embedded { tokens: usize },
    Refused(GenerateError),
}

impl Reply {
    /// Whether nothing follows.
    pub(super) fn is_last(&self) -> bool {
        match self {
            Self::Answered(_) | Self::Embedded { .. } | Self::Refused(_) => true,
            Self::Text(_) | Self::Vector(_) => false,
        }
    }
}

/// Why a frame cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame is larger than {} bytes", limits::FRAME)]
    TooLarge,
    #[error("a frame is malformed")]
    Malformed,
    #[error("the pipe broke: {0}")]
    Pipe(#[from] io::Error),
}

/// The bytes of a frame, wiped when written.
pub(super) fn encode(message: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    let mut frame = Zeroizing::new(vec![0; LENGTH]);
    serde_json::to_writer(&mut *frame, message).map_err(|_| FrameError::Malformed)?;
    let length = frame.len() - LENGTH;
    let prefix = u32::try_from(length)
        .map_err(|_| FrameError::TooLarge)?
        .to_be_bytes();
    if length > limits::FRAME {
        return Err(FrameError::TooLarge);
    }
    if let Some(place) = frame.first_chunk_mut() {
        *place = prefix;
    }
    Ok(frame)
}

/// Writes a frame and flushes it.
pub(super) fn write(pipe: &mut impl Write, message: &impl Serialize) -> Result<(), FrameError> {
    pipe.write_all(&encode(message)?)?;
    Ok(pipe.flush()?)
}

/// The next frame; `None` when the pipe ends between two.
pub(super) fn read<T: DeserializeOwned>(pipe: &mut impl Read) -> Result<Option<T>, FrameError> {
    let mut prefix = [0; LENGTH];
    match pipe.read_exact(&mut prefix) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut body = room(prefix)?;
    pipe.read_exact(&mut body)?;
    decode(&body).map(Some)
}

/// The same, from an asynchronous pipe.
pub(super) async fn read_async<T: DeserializeOwned>(
    pipe: &mut (impl AsyncRead + Unpin),
) -> Result<Option<T>, FrameError> {
    let mut prefix = [0; LENGTH];
    match pipe.read_exact(&mut prefix).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    };
    let mut body = room(prefix)?;
    pipe.read_exact(&mut body).await?;
    decode(&body).map(Some)
}

const LENGTH: usize = 4;

fn room(prefix: [u8; LENGTH]) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    match usize::try_from(u32::from_be_bytes(prefix)) {
        Ok(length) if length <= limits::FRAME => Ok(Zeroizing::new(vec![0; length])),
        _ => Err(FrameError::TooLarge),
    }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(body).map_err(|_| FrameError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_were_and_the_end_of_the_pipe_is_no_error() {
        let mut pipe = Vec::new();
        write(&mut pipe, &ToWorker::Cancel { id: 7 }).expect("written");
        let load = ToWorker::Load {
            folder: None,
            weights: Some(9),
        };
        write(&mut pipe, &load).expect("written");
        let mut pipe = pipe.as_slice();
        assert!(matches!(read(&mut pipe), Ok(Some(ToWorker::Cancel { id: 7 }))));
        assert!(matches!(
            read(&mut pipe),
            Ok(Some(ToWorker::Load {
                folder: None,
                weights: Some(9)
            }))
        ));
        assert!(matches!(read::<ToWorker>(&mut pipe), Ok(None)));
    }

    #[test]
    fn a_giant_a_cut_and_a_malformed_frame_are_told_apart() {
        let read = |mut bytes: &[u8]| read::<ToWorker>(&mut bytes);
        assert!(matches!(read(&[0xff; 8]), Err(FrameError::TooLarge)));
        assert!(matches!(read(b"\0\0\0\x09{"), Err(FrameError::Pipe(_))));
        assert!(matches!(read(b"\0\0\0\x02[]"), Err(FrameError::Malformed)));
        assert!(matches!(
            encode(&"x".repeat(limits::FRAME)),
            Err(FrameError::TooLarge)
        ));
    }
}
