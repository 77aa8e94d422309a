//! The doctor before servers with real certificates, each with one defect.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion, version};
use serde_json::Value;

const PATH: &str = "/pay/00112233445566778899aabbccddeeff/stk";

/// An issuer, and its certificate.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

impl Authority {
    /// One that has signed itself, or was signed by another.
    fn new(name: &str, by: Option<&Authority>) -> Authority {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = match by {
            Some(by) => params.signed_by(&key, &by.issuer),
            None => params.self_signed(&key),
        };
        let certificate = certificate.expect("a certificate");
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Authority { issuer: Issuer::new(params, key), certificate: der, pem }
    }
}

/// What is odd about a server.
#[derive(Clone, Copy, PartialEq)]
enum Odd {
    Nothing,
    Expired,
    ExpiresSoon,
    OtherName,
    WithoutItsIssuer,
    SignedByItself,
    ModernOnly,
}

/// Starts a server that answers as our inbox does, and returns its port.
fn serve(odd: Odd, root: &Authority) -> u16 {
    let middle = Authority::new("middle", Some(root));
    let name = if odd == Odd::OtherName { "other.example.com" } else { "localhost" };
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    match odd {
        Odd::Expired => params.not_after = date_time_ymd(2020, 1, 1),
        Odd::ExpiresSoon => {
            let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(5 * 24 * 60 * 60);
            params.not_after = soon.into();
        }
        _ => {}
    }
    let key = KeyPair::generate().expect("a key");
    let certificate = match odd {
        Odd::SignedByItself => params.self_signed(&key),
        _ => params.signed_by(&key, &middle.issuer),
    };
    let mut chain = vec![certificate.expect("a certificate").der().clone()];
    if !matches!(odd, Odd::WithoutItsIssuer | Odd::SignedByItself) {
        chain.push(middle.certificate.clone());
    }
    let all: &[&SupportedProtocolVersion] = &[&version::TLS12, &version::TLS13];
    let versions = if odd == Odd::ModernOnly { &all[1..] } else { all };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("versions");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).expect("a chain"));

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let config = config.clone();
            thread::spawn(move || {
                let connection = ServerConnection::new(config).expect("a connection");
                let mut stream = StreamOwned::new(connection, stream);
                let mut request = Vec::new();
                let mut buffer = [0; 1024];
                while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                    match stream.read(&mut buffer) {
                        // The doctor ends a handshake that it only looks at.
                        Ok(0) | Err(_) => return,
                        Ok(count) => request.extend_from_slice(&buffer[..count]),
                    }
                }
                let is_ours = request.starts_with(format!("GET {PATH} ").as_bytes());
                let status = if is_ours { "405 Method Not Allowed" } else { "404 Not Found" };
                let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            });
        }
    });
    port
}

/// Returns what the doctor says of TLS, and the ids of all that is odd.
fn look(port: u16, roots: Option<&Path>) -> (String, Vec<String>) {
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_daraja"));
    doctor.args(["doctor", "--json", &format!("https://localhost:{port}{PATH}")]);
    if let Some(roots) = roots {
        doctor.arg("--roots").arg(roots);
    }
    let output = doctor.output().expect("it runs");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let findings: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let tls = findings.iter().find(|finding| finding["id"] == "tls").map(|finding| text(&finding["seen"]));
    let odd = findings.iter().filter(|finding| finding["severity"] != "ok").map(|finding| text(&finding["id"]));
    // The server of a test is not public.
    (tls.unwrap_or_default(), odd.filter(|id| id != "host").collect())
}

#[test]
fn each_certificate_with_a_defect_has_its_finding() {
    let root = Authority::new("root", None);
    let directory = tempfile::tempdir().expect("a directory");
    let roots = directory.path().join("root.pem");
    std::fs::write(&roots, &root.pem).expect("a file");
    for (odd, says) in [
        (Odd::Expired, "has expired"),
        (Odd::ExpiresSoon, "expires within 14 days"),
        (Odd::OtherName, "is not for localhost"),
        (Odd::WithoutItsIssuer, "without that of its issuer"),
        (Odd::SignedByItself, "signed it itself"),
        (Odd::ModernOnly, "TLS 1.3 only"),
    ] {
        let (seen, ids) = look(serve(odd, &root), Some(&roots));
        assert!(seen.contains(says), "{says}: {seen}");
        assert_eq!(ids, ["tls"], "{says}");
    }
    let port = serve(Odd::Nothing, &root);
    let (seen, ids) = look(port, Some(&roots));
    assert!(seen.contains("is valid") && ids.is_empty(), "{seen} {ids:?}");
    // Mozilla does not know this issuer.
    let (seen, ids) = look(port, None);
    assert!(seen.contains("no issuer of the chain"), "{seen}");
    assert_eq!(ids, ["tls"]);
}
