//! The two shapes of a package, as one: names with sizes, and their bytes.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use crate::defect::{Defect, PackageError};
use crate::folder;
use crate::limits;
use crate::zip::{self, Zip};

/// What is there, by its path in the package; in order.
pub(crate) struct Listed {
    pub(crate) path: String,
    pub(crate) size: u64,
}

/// A package that can be read.
pub(crate) enum Package<R> {
    Folder { root: PathBuf, files: Vec<Listed> },
    Zip(Zip<R>),
}

impl Package<File> {
    /// Looks at what is there. What is wrong with the shape itself is told with it.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<Defect>), PackageError> {
        let shown = path.display().to_string();
        let about = match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(PackageError::NotFound {
                    path: path.to_owned(),
                });
            }
            other => other.map_err(PackageError::io(&shown))?,
        };
        if about.is_dir() {
            let (files, defects) = folder::list(path)?;
            return Ok((
                Self::Folder {
                    root: path.to_owned(),
                    files,
                },
                defects,
            ));
        }
        if !about.is_file() {
            return Err(PackageError::NotFound {
                path: path.to_owned(),
            });
        }
        let file = File::open(path).map_err(PackageError::io(&shown))?;
        Self::open_zip(file)
    }
}

impl<R: Read + Seek> Package<R> {
    pub(crate) fn open_zip(reader: R) -> Result<(Self, Vec<Defect>), PackageError> {
        let (zip, defects) = zip::open(reader).map_err(PackageError::io("the zip"))?;
        Ok((Self::Zip(zip), defects))
    }

    pub(crate) fn files(&self) -> &[Listed] {
        match self {
            Self::Folder { files, .. } => files,
            Self::Zip(zip) => zip.files(),
        }
    }

    /// Hands the file's bytes to `take`, piece by piece, as far as the size that was listed. Says whether that is what was there.
    pub(crate) fn read(&mut self, path: &str, mut take: impl FnMut(&[u8])) -> Result<bool, PackageError> {
        match self {
            Self::Folder { root, files } => {
                let Some(listed) = find(files, path) else {
                    return Ok(false);
                };
                let file = File::open(root.join(path)).map_err(PackageError::io(path))?;
                // One byte more, to see that it has not grown.
                let read = pump(&mut file.take(listed.size.saturating_add(1)), &mut take);
                Ok(read.map_err(PackageError::io(path))? == listed.size)
            }
            Self::Zip(zip) => zip.read(path, take).map_err(PackageError::io(path)),
        }
    }

    /// A whole file that may not be larger than `limit`.
    pub(crate) fn whole(
        &mut self,
        path: &'static str,
        limit: u64,
    ) -> Result<Result<Vec<u8>, Defect>, PackageError> {
        let Some(size) = find(self.files(), path).map(|listed| listed.size) else {
            return Ok(Err(Defect::Missing {
                path: path.to_owned(),
            }));
        };
        if size > limit {
            return Ok(Err(Defect::Form {
                path,
                what: "it is larger than any such file",
            }));
        }
        let mut bytes = Vec::new();
        let is_so = self.read(path, |chunk| bytes.extend_from_slice(chunk))?;
        let changed = Defect::Changed {
            path: path.to_owned(),
            what: "it is not what the package lists",
        };
        Ok(if is_so { Ok(bytes) } else { Err(changed) })
    }
}

fn find<'a>(files: &'a [Listed], path: &str) -> Option<&'a Listed> {
    let at = files
        .binary_search_by(|listed| listed.path.as_str().cmp(path))
        .ok()?;
    files.get(at)
}

/// Reads to the end and says how many bytes that were.
pub(crate) fn pump(reader: &mut impl Read, mut take: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut buffer = vec![0; limits::CHUNK];
    let mut total: u64 = 0;
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        take(buffer.get(..count).unwrap_or_default());
        total = total.saturating_add(count as u64);
    }
}
