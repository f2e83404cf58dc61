//! The messages between users, nodes and the database: one value, preceded by its length.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends a value.
///
/// # Errors
/// If the connection is closed.
pub(crate) async fn send<T: Serialize>(to: &mut TcpStream, value: &T) -> io::Result<()> {
    let bytes = postcard::to_allocvec(value).map_err(io::Error::other)?;
    to.write_u32(u32::try_from(bytes.len()).map_err(io::Error::other)?).await?;
    to.write_all(&bytes).await?;
    to.flush().await
}

/// Waits for a value.
///
/// # Errors
/// If the connection is closed.
pub(crate) async fn receive<T: DeserializeOwned>(from: &mut TcpStream) -> io::Result<T> {
    let mut bytes = vec![0; from.read_u32().await? as usize];
    from.read_exact(&mut bytes).await?;
    postcard::from_bytes(&bytes).map_err(io::Error::other)
}
