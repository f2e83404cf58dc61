//! Encryption of connections to a server.

use std::path::PathBuf;

use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// The security that a connection requires, in increasing order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsMode {
    /// Not encrypted.
    Disable,
    /// Encrypted if the server supports it; not verified.
    #[default]
    Prefer,
    /// Always encrypted; not verified.
    Require,
    /// The server's certificate is from a trusted authority.
    VerifyCa,
    /// The same, and the certificate is for the requested host.
    VerifyFull,
}

/// Encryption of the connections to a server. All files are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The required security.
    pub mode: TlsMode,
    /// Trusted authorities in addition to those of the system.
    pub root: Option<PathBuf>,
    /// The client's certificate.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

impl Tls {
    pub(crate) fn postgres(&self, mut options: PgConnectOptions) -> PgConnectOptions {
        options = options.ssl_mode(match self.mode {
            TlsMode::Disable => PgSslMode::Disable,
            TlsMode::Prefer => PgSslMode::Prefer,
            TlsMode::Require => PgSslMode::Require,
            TlsMode::VerifyCa => PgSslMode::VerifyCa,
            TlsMode::VerifyFull => PgSslMode::VerifyFull,
        });
        if let Some(root) = &self.root {
            options = options.ssl_root_cert(root);
        }
        if let Some(certificate) = &self.certificate {
            options = options.ssl_client_cert(certificate);
        }
        if let Some(key) = &self.key {
            options = options.ssl_client_key(key);
        }
        options
    }

    pub(crate) fn mysql(&self, mut options: MySqlConnectOptions) -> MySqlConnectOptions {
        options = options.ssl_mode(match self.mode {
            TlsMode::Disable => MySqlSslMode::Disabled,
            TlsMode::Prefer => MySqlSslMode::Preferred,
            TlsMode::Require => MySqlSslMode::Required,
            TlsMode::VerifyCa => MySqlSslMode::VerifyCa,
            TlsMode::VerifyFull => MySqlSslMode::VerifyIdentity,
        });
        if let Some(root) = &self.root {
            options = options.ssl_ca(root);
        }
        if let Some(certificate) = &self.certificate {
            options = options.ssl_client_cert(certificate);
        }
        if let Some(key) = &self.key {
            options = options.ssl_client_key(key);
        }
        options
    }
}
