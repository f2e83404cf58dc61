//! Two nodes with one name, as after a machine was cloned.
//!
//! A name belongs to one node. If a member with the name has another address, the new node checks whether that member
//! is alive. If its beat increases, the new node does not join. If its port refuses connections, or its beat does not
//! change for the heart-beat timeout, the new node takes the name over. Without this rule, the two nodes would fence
//! each other forever.
//!
//! The check is not a guarantee: two new nodes may join at the same time. Then one of them fences the other, which
//! finds the first one alive when it tries to join again, and does not join.

use std::io::ErrorKind;
use std::time::Duration;

use kirin_core::{Answer, Ask, Member, Timing};
use kirin_shell::clock::instant_tokio;

use kirin_metastore::{Extra, JoinInfo, Store};

/// The timeout for connecting.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// The interval between reads of the other node's beat: several per beat, within these bounds.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A living node of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namesake {
    name: String,
    here: String,
    there: String,
}

impl std::fmt::Display for Namesake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, here, there } = self;
        write!(
            f,
            "the name {name} belongs to the node at {there}; this node at {here} does not join: give it another \
             kirin.node.name, or stop the other node"
        )
    }
}

/// The living node with the same name and another address, if any. The check may take up to the heart-beat timeout. A
/// metastore that does not respond is not evidence.
pub(crate) async fn alive(store: &Store, join: &JoinInfo, timing: Timing) -> Option<Namesake> {
    let [timeout, interval] = [timing.timeout(), timing.interval()].map(|span| Duration::from_micros(span.micros()));
    let members = store.directory().await.ok()?;
    let other = members.into_iter().find(|it| it.name == join.name && it.http != join.http && it.state.is_alive())?;
    let end = instant_tokio() + timeout;
    let mut first = None;
    loop {
        let connect = tokio::net::TcpStream::connect(other.link.as_str());
        if let Ok(Err(error)) = tokio::time::timeout(CONNECT_MAX, connect).await
            && error.kind() == ErrorKind::ConnectionRefused
        {
            return None;
        }
        match (beat(store, other.member).await, first) {
            (Beat::Gone, _) => return None,
            (Beat::At(beat), Some(seen)) if beat != seen => {
                let (name, here, there) = (join.name.clone(), join.http.clone(), other.http);
                return Some(Namesake { name, here, there });
            }
            (Beat::At(beat), _) => first = Some(beat),
            (Beat::Unknown, _) => {}
        }
        if instant_tokio() >= end {
            return None;
        }
        tokio::time::sleep((interval / 4).clamp(LOOK_EVERY.0, LOOK_EVERY.1)).await;
    }
}

enum Beat {
    At(u64),
    Gone,
    Unknown,
}

async fn beat(store: &Store, member: Member) -> Beat {
    match store.ask(&Ask::List, Extra::None).await {
        Answer::Listed { members, .. } => {
            let row = members.iter().find(|row| row.member == member && row.state.is_alive());
            row.map_or(Beat::Gone, |row| Beat::At(row.beat))
        }
        _ => Beat::Unknown,
    }
}
