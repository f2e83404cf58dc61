//! Host names, ports and lists of them.

use std::fmt;
use std::str::FromStr;

use kirin_core::Role;

/// `host:port` with an optional port. An IPv6 address with a port is in brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// Name or address, without brackets.
    pub host: String,
    /// The port, if one is given.
    pub port: Option<u16>,
}

/// A node of the static list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticServer {
    /// Its address.
    pub address: HostPort,
    /// Its role, if the list contains it.
    pub role: Option<Role>,
}

/// Parses Kylin's name of a role.
pub fn role(word: &str) -> Option<Role> {
    match word {
        "all" => Some(Role::All),
        "job" => Some(Role::Job),
        "query" => Some(Role::Query),
        _ => None,
    }
}

/// Parses a host without a port: a name, an IPv4 address or an IPv6 address. Brackets are removed.
pub(super) fn host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if bare.contains(':') {
        return match bare.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok(bare.to_owned()),
            Err(_) => Err("not a host name or IP address".into()),
        };
    }
    let is_host = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if bare.is_empty() || bare.len() > 253 || !bare.chars().all(is_host) {
        return Err("not a host name or IP address".into());
    }
    Ok(bare.to_owned())
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (bare, port) = match text.rsplit_once(':') {
            Some((before, port)) if !before.contains(':') || before.ends_with(']') => (before, Some(port)),
            _ => (text, None),
        };
        let port = port.map(|port| match port.parse::<u16>() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err("the port must be an integer from 1 to 65535".to_owned()),
        });
        Ok(Self { host: host(bare)?, port: port.transpose()? })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?
        } else {
            f.write_str(&self.host)?
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl StaticServer {
    /// Parses `host:port:mode`.
    pub(super) fn with_mode(text: &str) -> Result<Self, String> {
        let (address, word) = text.rsplit_once(':').ok_or("write each node as host:port:mode")?;
        let role = role(word).ok_or("the mode must be all, job or query")?;
        let address: HostPort = address.parse()?;
        if address.port.is_none() {
            return Err("write each node as host:port:mode".into());
        }
        Ok(Self { address, role: Some(role) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_and_formatted() {
        for text in ["h", "h:7070", "10.0.0.1:1", "[::1]:7070", "my-host.example.org"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        assert_eq!("::1".parse::<HostPort>().unwrap(), HostPort { host: "::1".into(), port: None });
        for bad in ["", ":7070", "h:0", "h:65536", "h:x", "a b", "h:1:2", "[::1", "http://h"] {
            assert!(bad.parse::<HostPort>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_static_server_has_a_mode() {
        let server = StaticServer::with_mode("h:7070:job").unwrap();
        assert_eq!((server.address.to_string().as_str(), server.role), ("h:7070", Some(Role::Job)));
        for bad in ["h:7070", "h:7070:boss", "h:job", "job"] {
            assert!(StaticServer::with_mode(bad).is_err(), "{bad}");
        }
    }
}
