//! The certificate that a server sends, and the versions of TLS that it offers. No request is made here, so that nothing
//! secret reaches a server that cannot prove who it is.

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};

use super::Finding;

/// Certificates are renewed by then: Let's Encrypt's clients do it thirty days before the end.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

const PATIENCE: Duration = Duration::from_secs(10);

/// Whom to believe: Mozilla's list, or the certificates of a file.
#[derive(Clone)]
pub(crate) struct Roots {
    store: Arc<RootCertStore>,
    /// Those of the file.
    pub(super) own: Vec<CertificateDer<'static>>,
}

impl Roots {
    pub(crate) fn mozilla() -> Roots {
        let store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Roots { store: Arc::new(store), own: Vec::new() }
    }

    /// The certificates of a PEM file.
    pub(crate) fn of(file: &Path) -> anyhow::Result<Roots> {
        let name = file.display();
        let own = CertificateDer::pem_file_iter(file).with_context(|| format!("cannot read {name}"))?;
        let own = own.collect::<Result<Vec<_>, _>>().with_context(|| format!("{name}: not PEM"))?;
        ensure!(!own.is_empty(), "{name} has no certificate");
        let mut store = RootCertStore::empty();
        for root in &own {
            store.add(root.clone()).with_context(|| format!("{name}: not a certificate"))?;
        }
        Ok(Roots { store: Arc::new(store), own })
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots").field("roots", &self.store.len()).finish_non_exhaustive()
    }
}

/// Looks at the certificate that is sent from this address for this name.
pub(super) fn look(address: SocketAddr, name: &str, roots: &Roots) -> Finding {
    let Ok(server_name) = ServerName::try_from(name.to_owned()) else {
        return Finding::fault("tls", format!("{name} is no name of a server"), "give a host name");
    };
    let offered = [&TLS12, &TLS13].map(|version| shake_hands(address, &server_name, version));
    let (chain, is_modern_only) = match offered {
        [Ok(chain), _] => (chain, false),
        [Err(_), Ok(chain)] => (chain, true),
        [Err(error), Err(_)] => {
            let help = "the server must support TLS on this port, in version 1.2 or 1.3";
            return Finding::fault("tls", format!("{address}: {error:#}"), help);
        }
    };
    judge(&chain, name, &server_name, roots).unwrap_or_else(|| match is_modern_only {
        true => Finding::warning(
            "tls",
            "the server supports TLS 1.3 only",
            "offer TLS 1.2, too: it is not documented that Safaricom's gateway supports 1.3",
        ),
        false => Finding::fine("tls", "the certificate is valid, with the chain that is sent; TLS 1.2 is offered"),
    })
}

/// Returns the chain that the server sends, whatever it is worth.
fn shake_hands(
    address: SocketAddr,
    name: &ServerName<'static>,
    version: &'static SupportedProtocolVersion,
) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let provider = Arc::new(default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[version])?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(JudgedLater(provider)));
    let mut connection = ClientConnection::new(Arc::new(config.with_no_client_auth()), name.clone())?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(connection.peer_certificates().context("the server sends no certificate")?.to_vec())
}

/// Returns what is wrong with a chain.
fn judge(chain: &[CertificateDer<'_>], name: &str, server_name: &ServerName<'_>, roots: &Roots) -> Option<Finding> {
    let (own, others) = chain.split_first()?;
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.store.clone(), Arc::new(default_provider()));
    let verifier = verifier.build().ok()?;
    let at = |time: UnixTime| verifier.verify_server_cert(own, others, server_name, &[], time).err();
    let now = UnixTime::now();
    let Some(error) = at(now) else {
        let soon = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + SOON);
        return at(soon).map(|_| {
            Finding::warning("tls", "the certificate expires within 14 days", "renew it; is the renewal automatic?")
        });
    };
    let (seen, help) = match error {
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            ("the certificate has expired".to_owned(), "renew it, and let the server read it again")
        }
        Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            ("the certificate is not valid yet".to_owned(), "look at the clocks")
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => {
            (format!("the certificate is not for {name}"), "get one for this name, or give Daraja the name that it has")
        }
        Error::InvalidCertificate(CertificateError::UnknownIssuer) if others.is_empty() => (
            "the server sends its certificate without that of its issuer, or it has signed it itself".to_owned(),
            "serve the whole chain: browsers fetch what is missing, a gateway does not (nginx: fullchain.pem)",
        ),
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => (
            "no issuer of the chain is on the list".to_owned(),
            "use an issuer that browsers know, such as Let's Encrypt",
        ),
        error => (error.to_string(), "the certificate must be valid, for this name, and sent with its whole chain"),
    };
    Some(Finding::fault("tls", seen, help))
}

/// Takes every certificate: it is looked at after the handshake, and nothing is sent over the connection.
#[derive(Debug)]
struct JudgedLater(Arc<CryptoProvider>);

impl ServerCertVerifier for JudgedLater {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
