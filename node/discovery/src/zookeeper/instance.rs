//! The payload of a registration: Curator's `ServiceInstance` as JSON, with Spring Cloud's payload inside.
//!
//! Written payloads equal those of Curator and Spring, field by field and in their order: a payload without its `@class` breaks
//! a Java reader, and one such node hides a whole service from it. Reading is tolerant: only address and port are required,
//! because rolling upgrades and other writers have produced every other variation.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::layout::{Layout, SELF_DISCOVERY_SERVICE};
use crate::peer::{Announcement, INSTANCE_STATUS, Peer, Role, STATUS_UP, Source};

const SPRING_INSTANCE: &str = "org.springframework.cloud.zookeeper.discovery.ZookeeperInstance";
const JAVA_MAP: &str = "java.util.LinkedHashMap";
/// The status for Curator's `"enabled": false`.
const STATUS_DISABLED: &str = "DISABLED";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Instance<'a> {
    name: &'a str,
    id: String,
    address: &'a str,
    port: u16,
    ssl_port: Option<u16>,
    payload: Payload<'a>,
    #[serde(rename = "registrationTimeUTC")]
    registration_time_utc: i64,
    service_type: &'a str,
    uri_spec: Option<UriSpec>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Payload<'a> {
    Spring {
        #[serde(rename = "@class")]
        class: &'a str,
        id: String,
        name: &'a str,
        metadata: BTreeMap<&'a str, &'a str>,
    },
    Map {
        #[serde(rename = "@class")]
        class: &'a str,
        description: &'a str,
    },
}

#[derive(Serialize)]
struct UriSpec {
    parts: [UriPart; 5],
}

#[derive(Serialize)]
struct UriPart {
    value: &'static str,
    variable: bool,
}

/// `{scheme}://{address}:{port}`, as Spring Cloud registers it.
const URI_SPEC: UriSpec = UriSpec {
    parts: [
        UriPart { value: "scheme", variable: true },
        UriPart { value: "://", variable: false },
        UriPart { value: "address", variable: true },
        UriPart { value: ":", variable: false },
        UriPart { value: "port", variable: true },
    ],
};

/// Returns the bytes to register.
pub(super) fn write(layout: &Layout, announcement: &Announcement, registered_at_ms: i64) -> Vec<u8> {
    let role = announcement.role.as_str();
    let (name, payload, uri_spec) = match layout {
        Layout::Kylin5 { .. } => {
            let mut metadata = BTreeMap::from([(INSTANCE_STATUS, STATUS_UP)]);
            metadata.extend(announcement.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())));
            // The id of Spring's application context. The role is the application's name.
            let payload = Payload::Spring { class: SPRING_INSTANCE, id: format!("{role}-1"), name: role, metadata };
            (role, payload, Some(URI_SPEC))
        }
        Layout::SelfDiscovery { .. } => {
            (SELF_DISCOVERY_SERVICE, Payload::Map { class: JAVA_MAP, description: role }, None)
        }
    };
    let instance = Instance {
        name,
        id: announcement.id.to_string(),
        address: &announcement.host,
        port: announcement.port,
        ssl_port: None,
        payload,
        registration_time_utc: registered_at_ms,
        service_type: "DYNAMIC",
        uri_spec,
    };
    serde_json::to_vec(&instance).expect("strings and numbers always make JSON")
}

/// Parses a registration of any writer. The error says why it is unusable.
///
/// `role` is the role of its directory; without one, the payload must name it.
pub(super) fn read(node_name: &str, role: Option<Role>, data: &[u8]) -> Result<Peer, String> {
    if data.is_empty() {
        return Err("it is empty".to_owned());
    }
    let json: Value = serde_json::from_slice(data).map_err(|error| format!("it is not JSON: {error}"))?;
    let text = |value: &Value| value.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let host = text(&json["address"]).ok_or("it has no address")?;
    let port = [&json["port"], &json["sslPort"]]
        .into_iter()
        .find_map(Value::as_u64)
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port > 0)
        .ok_or("it has no port")?;
    let payload = &json["payload"];
    let role = match role {
        Some(role) => role,
        None => text(&payload["description"])
            .ok_or("its payload names no mode")?
            .parse()
            .map_err(|error: crate::Error| error.to_string())?,
    };
    let mut metadata: BTreeMap<String, String> = payload["metadata"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match value {
            Value::Null => None,
            Value::String(value) => Some((key.clone(), value.clone())),
            other => Some((key.clone(), other.to_string())),
        })
        .collect();
    if json["enabled"] == Value::Bool(false) {
        metadata.insert(INSTANCE_STATUS.to_owned(), STATUS_DISABLED.to_owned());
    }
    Ok(Peer {
        role,
        host,
        port,
        id: text(&json["id"]).unwrap_or_else(|| node_name.to_owned()),
        registered_at_ms: json["registrationTimeUTC"].as_i64(),
        metadata,
        source: Source::ZooKeeper,
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn announcement() -> Announcement {
        Announcement {
            role: Role::All,
            id: Uuid::nil(),
            host: "10.0.0.2".to_owned(),
            port: 7071,
            metadata: BTreeMap::from([("zone".to_owned(), "z1".to_owned())]),
        }
    }

    #[test]
    fn a_registration_for_kylin_5_equals_that_of_spring_and_curator_byte_for_byte() {
        let written = write(&Layout::Kylin5 { unique_id: "k".to_owned() }, &announcement(), 1795174237107);
        assert_eq!(
            String::from_utf8(written).expect("text"),
            concat!(
                r#"{"name":"all","id":"00000000-0000-0000-0000-000000000000","address":"10.0.0.2","port":7071,"sslPort":null,"#,
                r#""payload":{"@class":"org.springframework.cloud.zookeeper.discovery.ZookeeperInstance","id":"all-1","#,
                r#""name":"all","metadata":{"instance_status":"UP","zone":"z1"}},"registrationTimeUTC":1795174237107,"#,
                r#""serviceType":"DYNAMIC","uriSpec":{"parts":[{"value":"scheme","variable":true},"#,
                r#"{"value":"://","variable":false},{"value":"address","variable":true},"#,
                r#"{"value":":","variable":false},{"value":"port","variable":true}]}}"#
            )
        );
    }

    #[test]
    fn a_written_registration_can_be_read_in_both_layouts() {
        let five = write(&Layout::Kylin5 { unique_id: "k".to_owned() }, &announcement(), 7);
        let peer = read("x", Some(Role::All), &five).expect("a peer");
        assert_eq!(
            (peer.role, peer.address(), peer.registered_at_ms),
            (Role::All, "10.0.0.2:7071".to_owned(), Some(7))
        );
        assert!(peer.is_up());
        let older = write(&Layout::SelfDiscovery { cluster: "k".to_owned() }, &announcement(), 7);
        let peer = read("x", None, &older).expect("a peer");
        assert_eq!((peer.role, peer.id.as_str()), (Role::All, "00000000-0000-0000-0000-000000000000"));
    }

    #[test]
    fn recorded_registrations_of_curator_are_read() {
        let plain = br#"{"name":"kylin","id":"id-1","address":"10.0.0.1","port":7070,"sslPort":null,"payload":null,"registrationTimeUTC":1795174236300,"serviceType":"DYNAMIC","uriSpec":null}"#;
        let peer = read("id-1", Some(Role::Job), plain).expect("a peer");
        assert_eq!((peer.role, peer.address().as_str(), peer.id.as_str()), (Role::Job, "10.0.0.1:7070", "id-1"));
        let newer = br#"{"name":"all","id":"u","address":"h","port":1,"enabled":false,"extra":[1],"payload":{"metadata":{"n":1}}}"#;
        let peer = read("u", Some(Role::All), newer).expect("a peer");
        assert_eq!(peer.metadata["n"], "1");
        assert!(!peer.is_up());
    }

    #[test]
    fn an_address_and_a_port_are_enough() {
        let peer = read("name", Some(Role::Query), br#"{"address":"h","port":7}"#).expect("a peer");
        assert_eq!((peer.id.as_str(), peer.port, peer.registered_at_ms), ("name", 7, None));
        for (data, complaint) in [
            (&b""[..], "empty"),
            (b"\xff\xfe", "not JSON"),
            (b"10.0.0.1", "not JSON"),
            (b"[]", "no address"),
            (br#"{"address":" ","port":7}"#, "no address"),
            (br#"{"address":"h","port":"7"}"#, "no port"),
            (br#"{"address":"h","port":70000}"#, "no port"),
        ] {
            let error = read("n", Some(Role::All), data).expect_err("garbage");
            assert!(error.contains(complaint), "{error:?} should say {complaint:?}");
        }
        assert!(read("n", None, br#"{"address":"h","port":7,"payload":{}}"#).is_err());
    }
}
