//! Where the daemon is asked: a port, with TLS or without, and a unix socket if that is wanted.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ccm_core::{Error, ErrorKind, Result};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use crate::machine::Home;
use crate::machine::config::{TlsFiles, WebUiSettings};

/// The longest path that a unix socket can have everywhere.
const MOST_PATH: usize = 103;
/// The socket of a daemon that speaks TLS, if the config names no other.
const SOCKET: &str = "ccm.sock";

/// What the daemon listens at.
pub struct Listeners {
    pub(super) port: TcpListener,
    address: SocketAddr,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) socket: Option<Socket>,
}

impl std::fmt::Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listeners")
            .field("address", &self.address)
            .field("tls", &self.tls.is_some())
            .field("socket", &self.socket())
            .finish_non_exhaustive()
    }
}

impl Listeners {
    /// What `wanted` says. Held from before anything else is touched: a daemon without its port changes nothing.
    ///
    /// # Errors
    /// With a sentence for a person.
    pub async fn open(home: &Home, wanted: &WebUiSettings) -> Result<Self> {
        let address = wanted.listen_address();
        let tls = wanted.tls.as_ref().map(acceptor).transpose()?;
        let is_remote_meant = tls.is_some() && wanted.allow_remote;
        if !address.ip().is_loopback() && !is_remote_meant {
            return Err(Error::invalid(format!(
                "web_ui.host is {}, and other machines are served with web_ui.tls and web_ui.allow_remote alone; run `ccm \
                 config set web_ui.host 127.0.0.1`",
                address.ip()
            )));
        }
        let port = TcpListener::bind(address)
            .await
            .map_err(|error| no_listener(address, error))?;
        // Programs of this machine ask there, because a certificate is for a name that others know it by.
        let usual = tls.as_ref().map(|_| home.dir().join(SOCKET));
        let socket = wanted.socket.clone().or(usual);
        let socket = socket.map(|path| Socket::open(home, path)).transpose()?;
        Ok(Self {
            tls,
            socket,
            ..Self::at(port)?
        })
    }

    /// A port alone, without TLS.
    ///
    /// # Errors
    /// When the port can't be asked for.
    pub fn at(port: TcpListener) -> Result<Self> {
        let address = port
            .local_addr()
            .map_err(|error| Error::internal("the port can't be asked for").with_source(error))?;
        Ok(Self {
            port,
            address,
            tls: None,
            socket: None,
        })
    }

    /// The port's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the port speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The path of the unix socket.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_ref().map(|socket| &*socket.path)
    }
}

/// A unix socket for this user alone. It is removed when this is dropped.
pub(super) struct Socket {
    pub(super) listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    fn open(home: &Home, path: PathBuf) -> Result<Self> {
        let shown = path.display();
        if path.as_os_str().len() > MOST_PATH {
            return Err(Error::invalid(format!(
                "web_ui.socket: {shown} has more than {MOST_PATH} bytes, which no unix socket may have; name a shorter path"
            )));
        }
        let failed = |error: io::Error| {
            Error::new(
                ErrorKind::Unavailable,
                format!("web_ui.socket: {shown} can't be listened at"),
            )
            .with_source(error)
        };
        match std::fs::symlink_metadata(&path) {
            Ok(there) if !there.file_type().is_socket() => {
                return Err(Error::invalid(format!(
                    "web_ui.socket: {shown} is there and is no socket; remove it or name another path"
                )));
            }
            // Who has the home's lock is the only one to listen there; another home's daemon still answers at its own.
            Ok(_) if std::os::unix::net::UnixStream::connect(&path).is_ok() => {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    format!(
                        "web_ui.socket: somebody listens at {shown} already; end that or name another path"
                    ),
                ));
            }
            _ => {}
        }
        // Made where nobody else can go, so that it is never there with a wider mode than its last one.
        let made = home.run_dir().join("new.sock");
        match std::fs::remove_file(&made) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&made).map_err(failed)?;
        std::fs::set_permissions(&made, PermissionsExt::from_mode(0o600)).map_err(failed)?;
        std::fs::rename(&made, &path).map_err(failed)?;
        Ok(Self { listener, path })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // One that stays is noticed by the next daemon.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor> {
    let bad = |key: &str, path: &Path, what: String| {
        Error::invalid(format!("{key}: {} {what}", path.display()))
    };
    let cert = |what: String| bad("web_ui.tls.cert", &files.cert, what);
    let key = |what: String| bad("web_ui.tls.key", &files.key, what);
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(|e| cert(format!("can't be read as PEM: {e}")))?;
    if chain.is_empty() {
        return Err(cert(
            "has no certificate (`-----BEGIN CERTIFICATE-----`)".to_owned(),
        ));
    }
    let private = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|e| key(format!("has no private key in PEM: {e}")))?;
    let mode = std::fs::metadata(&files.key).map_or(0, |meta| meta.permissions().mode());
    if mode & 0o077 != 0 {
        tracing::warn!(
            "others can read the key {}; `chmod 600` it",
            files.key.display()
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(chain, private)
        })
        .map_err(|e| cert(format!("and web_ui.tls.key don't go together: {e}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn no_listener(address: SocketAddr, error: io::Error) -> Error {
    let port = address.port();
    let mut kind = ErrorKind::Unavailable;
    let message = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {port} of {} is taken, maybe by the daemon of another machine home or by another program (`ss -ltnp \
             'sport = :{port}'` or `lsof -i :{port}` tells); end that, or run `ccm config set web_ui.port PORT` with \
             another one",
            address.ip()
        ),
        io::ErrorKind::PermissionDenied => {
            // It will not be on another try either.
            kind = ErrorKind::Invalid;
            format!(
                "port {port} is not for this user; run `ccm config set web_ui.port PORT` with one from 1024 on"
            )
        }
        _ => format!("{address} can't be listened at; web_ui.host and web_ui.port say where"),
    };
    Error::new(kind, message).with_source(error)
}
