//! `credentials` in the data directory: lets commands on the node's own machine log in without a password.
//!
//! The node that generates the first password writes the file. Only its owner can read it. The credentials are used
//! only for
//! addresses of this machine, so that a mistyped `--url` does not reveal the password.

use std::io;
use std::path::{Path, PathBuf};

use kirin_client::Login;

use crate::private;

const NAME: &str = "credentials";

/// Writes the credentials, readable by the owner only, and replaces previous ones.
///
/// # Errors
/// If the file cannot be written.
pub fn write(data_dir: &Path, login: &Login) -> io::Result<PathBuf> {
    private::write(data_dir, NAME, &format!("{}:{}\n", login.user(), login.password()))
}

/// Reads the credentials; `None` if there are none.
///
/// # Errors
/// If the file cannot be read, belongs to another user, or is readable by other users.
pub fn read(data_dir: &Path) -> io::Result<Option<Login>> {
    let Some(text) = private::read(data_dir, NAME)? else { return Ok(None) };
    let login = text.trim_end_matches('\n').split_once(':');
    Ok(login.map(|(user, password)| Login::new(user, password)))
}

/// Whether every URL is an address of this machine.
pub fn are_local(urls: &[String]) -> bool {
    urls.iter().all(|text| {
        let full = if text.contains("://") { text.trim().to_owned() } else { format!("http://{}", text.trim()) };
        match url::Url::parse(&full).ok().as_ref().and_then(url::Url::host) {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    #[test]
    fn only_the_owner_can_read_credentials() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).unwrap().is_none());
        let path = write(dir.path(), &Login::new("ADMIN", "a:b")).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let login = read(dir.path()).unwrap().unwrap();
        assert_eq!((login.user(), login.password()), ("ADMIN", "a:b"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(dir.path()).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn credentials_are_sent_to_this_machine_only() {
        let local = |urls: &[&str]| are_local(&urls.iter().map(|&u| u.to_owned()).collect::<Vec<_>>());
        assert!(local(&["http://127.0.0.1:7070", "localhost:7071", "http://[::1]:7"]));
        assert!(!local(&["http://127.0.0.1:7070", "http://10.0.0.1:7070"]));
        assert!(!local(&["http://localhost.example.org"]));
    }
}
