//! A private S3 server with directories as buckets.

use std::path::Path;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The credentials.
const KEY: (&str, &str) = ("kirin", "a-secret-for-tests");

/// A server in this process, on a private loopback port, stopped when dropped.
#[derive(Debug)]
pub(crate) struct S3 {
    url: String,
    task: JoinHandle<()>,
}

impl S3 {
    /// Serves the directories in `root` as buckets.
    ///
    /// # Errors
    /// If the directory or the port cannot be used.
    pub(crate) async fn serve(root: &Path) -> anyhow::Result<Self> {
        let files = FileSystem::new(root).map_err(|e| anyhow::anyhow!("{e:?}"))?;
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(KEY.0, KEY.1));
        let service = service.build();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    // Errors of a client's connection do not affect the server.
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Ok(Self { url, task })
    }

    /// The environment variables of a client.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", self.url.as_str()),
            ("AWS_ACCESS_KEY_ID", KEY.0),
            ("AWS_SECRET_ACCESS_KEY", KEY.1),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ALLOW_HTTP", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.task.abort();
    }
}
