//! Parses, executes and answers one request.

use crate::code::{Code, op};
use crate::ensemble::State;
use crate::jute::{Reader, Writer};
use crate::tree::{Change, Kind, Stamp, Tree};
use crate::watches::Watches;

/// Whether the connection continues.
const LASTS: bool = true;

/// Executes and answers a client's request. Returns false if the connection ends.
pub(crate) fn handle(state: &mut State, connection: u64, session: i64, frame: &[u8]) -> bool {
    let mut body = Reader::new(frame);
    // A client that speaks another protocol is disconnected.
    let (Ok(xid), Ok(kind)) = (body.i32(), body.i32()) else { return false };
    let mut reply = Writer::default();
    let done = match kind {
        op::PING | op::SYNC | op::AUTH => simple(kind, &mut body, &mut reply),
        op::SET_WATCHES | op::SET_WATCHES2 => resume(state, connection, &mut body),
        op::CLOSE_SESSION => {
            answer(state, connection, xid, Ok(()), Writer::default());
            state.zxid += 1;
            state.end(session, "closed by its client");
            return false;
        }
        _ if is_write(kind) => write(state, session, kind, &mut body, &mut reply),
        _ => read(state, connection, session, kind, &mut body, &mut reply),
    };
    answer(state, connection, xid, done, reply);
    // A client that fails to authenticate is disconnected.
    if done == Err(Code::AuthFailed) { !LASTS } else { LASTS }
}

/// Whether the request needs the agreement of the servers.
pub(crate) fn waits(frame: &[u8]) -> bool {
    let mut body = Reader::new(frame);
    body.i32().and_then(|_| body.i32()).is_ok_and(|kind| is_write(kind) || kind == op::SYNC)
}

fn is_write(kind: i32) -> bool {
    matches!(kind, op::CREATE | op::CREATE2 | op::CREATE_CONTAINER | op::DELETE | op::SET_DATA | op::MULTI)
}

fn answer(state: &mut State, connection: u64, xid: i32, done: Result<(), Code>, body: Writer) {
    let zxid = state.zxid;
    let mut frame = Writer::default();
    frame.i32(xid).i64(zxid).i32(done.err().map_or(0, Code::number));
    if done.is_ok() {
        frame.raw(&body.into_bytes());
    }
    if let Some(connection) = state.connection(connection) {
        connection.send(frame.into_frame());
    }
}

fn simple(kind: i32, body: &mut Reader<'_>, reply: &mut Writer) -> Result<(), Code> {
    match kind {
        op::SYNC => drop(reply.buffer(body.buffer()?)),
        op::AUTH => {
            body.i32()?;
            if !matches!(body.string()?.as_str(), "digest" | "ip" | "world") {
                return Err(Code::AuthFailed);
            }
        }
        _ => {}
    }
    Ok(())
}

fn resume(state: &mut State, connection: u64, body: &mut Reader<'_>) -> Result<(), Code> {
    let zxid = body.i64()?;
    let lists = [body.strings()?, body.strings()?, body.strings()?];
    if let (tree, Some(connection)) = state.view(connection) {
        let missed = connection.watches.resume(tree, zxid, &lists);
        connection.tell(&missed);
    }
    Ok(())
}

fn read(
    state: &mut State,
    connection: u64,
    session: i64,
    kind: i32,
    body: &mut Reader<'_>,
    reply: &mut Writer,
) -> Result<(), Code> {
    let (tree, Some(connection)) = state.view(connection) else { return Ok(()) };
    let path = match kind {
        op::EXISTS | op::GET_DATA | op::GET_CHILDREN | op::GET_CHILDREN2 | op::REMOVE_WATCHES | op::GET_EPHEMERALS => {
            body.string()?
        }
        _ => return Err(Code::Unimplemented),
    };
    let watches: &mut Watches = &mut connection.watches;
    match kind {
        op::REMOVE_WATCHES => return watches.remove(&path, body.i32()?),
        op::GET_EPHEMERALS => {
            let mut own = tree.ephemerals(session);
            own.retain(|own| own.starts_with(&path));
            reply.strings(own.iter());
            return Ok(());
        }
        _ => {}
    }
    let watch = body.bool()?;
    let node = tree.get(&path);
    match kind {
        // A missing node can be watched, too.
        op::EXISTS if watch => watches.watch_data(&path),
        op::GET_DATA if watch && node.is_ok() => watches.watch_data(&path),
        op::GET_CHILDREN | op::GET_CHILDREN2 if watch && node.is_ok() => watches.watch_children(&path),
        _ => {}
    }
    let node = node?;
    match kind {
        op::EXISTS => node.write_stat(reply),
        op::GET_DATA => {
            reply.buffer(&node.data);
            node.write_stat(reply);
        }
        _ => {
            reply.strings(node.children.iter());
            if kind == op::GET_CHILDREN2 {
                node.write_stat(reply);
            }
        }
    }
    Ok(())
}

fn write(state: &mut State, session: i64, kind: i32, body: &mut Reader<'_>, reply: &mut Writer) -> Result<(), Code> {
    // A failed write is a transaction, too.
    let at = state.stamp();
    let mut changes = Vec::new();
    if kind == op::MULTI {
        multi(&mut state.tree, session, body, at, &mut changes, reply)?;
    } else {
        one(&mut state.tree, session, kind, body, at, &mut changes, reply)?;
    }
    for change in &changes {
        tracing::trace!(zxid = at.zxid, ?change, "ZooKeeper");
    }
    state.tell(&changes);
    Ok(())
}

/// Executes one write, alone or within a multi.
fn one(
    tree: &mut Tree,
    session: i64,
    kind: i32,
    body: &mut Reader<'_>,
    at: Stamp,
    changes: &mut Vec<Change>,
    reply: &mut Writer,
) -> Result<(), Code> {
    let path = body.string()?;
    match kind {
        op::CREATE | op::CREATE2 | op::CREATE_CONTAINER => {
            let data = body.buffer()?;
            body.skip_acl()?;
            let (how, sequential) = match body.i32()? {
                flags @ (0 | 2) => (Kind::Persistent, flags == 2),
                flags @ (1 | 3) => (Kind::Ephemeral(session), flags == 3),
                4 => (Kind::Container, false),
                5 | 6 => return Err(Code::Unimplemented),
                _ => return Err(Code::BadArguments),
            };
            let path = tree.create(&path, data, how, sequential, at, changes)?;
            reply.buffer(path.as_bytes());
            if kind != op::CREATE {
                tree.get(&path)?.write_stat(reply);
            }
        }
        op::DELETE => tree.delete(&path, body.i32()?, at, changes)?,
        op::SET_DATA => {
            let (data, version) = (body.buffer()?, body.i32()?);
            tree.set(&path, data, version, at, changes)?;
            tree.get(&path)?.write_stat(reply);
        }
        op::CHECK => tree.check(&path, body.i32()?)?,
        _ => return Err(Code::Unimplemented),
    }
    Ok(())
}

/// Executes all operations or none. Each one is answered: with its result, or with the error that made the multi fail.
fn multi(
    tree: &mut Tree,
    session: i64,
    body: &mut Reader<'_>,
    at: Stamp,
    changes: &mut Vec<Change>,
    reply: &mut Writer,
) -> Result<(), Code> {
    let mut trial = tree.clone();
    let mut results = Writer::default();
    let mut parts = 0;
    let mut failed = None;
    loop {
        let (kind, done, _) = (body.i32()?, body.bool()?, body.i32()?);
        if done {
            break;
        }
        let mut result = Writer::default();
        match one(&mut trial, session, kind, body, at, changes, &mut result) {
            Ok(()) => drop(results.i32(kind).bool(false).i32(0).raw(&result.into_bytes())),
            Err(code) => {
                failed = Some((parts, code));
                // The remaining operations are counted, but not executed.
                parts += 1 + rest(body);
                break;
            }
        }
        parts += 1;
    }
    if let Some((at, code)) = failed {
        changes.clear();
        for part in 0..parts {
            let error = match part {
                part if part < at => 0,
                part if part == at => code.number(),
                _ => Code::RuntimeInconsistency.number(),
            };
            reply.i32(op::ERROR).bool(false).i32(error).i32(error);
        }
    } else {
        *tree = trial;
        reply.raw(&results.into_bytes());
    }
    reply.i32(op::ERROR).bool(true).i32(-1);
    Ok(())
}

/// Counts the remaining operations, by parsing their fields.
fn rest(body: &mut Reader<'_>) -> usize {
    let mut parts = 0;
    let mut trial = Tree::new();
    let nowhere = Stamp { zxid: 0, wall_ms: 0 };
    while let (Ok(kind), Ok(false), Ok(_)) = (body.i32(), body.bool(), body.i32()) {
        // Only the parsing of its fields matters; the tree is empty.
        let _ = one(&mut trial, 0, kind, body, nowhere, &mut Vec::new(), &mut Writer::default());
        parts += 1;
    }
    parts
}
