//! `local` in the data directory: by what a command on the node's own machine proves that the node's user runs it.
//!
//! The node writes a random text at each start, readable by its own user only. A command that reads it sends it along, and
//! may then do what a user of the API may not: name files of the machine as sources of tables. It is sent to no node but
//! the one of this home.

use std::io;
use std::path::Path;

use crate::private;

const NAME: &str = "local";

/// Writes a new proof; replaces what was there.
///
/// # Errors
/// What the file system says.
pub fn write(data_dir: &Path) -> io::Result<String> {
    let proof = uuid::Uuid::new_v4().simple().to_string();
    std::fs::create_dir_all(data_dir)?;
    private::write(data_dir, NAME, &format!("{proof}\n"))?;
    Ok(proof)
}

/// Reads the proof; `None` if there is none.
///
/// # Errors
/// If others may read the file, or it belongs to another user, or it can't be read.
pub fn read(data_dir: &Path) -> io::Result<Option<String>> {
    Ok(private::read(data_dir, NAME)?.map(|text| text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_proof_is_new_with_each_start_and_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        let first = write(dir.path()).unwrap();
        let second = write(dir.path()).unwrap();
        assert_ne!(first, second);
        assert_eq!(read(dir.path()).unwrap(), Some(second));
        let path = dir.path().join(NAME);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read(dir.path()).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
