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

/// Whether a URL reaches the node of this machine whose API is at `address` (`host:port`). `localhost`, `127.0.0.1` and
/// `[::1]` are names of this machine.
pub fn reaches(url: &str, address: &str) -> bool {
    let parts = |text: &str| {
        let text = text.trim();
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = url::Url::parse(&full).ok()?;
        let is_loopback = match url.host()? {
            url::Host::Domain(name) => name == "localhost",
            url::Host::Ipv4(address) => address.is_loopback(),
            url::Host::Ipv6(address) => address.is_loopback(),
        };
        Some((url.host_str()?.to_owned(), is_loopback, url.port_or_known_default()))
    };
    let (Some((host, is_loopback, port)), Some((own, _, own_port))) = (parts(url), parts(address)) else {
        return false;
    };
    port == own_port && (host == own || is_loopback)
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

    #[test]
    fn a_node_of_this_machine_is_reached_by_every_local_name_at_its_port() {
        for url in ["http://127.0.0.1:7071", "http://localhost:7071/", "localhost:7071", "http://[::1]:7071"] {
            assert!(reaches(url, "127.0.0.1:7071") && reaches(url, "10.0.0.1:7071"), "{url}");
            assert!(!reaches(url, "127.0.0.1:7070"), "{url}");
        }
        assert!(reaches("http://10.0.0.1:7071", "10.0.0.1:7071"));
        for url in ["http://10.0.0.1:7071", "http://localhost.example.org:7071", "http://localhost", "nonsense:x"] {
            assert!(!reaches(url, "127.0.0.1:7071"), "{url}");
        }
    }
}
