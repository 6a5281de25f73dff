//! Those who come from elsewhere: over TLS, from a page of another site, through a proxy, and while the server ends.

mod service;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gigaro_models::gpt::WeightFormat;
use gigaro_serve::server::{Access, Front, Server, Settings, Tls};
use service::{long, model, raw, request, serve, settings, source, until};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A certificate for this machine and its key, written to two files.
fn certify(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("made");
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).expect("written");
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
    made.cert.der().clone()
}

fn tls(folder: &Path) -> Result<Arc<Tls>, gigaro_serve::server::TlsError> {
    Tls::read(&folder.join("cert.pem"), &folder.join("key.pem"))
}

/// What is answered to bytes that are sent encrypted, to a server that has this certificate.
fn encrypted(address: SocketAddr, trusted: &CertificateDer<'static>, text: &str) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
    let stream = TcpStream::connect(address).expect("connects");
    let mut stream = StreamOwned::new(connection, stream);
    stream.write_all(text.as_bytes()).ok()?;
    let mut answer = Vec::new();
    // A peer that ends without saying so is reported after everything was read.
    let _ = stream.read_to_end(&mut answer);
    Some(String::from_utf8_lossy(&answer).into_owned())
}

fn with_front(front: Front) -> Server {
    serve(Settings {
        front,
        ..settings()
    })
}

#[test]
fn requests_are_answered_over_tls_and_a_new_certificate_is_taken_while_it_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = certify(folder.path());
    let server = with_front(Front {
        tls: Some(tls(folder.path()).expect("a pair")),
        ..Front::default()
    });
    let body = long(5, true).to_string();
    let text = request("POST", "/v1/completions", "", &body);
    let answer = encrypted(server.address(), &first, &text).expect("an answer");
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("data: [DONE]"),
        "{answer}"
    );
    // Who speaks no TLS gets nothing, and disturbs nobody.
    assert_eq!(raw(server.address(), text.as_bytes()).status, 0);
    let second = certify(folder.path());
    let text = request("GET", "/health", "", "");
    until(|| encrypted(server.address(), &second, &text).is_some_and(|a| a.contains(" 200 ")));
    assert_eq!(encrypted(server.address(), &first, &text), None);
    // Half of a change breaks nothing.
    std::fs::write(folder.path().join("key.pem"), "no key").expect("written");
    std::thread::sleep(Duration::from_millis(1500));
    assert!(encrypted(server.address(), &second, &text).is_some());
}

#[test]
fn files_that_give_no_tls_are_refused_with_their_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = || tls(folder.path()).expect_err("refused").to_string();
    assert!(said().contains("cert.pem"), "{}", said());
    certify(folder.path());
    let other = tempfile::tempdir().expect("a folder");
    certify(other.path());
    std::fs::copy(other.path().join("key.pem"), folder.path().join("key.pem")).expect("copied");
    assert!(said().contains("cannot be used together"), "{}", said());
    std::fs::write(folder.path().join("cert.pem"), "nothing").expect("written");
    assert!(said().contains("no certificate"), "{}", said());
}

#[test]
fn pages_of_other_sites_are_let_in_by_name_only() {
    let closed = serve(settings());
    let open = with_front(Front {
        cors_origins: vec!["https://app.example".parse().expect("an origin")],
        ..Front::default()
    });
    let ask = |server: &Server, method: &str, origin: &str| {
        let more = format!(
            "Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n"
        );
        let body = if method == "POST" {
            long(1, false).to_string()
        } else {
            String::new()
        };
        let answer = raw(
            server.address(),
            request(method, "/v1/completions", &more, &body).as_bytes(),
        );
        (answer.status, answer.headers.to_ascii_lowercase())
    };
    let allows = "access-control-allow-origin: https://app.example";
    for method in ["OPTIONS", "POST"] {
        let (status, headers) = ask(&open, method, "https://app.example");
        assert_eq!(status, 200, "{method}: {headers}");
        assert!(headers.contains(allows), "{method}: {headers}");
        assert!(!headers.contains("allow-credentials"), "{headers}");
        for (server, origin) in [
            (&open, "https://evil.example"),
            (&closed, "https://app.example"),
        ] {
            let (status, headers) = ask(server, method, origin);
            assert!(method == "OPTIONS" || status == 403, "{status}");
            assert!(
                !headers.contains("access-control-allow-origin"),
                "{headers}"
            );
        }
    }
    let (_, headers) = ask(&open, "OPTIONS", "https://app.example");
    assert!(
        headers.contains("access-control-allow-headers: authorization"),
        "{headers}"
    );
    let (_, headers) = ask(&open, "POST", "https://app.example");
    assert!(
        headers.contains("x-ratelimit-remaining-requests"),
        "told to pages: {headers}"
    );
}

#[test]
fn the_page_works_behind_a_proxy_that_has_tls_if_its_address_is_known() {
    let behind = |public: Option<&str>| {
        serve(Settings {
            access: Access::Anyone,
            front: Front {
                public_url: public.map(|url| url.parse().expect("an origin")),
                ..Front::default()
            },
            ..settings()
        })
    };
    let body = long(1, false).to_string();
    let from = |server: &Server, host: &str| {
        let text = request(
            "POST",
            "/v1/completions",
            "Origin: https://chat.example\r\n",
            &body,
        );
        raw(server.address(), text.replace("127.0.0.1", host).as_bytes()).status
    };
    // A proxy may pass the name on, or name the server as it knows it.
    let (known, unknown) = (behind(Some("https://chat.example")), behind(None));
    assert_eq!(
        (from(&known, "chat.example"), from(&known, "10.1.2.3:8000")),
        (200, 200)
    );
    assert_eq!(
        (
            from(&unknown, "chat.example"),
            from(&unknown, "10.1.2.3:8000")
        ),
        (200, 403)
    );
    // Others reach it then, and something has to keep them out.
    let settings = Settings {
        front: Front {
            public_url: Some("https://chat.example".parse().expect("an origin")),
            ..Front::default()
        },
        ..settings()
    };
    let source = source("small", model(), WeightFormat::F32, Duration::ZERO);
    let host = std::net::Ipv4Addr::LOCALHOST.into();
    let refused = Server::start(host, 0, vec![source], settings, None).err();
    let said = refused.expect("refused").to_string();
    assert!(
        said.contains("--public-url") && said.contains("--api-key-file"),
        "{said}"
    );
}

#[test]
fn a_server_that_is_to_end_says_so_and_answers_until_it_was_heard() {
    let server = with_front(Front {
        drain_delay: Duration::from_millis(700),
        ..Front::default()
    });
    server.drain();
    let health = raw(
        server.address(),
        request("GET", "/health", "", "").as_bytes(),
    );
    assert_eq!(health.status, 503);
    let live = raw(
        server.address(),
        request("GET", "/health/live", "", "").as_bytes(),
    );
    assert_eq!(live.status, 200);
    let body = long(2, false).to_string();
    let late = raw(
        server.address(),
        request("POST", "/v1/completions", "", &body).as_bytes(),
    );
    assert_eq!(late.status, 200);
    until(|| server.is_finished());
}
