//! `local` in the data directory: a token by which a command shows that it runs as the node's own user on the node's machine.
//!
//! At each start, the node writes a random token to the file, readable by its own user only. A command sends the token with
//! its request. It may then name local files as sources of tables, which users of the API may not. The token is sent only to
//! the node of this home directory.

use std::io;
use std::path::Path;

use crate::private;

const NAME: &str = "local";

/// Writes a new token and replaces the previous one.
///
/// # Errors
/// If the file cannot be written.
pub fn write(data_dir: &Path) -> io::Result<String> {
    let token = uuid::Uuid::new_v4().simple().to_string();
    std::fs::create_dir_all(data_dir)?;
    private::write(data_dir, NAME, &format!("{token}\n"))?;
    Ok(token)
}

/// Reads the token; `None` if there is none.
///
/// # Errors
/// If the file cannot be read, belongs to another user, or is readable by other users.
pub fn read(data_dir: &Path) -> io::Result<Option<String>> {
    Ok(private::read(data_dir, NAME)?.map(|text| text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn each_start_writes_a_new_token_that_only_the_owner_can_read() {
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
