//! A package as a folder: its plain files, and whatever else is there as a defect.

use std::fs;
use std::path::Path;

use crate::defect::{Defect, PackageError};
use crate::limits::FILES;
use crate::package::Listed;

/// Folders that a package has below its own.
const FOLDERS: [&str; 2] = ["oscal", "raw"];

/// Lists the files by their paths, in order. Links are never followed; nothing but the known folders is entered.
pub(crate) fn list(root: &Path) -> Result<(Vec<Listed>, Vec<Defect>), PackageError> {
    let (mut files, mut defects) = (Vec::new(), Vec::new());
    list_one(root, "", &mut files, &mut defects)?;
    for folder in FOLDERS {
        let path = root.join(folder);
        match fs::symlink_metadata(&path) {
            Ok(about) if about.is_dir() => list_one(&path, &format!("{folder}/"), &mut files, &mut defects)?,
            // What it is instead has been seen above; whether anything is missing, the manifest says.
            _ => {}
        }
    }
    files.sort_by(|one, next| one.path.cmp(&next.path));
    Ok((files, defects))
}

fn list_one(
    folder: &Path,
    prefix: &str,
    files: &mut Vec<Listed>,
    defects: &mut Vec<Defect>,
) -> Result<(), PackageError> {
    let shown = folder.display().to_string();
    for entry in fs::read_dir(folder).map_err(PackageError::io(&shown))? {
        let entry = entry.map_err(PackageError::io(&shown))?;
        let name = entry.file_name();
        let path = format!("{prefix}{}", name.to_string_lossy());
        let about = entry.metadata().map_err(PackageError::io(&path))?;
        if about.is_dir() && prefix.is_empty() && FOLDERS.contains(&path.as_str()) {
            continue;
        }
        if about.is_dir() {
            defects.push(Defect::Unexpected { path });
        } else if !about.is_file() {
            defects.push(Defect::NotAFile { path });
        } else if name.to_str().is_none() || files.len() > FILES {
            defects.push(Defect::Unexpected { path });
        } else {
            files.push(Listed {
                path,
                size: about.len(),
            });
        }
        if defects.len() > FILES {
            return Ok(());
        }
    }
    Ok(())
}
