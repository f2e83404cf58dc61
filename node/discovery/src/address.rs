//! The address that a node advertises, and the parser of `host:port`.
//!
//! Every part of a node must use the result of [`advertised`]. Kylin writes a host name into discovery and an IP address into
//! ownership, so its nodes appear twice.

use std::fmt;

use crate::error::Error;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// A host name or an IP address, without brackets.
    pub host: String,
    /// The port; never 0.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&join(&self.host, self.port))
    }
}

/// Returns the address that a node advertises.
///
/// The first that is set: `spring.cloud.zookeeper.discovery.instance-host` with the port that the node listens on;
/// `KYLIN_REST_ADDRESS`, a host or `host:port`; the host name with that port. A blank value counts as unset.
pub fn advertised(
    instance_host: Option<&str>,
    kylin_rest_address: Option<&str>,
    hostname: &str,
    port: u16,
) -> Result<Address, Error> {
    const INSTANCE_HOST: &str = "spring.cloud.zookeeper.discovery.instance-host";
    const REST_ADDRESS: &str = "KYLIN_REST_ADDRESS";
    let given = |value: Option<&str>| value.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned);
    let (setting, parsed) = if let Some(host) = given(instance_host) {
        (INSTANCE_HOST, parse_host(&host).map(|host| (host, None)))
    } else if let Some(address) = given(kylin_rest_address) {
        (REST_ADDRESS, parse_host_and_perhaps_port(&address))
    } else {
        ("host name", parse_host(hostname.trim()).map(|host| (host, None)))
    };
    let (host, own_port) = parsed.map_err(|reason| Error::Setting { setting, reason })?;
    match own_port.unwrap_or(port) {
        0 => Err(Error::Setting { setting, reason: "port 0 is not a reachable port".to_owned() }),
        port => Ok(Address { host, port }),
    }
}

/// Joins `host:port`, with brackets around an IPv6 address.
pub(crate) fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Parses `host:port`; the error says what is wrong.
pub(crate) fn parse_host_and_port(text: &str) -> Result<Address, String> {
    match parse_host_and_perhaps_port(text)? {
        (host, Some(port)) => Ok(Address { host, port }),
        (_, None) => Err("the port is missing; write host:port".to_owned()),
    }
}

/// Parses a host, or `host:port`; the error says what is wrong.
pub(crate) fn parse_host_and_perhaps_port(text: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("the bracket of the IPv6 address is not closed")?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(format!("{after:?} after the bracket is not a port")),
        }
    } else {
        match text.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => {
                return Err("write an IPv6 address in brackets: [::1]:7070".to_owned());
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let host = parse_host(host)?;
    match port.map(str::parse::<u16>) {
        None => Ok((host, None)),
        Some(Ok(port)) if port > 0 => Ok((host, Some(port))),
        Some(_) => Err(format!("{:?} is not a port; allowed are 1 to 65535", port.unwrap_or_default())),
    }
}

fn parse_host(host: &str) -> Result<String, String> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if bare.contains(':') {
        return match bare.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok(bare.to_owned()),
            Err(_) => Err(format!("{host:?} is not a host; write the host without a port")),
        };
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match bare {
        "" => Err("the host is missing".to_owned()),
        _ if bare.chars().all(plain) => Ok(bare.to_owned()),
        _ => Err(format!("{host:?} is not a host")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(instance: Option<&str>, rest: Option<&str>) -> String {
        advertised(instance, rest, "box7", 7070).expect("an address").to_string()
    }

    #[test]
    fn the_instance_host_wins_over_the_rest_address_and_that_over_the_host_name() {
        assert_eq!(chosen(Some("10.0.0.1"), Some("front:8080")), "10.0.0.1:7070");
        assert_eq!(chosen(None, Some("front:8080")), "front:8080");
        assert_eq!(chosen(Some("  "), Some("front")), "front:7070");
        assert_eq!(chosen(None, None), "box7:7070");
        assert_eq!(chosen(Some("fe80::1"), None), "[fe80::1]:7070");
        assert_eq!(chosen(None, Some("[::1]:7071")), "[::1]:7071");
    }

    #[test]
    fn a_bad_address_is_refused_with_the_name_of_its_setting() {
        let refused = |instance, rest| advertised(instance, rest, "box7", 7070).expect_err("refused").to_string();
        assert_eq!(
            refused(None, Some("front:eighty")),
            "KYLIN_REST_ADDRESS: \"eighty\" is not a port; allowed are 1 to 65535"
        );
        assert!(refused(Some("front:80"), None).starts_with("spring.cloud.zookeeper.discovery.instance-host: "));
        assert!(refused(None, Some("http://front")).starts_with("KYLIN_REST_ADDRESS: "));
        assert!(refused(None, Some("::1:7070")).contains("brackets"));
    }
}
