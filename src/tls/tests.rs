//! The room as its clients see it: certificates from disk, and handshakes by OpenSSL's and rustls' clients with
//! workers on threads of their own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::{ServerConfig, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::acceptor::is_resumed;
use super::connector::Connector;
use super::resolver::CertificateResolver;
use super::selfsigned::{DEMO_NAMES, self_signed};
use super::tickets::KeySource;
use super::*;
use crate::config::model::{BindTls, TlsGlobal, TlsOffer, TlsVersion};
use crate::core::tls::{ServerTls, Verify};

const ECDSA: &rcgen::SignatureAlgorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
const RSA: &rcgen::SignatureAlgorithm = &rcgen::PKCS_RSA_SHA256;

/// Chain and key in PEM, the common name telling certificates apart.
fn pair(common_name: &str, names: &[&str], algorithm: &'static rcgen::SignatureAlgorithm) -> (String, String) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn resumption() -> Arc<Resumption> {
    let spec = TlsGlobal::own(1000, Duration::from_secs(3600));
    let clocks = Clocks { monotonic: Arc::new(|| Duration::ZERO), wall: Arc::new(|| Duration::ZERO) };
    Resumption::new(&spec, &KeySource::Own, clocks).unwrap()
}

fn offer(min_version: TlsVersion, max_version: TlsVersion) -> BindTls {
    BindTls { offer: TlsOffer { min_version, max_version, ..TlsOffer::default() }, ..BindTls::of(&[]) }
}

fn config_of(context: &str, shared: &Arc<Resumption>, store: &CertificateStore) -> Arc<ServerConfig> {
    server_config(&offer(TlsVersion::V1_2, TlsVersion::V1_3), context, shared, store).unwrap()
}

/// A thread that does handshakes and tells each client whether it resumed.
struct Worker {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(config: Arc<ServerConfig>) -> Worker {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = serve(tokio::net::TcpListener::from_std(listener).unwrap(), config) => {}
                    _ = stopped => {}
                }
            });
        });
        Worker { address, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

async fn serve(listener: tokio::net::TcpListener, config: Arc<ServerConfig>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        if let Ok(mut stream) = accept(&config, stream).await {
            let line = format!("resumed={}\n", is_resumed(&stream));
            let _ = stream.write_all(line.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    }
}

/// Runs `openssl s_client` against a worker until the worker closes; both outputs together.
fn s_client(to: &Worker, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-ign_eof", "-connect", &to.address.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed (apt-get install openssl)");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[track_caller]
fn assert_has(output: &str, expected: &str) {
    assert!(output.contains(expected), "{expected:?} is not in:\n{output}");
}

#[test]
fn certificates_load_from_the_forms_people_use() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = pair("one", &["One.Example", "*.one.example"], ECDSA);
    let both = write(folder.path(), "both.pem", &(chain.clone() + &key));
    let key_first = write(folder.path(), "key-first.pem", &(key.clone() + &chain));
    let beside = write(folder.path(), "beside.crt", &chain);
    write(folder.path(), "beside.key", &key);
    let appended = write(folder.path(), "appended.pem", &chain);
    write(folder.path(), "appended.pem.key", &key);
    for path in [both, key_first, beside, appended] {
        let store = CertificateStore::load(std::slice::from_ref(&path)).unwrap();
        let [certificate] = store.certificates() else { panic!("{path:?} gave {store:?}") };
        assert_eq!(certificate.path, path);
        assert_eq!(certificate.names, ["one.example".into(), "*.one.example".into()], "lower-case, as in the file");
        assert!(certificate.not_after > 4_000_000_000);
    }

    let (named, named_key) = pair("named.example", &[], RSA);
    let site = write(folder.path(), "by-common-name.pem", &(named + &named_key));
    assert_eq!(CertificateStore::load(&[site]).unwrap().certificates()[0].names, ["named.example".into()]);
}

#[test]
fn folders_give_their_certificates_in_order() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["c", "a", "b"] {
        let (chain, key) = pair(name, &[&format!("{name}.example")], ECDSA);
        write(folder.path(), &format!("{name}.pem"), &(chain + &key));
    }
    let (chain, key) = pair("d", &["d.example"], ECDSA);
    write(folder.path(), "d.crt", &chain);
    write(folder.path(), "d.key", &key);
    write(folder.path(), "e-key-alone.pem", &key);
    write(folder.path(), ".hidden.pem", "not read");
    write(folder.path(), "notes.txt", "not read");
    let (first, first_key) = pair("z", &["z.example"], ECDSA);
    let first = write(folder.path(), "z.combined", &(first + &first_key));
    let store = CertificateStore::load(&[first, folder.path().to_owned()]).unwrap();
    let names: Vec<&str> = store.certificates().iter().map(|certificate| &*certificate.names[0]).collect();
    assert_eq!(names, ["z.example", "a.example", "b.example", "c.example", "d.example"]);
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_with_its_file_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = pair("one", &["one.example"], ECDSA);
    let (_, other_key) = pair("other", &["other.example"], ECDSA);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let junk = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let check = |path: PathBuf, expected: &str| {
        let text = CertificateStore::load(std::slice::from_ref(&path)).unwrap_err().to_string();
        assert!(text.contains(path.to_str().unwrap()), "{text}");
        assert!(text.contains(expected), "{text}");
    };
    check(folder.path().join("absent.pem"), "No such file or directory");
    check(write(folder.path(), "alone.pem", &chain), "put it beside it as");
    check(write(folder.path(), "mismatch.pem", &(chain.clone() + &other_key)), "must come first in the chain");
    check(write(folder.path(), "encrypted.pem", &(chain.clone() + encrypted)), "without a pass phrase");
    check(write(folder.path(), "key-alone.pem", &key), "holds no certificate");
    check(write(folder.path(), "text.pem", "hello"), "holds no certificate");
    check(write(folder.path(), "cut.pem", &(key.clone() + &chain[..chain.len() - 30])), "not a well-formed PEM file");
    check(write(folder.path(), "junk.pem", &(junk.to_owned() + &key)), "cannot be parsed");
    check(write(folder.path(), "large.pem", &" ".repeat(1024 * 1024 + 1)), "larger than 1 MiB");
    check(empty, "holds no .pem or .crt file");
    assert_eq!(CertificateStore::load(&[]).unwrap_err().to_string(), CertificateError::None.to_string());
}

#[test]
fn the_name_asked_for_chooses_the_certificate_and_the_client_its_kind() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("default-rsa", &["example.com", "www.example.com"][..], RSA),
        ("default-ecdsa", &["example.com"][..], ECDSA),
        ("wild", &["*.example.com"][..], ECDSA),
        ("deep", &["a.b.example.com"][..], RSA),
    ];
    let paths: Vec<PathBuf> = files
        .iter()
        .map(|(name, names, algorithm)| {
            let (chain, key) = pair(name, names, algorithm);
            write(folder.path(), name, &(chain + &key))
        })
        .collect();
    let store = CertificateStore::load(&paths).unwrap();
    let resolver = CertificateResolver::new(&store);
    let all = &[SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256][..];
    let rsa = &[SignatureScheme::RSA_PSS_SHA256][..];
    let check = |name: Option<&str>, schemes: &[SignatureScheme], expected: &str| {
        let picked = resolver.pick(name, schemes).unwrap();
        let found = store.certificates().iter().find(|each| Arc::ptr_eq(&each.key, &picked)).unwrap();
        assert_eq!(found.path.file_name().unwrap(), expected, "{name:?} with {schemes:?}");
    };
    check(Some("example.com"), all, "default-ecdsa");
    check(Some("example.com"), rsa, "default-rsa");
    check(Some("EXAMPLE.com."), rsa, "default-rsa");
    check(Some("www.example.com"), all, "default-rsa");
    check(Some("other.example.com"), all, "wild");
    check(Some("a.b.example.com"), all, "deep");
    check(Some("c.b.example.com"), all, "default-ecdsa");
    check(Some("nobody.test"), rsa, "default-rsa");
    check(Some("com"), all, "default-ecdsa");
    check(Some(""), all, "default-ecdsa");
    check(None, all, "default-ecdsa");
    check(None, rsa, "default-rsa");
    check(Some("other.example.com"), rsa, "wild");
}

#[test]
fn openssl_gets_the_certificate_it_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    for (name, names, algorithm) in [
        ("0-first", &["first.example"][..], ECDSA),
        ("1-rsa", &["both.example"][..], RSA),
        ("2-ecdsa", &["both.example"][..], ECDSA),
        ("3-wild", &["*.wild.example"][..], ECDSA),
    ] {
        let (chain, key) = pair(name, names, algorithm);
        write(folder.path(), &format!("{name}.pem"), &(chain + &key));
    }
    let store = CertificateStore::load(&[folder.path().to_owned()]).unwrap();
    let worker = Worker::start(config_of("bind", &resumption(), &store));
    let check = |arguments: &[&str], subject: &str| {
        let output = s_client(&worker, arguments);
        assert_has(&output, &format!("subject=CN = {subject}"));
        assert_has(&output, "resumed=false");
        assert!(!output.contains("ECDSA+SHA256:handshake failure"));
    };
    check(&["-noservername"], "0-first");
    check(&["-servername", "unknown.example"], "0-first");
    check(&["-servername", "Some.Wild.example"], "3-wild");
    check(&["-servername", "both.example"], "2-ecdsa");
    check(&["-servername", "both.example", "-sigalgs", "rsa_pss_rsae_sha256"], "1-rsa");
    check(&["-servername", "both.example", "-sigalgs", "ECDSA+SHA256"], "2-ecdsa");
    check(&["-servername", "both.example", "-tls1_2"], "2-ecdsa");
    check(&["-servername", "both.example", "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "1-rsa");
    assert_has(&s_client(&worker, &["-alpn", "http/1.1,h2"]), "ALPN protocol: h2");
    assert_has(&s_client(&worker, &["-alpn", "http/1.1"]), "ALPN protocol: http/1.1");
}

#[test]
fn openssl_resumes_at_another_worker_by_id_and_by_ticket() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = pair("one", &["one.example"], ECDSA);
    let store = CertificateStore::load(&[write(folder.path(), "one.pem", &(chain + &key))]).unwrap();
    let shared = resumption();
    let first = Worker::start(config_of("public 0.0.0.0:443", &shared, &store));
    // As after a reload: built anew, of certificates loaded anew.
    let (renewed, renewed_key) = pair("renewed", &["one.example"], ECDSA);
    let renewed = CertificateStore::load(&[write(folder.path(), "two.pem", &(renewed + &renewed_key))]).unwrap();
    let second = Worker::start(config_of("public 0.0.0.0:443", &shared, &renewed));
    let elsewhere = Worker::start(config_of("intern 0.0.0.0:8443", &shared, &store));

    let session = folder.path().join("session");
    let session = session.to_str().unwrap();
    for form in [&["-tls1_2", "-no_ticket"][..], &["-tls1_2"][..], &["-tls1_3"][..]] {
        let with = |more: &[&'static str]| {
            let mut arguments = form.to_vec();
            arguments.extend(["-servername", "one.example"]);
            arguments.extend(more);
            arguments.push(session);
            arguments
        };
        let output = s_client(&first, &with(&["-sess_out"]));
        assert_has(&output, "resumed=false");
        let output = s_client(&second, &with(&["-sess_in"]));
        assert_has(&output, "resumed=true");
        assert_has(&output, "Reused, TLSv1.");
        let output = s_client(&first, &with(&["-sess_in"]));
        assert_has(&output, "resumed=true");
        assert_has(&s_client(&elsewhere, &with(&["-sess_in"])), "resumed=false");

        let mut other_name = form.to_vec();
        other_name.extend(["-servername", "two.example", "-sess_in", session]);
        assert_has(&s_client(&first, &other_name), "resumed=false");
    }
    assert!(shared.sessions() > 0);
}

#[test]
fn versions_out_of_the_range_are_refused() {
    let store = CertificateStore::from_pem(Path::new("made"), self_signed(&DEMO_NAMES).unwrap().as_bytes()).unwrap();
    let shared = resumption();
    let old = Worker::start(config_of("bind", &shared, &store));
    for version in ["-tls1", "-tls1_1"] {
        // Which alert depends on what the old hello lacks first; that one comes shows that the server refused.
        let output = s_client(&old, &[version, "-cipher", "DEFAULT@SECLEVEL=0"]);
        assert_has(&output, "SSL alert number");
        assert!(!output.contains("resumed="), "{output}");
    }
    assert_has(&s_client(&old, &["-tls1_2"]), "resumed=false");

    let only = |version| server_config(&offer(version, version), "bind", &shared, &store).unwrap();
    let new_only = Worker::start(only(TlsVersion::V1_3));
    assert_has(&s_client(&new_only, &["-tls1_2"]), "alert protocol version");
    assert_has(&s_client(&new_only, &["-tls1_3"]), "resumed=false");
    let old_only = Worker::start(only(TlsVersion::V1_2));
    assert_has(&s_client(&old_only, &["-tls1_3"]), "alert protocol version");
    let none = server_config(&offer(TlsVersion::V1_3, TlsVersion::V1_2), "bind", &shared, &store);
    assert!(none.unwrap_err().to_string().contains("swap them"));
}

#[tokio::test]
async fn connectors_verify_and_resume() {
    let folder = tempfile::tempdir().unwrap();
    let pem = self_signed(&DEMO_NAMES).unwrap();
    let trusted = write(folder.path(), "trusted.pem", &pem);
    let store = CertificateStore::from_pem(&trusted, pem.as_bytes()).unwrap();
    let worker = Worker::start(config_of("bind", &resumption(), &store));
    let strict = |name: &str, verify| Arc::new(ServerTls { verify, ..ServerTls::strict("web/s1", Some(name.into())) });
    let talk = async |connector: &Connector, afresh: bool| -> Result<String, String> {
        let tcp = tokio::net::TcpStream::connect(worker.address).await.unwrap();
        let shaken = match afresh {
            true => connector.connect_afresh(tcp).await,
            false => connector.connect(None, tcp).await,
        };
        let mut stream = shaken.map_err(|error| verifier::sentence(&error))?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.map_err(|error| error.to_string())?;
        Ok(text)
    };

    for name in ["localhost", "127.0.0.1"] {
        let connector = Connector::new(&strict(name, Verify::Roots(trusted.clone()))).unwrap();
        assert_eq!(talk(&connector, false).await.unwrap(), "resumed=false\n");
        assert!(connector.sessions() > 0);
        assert_eq!(talk(&connector, false).await.unwrap(), "resumed=true\n");
        assert_eq!(talk(&connector, true).await.unwrap(), "resumed=false\n", "a check never resumes");
    }
    let bounded = Arc::new(ServerTls { sessions_max: 3, ..(*strict("localhost", Verify::Nothing)).clone() });
    let bounded = Connector::new(&bounded).unwrap();
    for _ in 0..3 {
        talk(&bounded, false).await.unwrap();
    }
    assert_eq!(bounded.sessions(), 3, "two tickets a handshake, one used");
    let elsewhere = Connector::new(&strict("elsewhere.example", Verify::Roots(trusted))).unwrap();
    assert!(talk(&elsewhere, false).await.unwrap_err().contains("not for elsewhere.example"));
    let anything = Connector::new(&strict("elsewhere.example", Verify::Nothing)).unwrap();
    assert_eq!(talk(&anything, false).await.unwrap(), "resumed=false\n");

    let refused = |settings: &Arc<ServerTls>| Connector::new(settings).unwrap_err().to_string();
    let text = refused(&strict("localhost", Verify::Roots(folder.path().join("absent.pem"))));
    assert!(text.contains("absent.pem"), "{text}");
    let empty = write(folder.path(), "empty.pem", "");
    assert!(refused(&strict("localhost", Verify::Roots(empty))).contains("holds no certificate"));
    let nameless = Arc::new(ServerTls::strict("web/s1", None));
    assert!(refused(&nameless).contains("add verify_host"));
}

#[tokio::test]
async fn failed_handshakes_are_called_as_haproxy_calls_them() {
    let store = CertificateStore::from_pem(Path::new("made"), self_signed(&DEMO_NAMES).unwrap().as_bytes()).unwrap();
    let config = config_of("bind", &resumption(), &store);
    for (bytes, phrase) in [
        (&b""[..], "Connection closed during SSL handshake"),
        (&b"\x16\x03\x01\x00\x50"[..], "Connection closed during SSL handshake"),
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "SSL handshake failure"),
        (&b"\x15\x03\x03\x00\x02\x02\x30"[..], "SSL handshake failure"),
    ] {
        let (mut client, server) = tokio::io::duplex(4096);
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let error = accept(&config, server).await.unwrap_err();
        assert_eq!(error.phrase(), phrase, "{bytes:?} gave {error}");
        assert!(error.to_string().starts_with(phrase));
    }
}
