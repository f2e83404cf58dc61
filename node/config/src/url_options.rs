//! The options after the `?` of the metastore's URL, with the names of pgjdbc and Connector/J.
//!
//! An option is supported, or known to have no effect here (pools and statement caches of Java), or refused with the
//! most similar known name. No option is ignored silently, because an option may protect a password from being sent
//! unencrypted.
//!
//! Some drivers may connect without encryption although it was requested. Kirin does not: `useSSL=true` means
//! `REQUIRED`, `sslmode=allow` means `prefer`, and `require` with a root certificate means `verify-ca`. Certificates
//! are PEM files; Java keystores are refused. Verification trusts the system's roots in addition to the given one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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

/// The parsed options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meant {
    /// The encryption of connections.
    pub tls: Tls,
    /// The schema of the tables, from `currentSchema`.
    pub schema: Option<String>,
    /// Whether statements are unnamed on the server, for a pooler that changes sessions between transactions.
    pub unnamed_statements: bool,
    /// Known options without effect.
    pub unused: Vec<String>,
}

/// Options of pgjdbc and libpq about connections, caches and logs of the driver.
const POSTGRES_UNUSED: &[&str] = &[
    "ApplicationName",
    "adaptiveFetch",
    "adaptiveFetchMaximum",
    "adaptiveFetchMinimum",
    "application_name",
    "assumeMinServerVersion",
    "autosave",
    "binaryTransfer",
    "cancelSignalTimeout",
    "cleanupSavepoints",
    "connectTimeout",
    "connect_timeout",
    "databaseMetadataCacheFields",
    "databaseMetadataCacheFieldsMiB",
    "defaultRowFetchSize",
    "disableColumnSanitiser",
    "hostRecheckSeconds",
    "keepalives",
    "loadBalanceHosts",
    "logServerErrorDetail",
    "logUnclosedConnections",
    "loggerFile",
    "loggerLevel",
    "loginTimeout",
    "maxResultBuffer",
    "preparedStatementCacheQueries",
    "preparedStatementCacheSizeMiB",
    "quoteReturningIdentifiers",
    "reWriteBatchedInserts",
    "receiveBufferSize",
    "sendBufferSize",
    "socketTimeout",
    "stringtype",
    "tcpKeepAlive",
    "tcpNoDelay",
    "unknownLength",
];

/// Options of Connector/J and MariaDB's Connector/J.
const MYSQL_UNUSED: &[&str] = &[
    "allowPublicKeyRetrieval",
    "allowMultiQueries",
    "autoReconnect",
    "autoReconnectForPools",
    "cachePrepStmts",
    "cacheServerConfiguration",
    "characterEncoding",
    "characterSetResults",
    "connectTimeout",
    "connectionTimeZone",
    "elideSetAutoCommits",
    "failOverReadOnly",
    "forceConnectionTimeZoneToSession",
    "maintainTimeStats",
    "maxReconnects",
    "nullCatalogMeansCurrent",
    "nullDatabaseMeansCurrent",
    "prepStmtCacheSize",
    "prepStmtCacheSqlLimit",
    "rewriteBatchedStatements",
    "serverTimezone",
    "socketTimeout",
    "tcpKeepAlive",
    "tcpNoDelay",
    "tinyInt1isBit",
    "useAffectedRows",
    "useBulkStmts",
    "useCursorFetch",
    "useLegacyDatetimeCode",
    "useLocalSessionState",
    "useLocalTransactionState",
    "usePipelineAuth",
    "useServerPrepStmts",
    "useTimezone",
    "useUnicode",
    "zeroDateTimeBehavior",
];

const POSTGRES_USED: &[&str] = &[
    "currentSchema",
    "channelBinding",
    "gssEncMode",
    "options",
    "preferQueryMode",
    "prepareThreshold",
    "readOnly",
    "ssl",
    "sslNegotiation",
    "sslcert",
    "sslfactory",
    "sslhostnameverifier",
    "sslkey",
    "sslmode",
    "sslpassword",
    "sslpasswordcallback",
    "sslrootcert",
    "targetServerType",
    "target_session_attrs",
];

const MYSQL_USED: &[&str] = &[
    "clientCertificateKeyStorePassword",
    "clientCertificateKeyStoreType",
    "clientCertificateKeyStoreUrl",
    "disableSslHostnameVerification",
    "enabledTLSProtocols",
    "keyStore",
    "requireSSL",
    "serverSslCert",
    "sessionVariables",
    "sslMode",
    "tlsVersions",
    "trustCertificateKeyStorePassword",
    "trustCertificateKeyStoreType",
    "trustCertificateKeyStoreUrl",
    "trustServerCertificate",
    "trustStore",
    "useSSL",
    "verifyServerCertificate",
];

type Options = BTreeMap<String, String>;

/// Parses PostgreSQL's options. `base` is the base of relative paths.
///
/// # Errors
/// The reason, without any value that may be secret.
pub fn postgres(options: &Options, base: &Path) -> Result<Meant, String> {
    let mut meant = known(options, POSTGRES_USED, POSTGRES_UNUSED)?;
    let get = |name: &str| options.get(name).map(String::as_str);
    for (name, harmless) in [
        ("gssEncMode", &["disable", "allow", "prefer"][..]),
        ("channelBinding", &["disable", "prefer"][..]),
        ("sslNegotiation", &["postgres"][..]),
        ("readOnly", &["false"][..]),
    ] {
        if let Some(value) = get(name).filter(|value| !harmless.contains(value)) {
            return Err(format!("{name}={value} is not supported; allowed: {}", harmless.join(", ")));
        }
    }
    for (name, instead) in [
        ("options", "use currentSchema for the schema; Kirin sets the session's other settings"),
        ("sslfactory", "use sslmode and sslrootcert"),
        ("sslhostnameverifier", "use sslmode=verify-full or verify-ca"),
        ("sslpassword", "remove the password from the key: openssl pkcs8 -topk8 -nocrypt"),
        ("sslpasswordcallback", "remove the password from the key: openssl pkcs8 -topk8 -nocrypt"),
    ] {
        if options.contains_key(name) {
            return Err(format!("{name} is not supported; {instead}"));
        }
    }
    let ssl = match get("ssl") {
        None | Some("false") => None,
        // As in pgjdbc, everything is verified.
        Some("true" | "") => Some(TlsMode::VerifyFull),
        Some(other) => return Err(format!("ssl={other} is not a boolean")),
    };
    let mode = match get("sslmode") {
        None => ssl.unwrap_or(if get("ssl").is_some() { TlsMode::Disable } else { TlsMode::Prefer }),
        Some("disable") => TlsMode::Disable,
        Some("allow" | "prefer") => TlsMode::Prefer,
        Some("require") => TlsMode::Require,
        Some("verify-ca") => TlsMode::VerifyCa,
        Some("verify-full") => TlsMode::VerifyFull,
        Some(other) => {
            return Err(format!(
                "unknown sslmode={other}; allowed: disable, allow, prefer, require, verify-ca, verify-full"
            ));
        }
    };
    if ssl.is_some() && mode == TlsMode::Disable {
        return Err("ssl=true contradicts sslmode=disable".to_owned());
    }
    meant.tls = Tls {
        mode,
        root: pem(base, "sslrootcert", get("sslrootcert").filter(|name| *name != "system"), "CERTIFICATE")?,
        certificate: pem(base, "sslcert", get("sslcert"), "CERTIFICATE")?,
        key: pem(base, "sslkey", get("sslkey"), "PRIVATE KEY")?,
    };
    if meant.tls.certificate.is_some() != meant.tls.key.is_some() {
        return Err("sslcert and sslkey require each other".to_owned());
    }
    consistent(&mut meant.tls, "sslmode")?;
    meant.schema = get("currentSchema").map(str::trim).filter(|schema| !schema.is_empty()).map(str::to_owned);
    let threshold = match get("prepareThreshold").map(str::parse::<i64>) {
        None => 5,
        Some(Ok(threshold)) => threshold,
        Some(Err(_)) => return Err("prepareThreshold is not an integer".to_owned()),
    };
    let mode = get("preferQueryMode").unwrap_or("extended");
    if !["simple", "extended", "extendedForPrepared", "extendedCacheEverything"].contains(&mode) {
        return Err(format!("unknown preferQueryMode={mode}"));
    }
    meant.unnamed_statements = threshold == 0 || mode == "simple";
    if meant.unnamed_statements && meant.schema.is_some() {
        return Err("currentSchema requires its own session, which prepareThreshold=0 excludes: set the \
                    search_path of the user instead (ALTER ROLE … SET search_path)"
            .to_owned());
    }
    Ok(meant)
}

/// Parses the options of MySQL and MariaDB. `base` is the base of relative paths.
///
/// # Errors
/// Those of [`postgres`].
pub fn mysql(options: &Options, base: &Path) -> Result<Meant, String> {
    let mut meant = known(options, MYSQL_USED, MYSQL_UNUSED)?;
    let get = |name: &str| options.get(name).map(String::as_str);
    let flag = |name: &str| match get(name).map(str::to_ascii_lowercase).as_deref() {
        None => Ok(None),
        Some("true" | "yes" | "") => Ok(Some(true)),
        Some("false" | "no") => Ok(Some(false)),
        Some(other) => Err(format!("{name}={other} is not a boolean")),
    };
    for (name, instead) in [
        ("clientCertificateKeyStoreUrl", "log in with a password"),
        ("clientCertificateKeyStoreType", "log in with a password"),
        ("clientCertificateKeyStorePassword", "log in with a password"),
        ("keyStore", "log in with a password"),
        ("trustStore", "use trustCertificateKeyStoreUrl or serverSslCert with a PEM file"),
        ("sessionVariables", "Kirin sets the session's settings"),
        ("enabledTLSProtocols", "TLS 1.2 and 1.3 are used"),
        ("tlsVersions", "TLS 1.2 and 1.3 are used"),
    ] {
        if options.contains_key(name) {
            return Err(format!("{name} is not supported; {instead}"));
        }
    }
    let (verify, require, wish) = (flag("verifyServerCertificate")?, flag("requireSSL")?, flag("useSSL")?);
    let mode = match get("sslMode").map(str::to_ascii_uppercase).as_deref() {
        Some("DISABLED" | "DISABLE") => TlsMode::Disable,
        Some("PREFERRED") => TlsMode::Prefer,
        Some("REQUIRED" | "TRUST") => TlsMode::Require,
        Some("VERIFY_CA" | "VERIFY-CA") => TlsMode::VerifyCa,
        Some("VERIFY_IDENTITY" | "VERIFY-FULL") => TlsMode::VerifyFull,
        Some(_) => {
            return Err(
                "unknown sslMode; allowed: DISABLED, PREFERRED, REQUIRED, VERIFY_CA, VERIFY_IDENTITY, and MariaDB's \
                 disable, trust, verify-ca, verify-full"
                    .to_owned(),
            );
        }
        None if wish == Some(false) => TlsMode::Disable,
        None if verify == Some(true) => TlsMode::VerifyCa,
        None if require == Some(true) || wish == Some(true) => TlsMode::Require,
        None => TlsMode::Prefer,
    };
    if mode == TlsMode::Disable && [verify, require, wish].contains(&Some(true)) {
        return Err("useSSL, requireSSL or verifyServerCertificate contradicts disabled encryption".to_owned());
    }
    if flag("trustServerCertificate")? == Some(true) && mode >= TlsMode::VerifyCa {
        return Err("trustServerCertificate=true contradicts the requested verification".to_owned());
    }
    if flag("disableSslHostnameVerification")? == Some(true) && mode == TlsMode::VerifyFull {
        return Err("disableSslHostnameVerification=true contradicts sslMode; use VERIFY_CA".to_owned());
    }
    if let Some(kind) = get("trustCertificateKeyStoreType").filter(|kind| !kind.eq_ignore_ascii_case("PEM")) {
        return Err(format!("trustCertificateKeyStoreType={kind} is not supported; export the certificates as PEM"));
    }
    let store = get("trustCertificateKeyStoreUrl").map(|url| {
        let path = url.strip_prefix("file:").unwrap_or(url);
        path.strip_prefix("//").unwrap_or(path)
    });
    let root = match store {
        Some(_) => pem(base, "trustCertificateKeyStoreUrl", store, "CERTIFICATE")?,
        None => pem(base, "serverSslCert", get("serverSslCert"), "CERTIFICATE")?,
    };
    meant.tls = Tls { mode, root, certificate: None, key: None };
    consistent(&mut meant.tls, "sslMode")?;
    Ok(meant)
}

/// Refuses a certificate that would not be used.
fn consistent(tls: &mut Tls, name: &str) -> Result<(), String> {
    if tls.root.is_some() {
        match tls.mode {
            TlsMode::Disable | TlsMode::Prefer => {
                return Err(format!(
                    "a root certificate is given, but without mandatory encryption nothing is verified: set {name} \
                     to verify-ca or verify-full"
                ));
            }
            TlsMode::Require => tls.mode = TlsMode::VerifyCa,
            TlsMode::VerifyCa | TlsMode::VerifyFull => {}
        }
    }
    Ok(())
}

fn known(options: &Options, used: &[&str], unused: &[&str]) -> Result<Meant, String> {
    let mut meant = Meant::default();
    for name in options.keys() {
        if used.contains(&name.as_str()) {
            continue;
        }
        if unused.contains(&name.as_str()) {
            meant.unused.push(name.clone());
            continue;
        }
        let nearest = used.iter().chain(unused).max_by(|a, b| alike(name, a).total_cmp(&alike(name, b)));
        return Err(match nearest.filter(|nearest| alike(name, nearest) >= 0.6) {
            Some(nearest) => format!("its URL has an unknown option {name}; did you mean {nearest}?"),
            None => format!("its URL has an unknown option {name}; remove it"),
        });
    }
    Ok(meant)
}

fn alike(a: &str, b: &str) -> f64 {
    let plain = |name: &str| name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    strsim::normalized_damerau_levenshtein(&plain(a), &plain(b))
}

/// Reads a PEM file with a part of this type.
fn pem(base: &Path, option: &str, path: Option<&str>, part: &str) -> Result<Option<PathBuf>, String> {
    let Some(path) = path else { return Ok(None) };
    let file = base.join(path);
    let bytes = std::fs::read(&file).map_err(|error| format!("{option}: cannot read '{}': {error}", file.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    if text.contains("-----BEGIN ENCRYPTED") {
        return Err(format!("{option}: '{}' is encrypted; remove its password with openssl pkcs8", file.display()));
    }
    let is_pem = text.lines().any(|line| line.starts_with("-----BEGIN ") && line.contains(part));
    is_pem.then_some(Some(file.clone())).ok_or_else(|| {
        let wanted = part.to_ascii_lowercase();
        format!("{option}: '{}' is not a PEM file with a {wanted}; convert it with openssl or keytool", file.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Options {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (k.into(), v.into())).collect()
    }

    fn pg(text: &str) -> Result<Meant, String> {
        postgres(&options(text), Path::new("/nowhere"))
    }

    fn my(text: &str) -> Result<Meant, String> {
        mysql(&options(text), Path::new("/nowhere"))
    }

    #[test]
    fn every_mode_of_pgjdbc_is_supported() {
        let mode = |text: &str| pg(text).unwrap().tls.mode;
        assert_eq!(mode(""), TlsMode::Prefer);
        assert_eq!(mode("sslmode=disable"), TlsMode::Disable);
        assert_eq!(mode("sslmode=allow"), TlsMode::Prefer);
        assert_eq!(mode("sslmode=prefer"), TlsMode::Prefer);
        assert_eq!(mode("sslmode=require"), TlsMode::Require);
        assert_eq!(mode("sslmode=verify-ca"), TlsMode::VerifyCa);
        assert_eq!(mode("sslmode=verify-full"), TlsMode::VerifyFull);
        assert_eq!(mode("ssl=true"), TlsMode::VerifyFull);
        assert_eq!(mode("ssl"), TlsMode::VerifyFull);
        assert_eq!(mode("ssl=false"), TlsMode::Disable);
        assert_eq!(mode("ssl=true&sslmode=require"), TlsMode::Require);
        for wrong in ["sslmode=on", "ssl=1", "ssl=true&sslmode=disable", "sslNegotiation=direct", "gssEncMode=require"]
        {
            assert!(pg(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_mode_of_connector_j_is_supported() {
        let mode = |text: &str| my(text).unwrap().tls.mode;
        assert_eq!(mode("useUnicode=true&characterEncoding=utf8"), TlsMode::Prefer);
        for (text, expected) in [
            ("DISABLED", TlsMode::Disable),
            ("PREFERRED", TlsMode::Prefer),
            ("REQUIRED", TlsMode::Require),
            ("VERIFY_CA", TlsMode::VerifyCa),
            ("VERIFY_IDENTITY", TlsMode::VerifyFull),
            ("trust", TlsMode::Require),
            ("verify-full", TlsMode::VerifyFull),
        ] {
            assert_eq!(mode(&format!("sslMode={text}")), expected, "{text}");
        }
        assert_eq!(mode("useSSL=true"), TlsMode::Require);
        assert_eq!(mode("useSSL=false"), TlsMode::Disable);
        assert_eq!(mode("requireSSL=true"), TlsMode::Require);
        assert_eq!(mode("useSSL=true&verifyServerCertificate=true"), TlsMode::VerifyCa);
        for wrong in ["sslMode=on", "useSSL=false&requireSSL=true", "sslMode=DISABLED&useSSL=true", "useSSL=maybe"] {
            assert!(my(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_option_is_refused_with_the_most_similar_name() {
        assert!(pg("sslMode=require").unwrap_err().contains("did you mean sslmode?"));
        assert!(pg("current_schema=x").unwrap_err().contains("did you mean currentSchema?"));
        assert!(my("sslmode=require").unwrap_err().contains("did you mean sslMode?"));
        assert!(my("zzzzzzzz=1").unwrap_err().contains("unknown option zzzzzzzz"));
        assert_eq!(pg("connectTimeout=10&currentSchema=kylin").unwrap().unused, ["connectTimeout"]);
    }

    #[test]
    fn known_unsupported_options_are_refused_with_an_alternative() {
        for text in
            ["sslpassword=x", "sslfactory=org.postgresql.ssl.NonValidatingFactory", "options=-c%20a=b", "readOnly=true"]
        {
            assert!(!pg(text).unwrap_err().contains("unknown option"), "{text}");
        }
        for text in ["clientCertificateKeyStoreUrl=file:/k", "trustCertificateKeyStoreType=JKS", "sessionVariables=a=1"]
        {
            assert!(!my(text).unwrap_err().contains("unknown option"), "{text}");
        }
    }

    #[test]
    fn certificates_are_pem_files_and_unused_ones_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        std::fs::write(base.join("root.pem"), "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n")
            .unwrap();
        std::fs::write(base.join("trust.jks"), [0xfe, 0xed, 0xfe, 0xed]).unwrap();
        let pg = |text: &str| postgres(&options(text), base);
        let my = |text: &str| mysql(&options(text), base);
        let root = Some(base.join("root.pem"));
        assert_eq!(pg("sslmode=verify-full&sslrootcert=root.pem").unwrap().tls.root, root);
        assert_eq!(pg("sslmode=require&sslrootcert=root.pem").unwrap().tls.mode, TlsMode::VerifyCa);
        assert!(pg("sslmode=prefer&sslrootcert=root.pem").unwrap_err().contains("nothing is verified"));
        assert!(pg("sslmode=verify-ca&sslrootcert=none.pem").unwrap_err().contains("cannot read"));
        assert!(pg("sslmode=require&sslcert=root.pem").unwrap_err().contains("require each other"));
        let url = format!("file://{}", base.join("root.pem").display());
        assert_eq!(my(&format!("sslMode=VERIFY_CA&trustCertificateKeyStoreUrl={url}")).unwrap().tls.root, root);
        let jks = format!("sslMode=VERIFY_CA&trustCertificateKeyStoreUrl=file:{}", base.join("trust.jks").display());
        assert!(my(&jks).unwrap_err().contains("not a PEM file"));
    }

    #[test]
    fn named_statements_can_be_disabled() {
        assert!(!pg("").unwrap().unnamed_statements);
        assert!(!pg("prepareThreshold=5").unwrap().unnamed_statements);
        assert!(pg("prepareThreshold=0").unwrap().unnamed_statements);
        assert!(pg("preferQueryMode=simple").unwrap().unnamed_statements);
        assert!(pg("prepareThreshold=x").is_err());
        assert!(pg("prepareThreshold=0&currentSchema=k").unwrap_err().contains("ALTER ROLE"));
    }
}
