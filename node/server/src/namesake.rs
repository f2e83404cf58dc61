//! Two nodes with one name, as after a machine was cloned.
//!
//! A name belongs to one node. If the name is in the cluster under another address, the newcomer waits to see whether that
//! node lives. If its beat grows, the newcomer does not join. If its port refuses connections, or its beat does not change
//! for the heart-beat timeout, the newcomer takes the name over. Without this rule each node fences the other for ever.
//!
//! This is advice, not a promise: two newcomers may join at the same moment. Then one of them fences the other, which
//! finds the first one alive when it wants to join again, and stays out.

use std::io::ErrorKind;
use std::time::Duration;

use kirin_core::{Answer, Ask, Member, Timing};
use kirin_shell::clock::instant_tokio;

use kirin_metastore::{Extra, JoinInfo, Store};

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// How often the other node's beat is read: between these bounds, and several times per beat.
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
            "the name {name} belongs to a node that runs at {there}; this node at {here} does not join: give it another \
             kirin.node.name, or stop the other node"
        )
    }
}

/// The living node that has the same name and another address, if there is one. Takes up to the heart-beat timeout if there may be one.
/// A metastore that does not answer is no evidence.
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
