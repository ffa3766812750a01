use std::fs;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::SignatureScheme;

use super::*;

const SCHEMES: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256];

/// Chain and key in PEM; the common name tells certificates apart.
fn pair(common_name: &str, names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

struct Lab {
    folder: tempfile::TempDir,
    certificates: Certificates,
    file_bind: Arc<LiveResolver>,
    folder_bind: Arc<LiveResolver>,
}

impl Lab {
    /// `one.pem` and `two.pem` in a folder; a bind with `one.pem`, another with the folder.
    fn new() -> Lab {
        let folder = tempfile::tempdir().unwrap();
        for name in ["one", "two"] {
            let (chain, key) = pair(name, &[&format!("{name}.test")]);
            fs::write(folder.path().join(format!("{name}.pem")), chain + &key).unwrap();
        }
        let mut certificates = Certificates::new();
        let file_bind =
            certificates.open_bind("frontend a, 127.0.0.1:1", &BindTls::of(&[folder.path().join("one.pem")])).unwrap();
        let folder_bind =
            certificates.open_bind("frontend b, 127.0.0.1:2", &BindTls::of(&[folder.path().to_owned()])).unwrap();
        Lab { folder, certificates, file_bind, folder_bind }
    }

    fn name(&self, file: &str) -> String {
        self.folder.path().join(file).display().to_string()
    }

    fn list(&self) -> String {
        self.folder.path().display().to_string()
    }

    fn set(&mut self, file: &str, pem: &str) -> Result<Prepared, String> {
        let name = self.name(file);
        self.certificates.set(&name, pem.as_bytes()).map_err(|refusal| refusal.to_string())
    }

    fn commit(&mut self, file: &str) -> Result<usize, String> {
        let name = self.name(file);
        self.certificates.commit(&name).map_err(|refusal| refusal.to_string())
    }
}

/// Whose certificate a client that asks for `name` gets.
fn subject(bind: &LiveResolver, name: &str) -> String {
    facts(&bind.pick(Some(name), SCHEMES).unwrap().cert).unwrap().subject
}

#[test]
fn a_commit_changes_every_bind_that_uses_the_certificate() {
    let mut lab = Lab::new();
    let (chain, key) = pair("renewed", &["one.test", "more.test"]);
    let name = lab.name("one.pem");
    assert_eq!(lab.set("one.pem", &(chain + &key)), Ok(Prepared { name: name.as_str().into(), created: true }));
    assert_eq!(lab.certificates.transaction(), Some(&*name));
    assert_eq!(subject(&lab.file_bind, "one.test"), "/CN=one", "nothing happens before the commit");
    assert_eq!(lab.commit("one.pem"), Ok(2));
    assert_eq!(lab.certificates.transaction(), None);
    for bind in [&lab.file_bind, &lab.folder_bind] {
        assert_eq!(subject(bind, "one.test"), "/CN=renewed");
        assert_eq!(subject(bind, "more.test"), "/CN=renewed", "its new names count");
    }
    assert_eq!(subject(&lab.folder_bind, "two.test"), "/CN=two");
    assert_eq!(lab.certificates.facts(&name).unwrap().1.unwrap().subject, "/CN=renewed");
}

#[test]
fn what_cannot_be_used_is_refused_and_the_old_certificate_stays() {
    let mut lab = Lab::new();
    let (chain, key) = pair("new", &["one.test"]);
    let (_, other_key) = pair("other", &["one.test"]);
    let name = lab.name("one.pem");
    let fails = |text: &str| format!("{text}\nCan't load the payload\nCan't update {name}!");
    for (pem, refusal) in [
        ("not a cert\n".to_owned(), fails(&format!("unable to load certificate from file '{name}': no start line."))),
        (key.clone(), fails(&format!("unable to load certificate from file '{name}': no start line."))),
        (
            format!("{chain}-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n"),
            fails(&format!(
                "unable to load private key from file '{name}': it is encrypted, store it without a pass phrase."
            )),
        ),
    ] {
        assert_eq!(lab.set("one.pem", &pem).unwrap_err(), refusal);
        assert_eq!(lab.certificates.transaction(), None);
    }
    for damaged in [
        format!("{chain}-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"),
        "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n".to_owned(),
        "-----BEGIN CERTIFICATE-----\n?*\n-----END CERTIFICATE-----\n".to_owned(),
    ] {
        let refusal = lab.set("one.pem", &damaged).unwrap_err();
        assert!(refusal.ends_with(&fails("")) && refusal.starts_with("unable to load "), "{refusal}");
    }
    lab.set("one.pem", &chain).unwrap();
    let incomplete =
        format!("The transaction must contain at least a certificate and a private key!\nCan't commit {name}!");
    assert_eq!(lab.commit("one.pem").unwrap_err(), incomplete);
    assert_eq!(lab.set("one.pem", &(chain + &other_key)).map(|p| p.created), Ok(false));
    let mismatch =
        format!("inconsistencies between private key and certificate loaded '{name}'.\nCan't commit {name}!");
    assert_eq!(lab.commit("one.pem").unwrap_err(), mismatch);
    assert_eq!(lab.certificates.transaction(), Some(&*name), "it stays open for a better key");
    assert_eq!(subject(&lab.file_bind, "one.test"), "/CN=one");
    let nope = lab.certificates.set("nope.pem", b"").unwrap_err().to_string();
    assert_eq!(
        nope,
        "Can't replace a certificate which is not referenced by the configuration!\nCan't update nope.pem!"
    );
}

#[test]
fn chain_and_key_may_come_one_after_the_other() {
    let mut lab = Lab::new();
    let (chain, key) = pair("new", &["one.test"]);
    lab.set("one.pem", &chain).unwrap();
    let prepared = lab.set("one.pem.key", &key).unwrap();
    assert_eq!((&*prepared.name, prepared.created), (&*lab.name("one.pem"), false));
    assert_eq!(lab.commit("one.pem"), Ok(2));
    assert_eq!(subject(&lab.file_bind, "one.test"), "/CN=new");
    // A key alone keeps the chain in use, and is checked against it.
    let (_, other_key) = pair("other", &[]);
    assert!(lab.set("one.key", &other_key).unwrap().created);
    assert!(lab.commit("one.pem").unwrap_err().starts_with("inconsistencies between private key"));
    lab.set("one.key", &key).unwrap();
    assert_eq!(lab.commit("one.pem"), Ok(2));
    let name = lab.name("one.pem");
    let refusal = lab.set("one.pem.key", &chain).unwrap_err();
    assert_eq!(
        refusal,
        format!("unable to load private key from file '{name}'.\nCan't load the payload\nCan't update {name}.key!")
    );
}

#[test]
fn there_is_one_transaction_at_a_time() {
    let mut lab = Lab::new();
    let (chain, _) = pair("new", &[]);
    let (one, two) = (lab.name("one.pem"), lab.name("two.pem"));
    assert_eq!(lab.commit("one.pem").unwrap_err(), format!("No ongoing transaction! !\nCan't commit {one}!"));
    assert_eq!(lab.certificates.abort(&one).unwrap_err().to_string(), "No ongoing transaction!");
    lab.set("one.pem", &chain).unwrap();
    let open = format!("The ongoing transaction is about '{one}' but you are trying to ");
    assert_eq!(lab.set("two.pem", &chain).unwrap_err(), format!("{open}set '{two}'\nCan't update {two}!"));
    assert_eq!(lab.commit("two.pem").unwrap_err(), format!("{open}set '{two}'\nCan't commit {two}!"));
    let refused = lab.certificates.abort(&two).unwrap_err().to_string();
    assert_eq!(refused, format!("{open}abort a transaction for '{two}'"));
    let (status, facts) = lab.certificates.facts(&format!("*{one}")).unwrap();
    assert_eq!((status, facts.unwrap().subject), (CertificateStatus::Unused, "/CN=new".to_owned()));
    assert!(lab.certificates.facts(&format!("*{two}")).is_err());
    lab.certificates.abort(&one).unwrap();
    assert!(lab.certificates.facts(&format!("*{one}")).is_err());
}

#[test]
fn new_certificates_are_used_once_a_folder_has_them() {
    let mut lab = Lab::new();
    let (new, list) = (lab.name("new.pem"), lab.list());
    lab.certificates.create(&new).unwrap();
    assert_eq!(lab.certificates.create(&new).unwrap_err().to_string(), format!("Certificate '{new}' already exists!"));
    assert_eq!(lab.certificates.facts(&new).unwrap().0, CertificateStatus::Empty);
    let add = |lab: &mut Lab, list: &str, name: &str| {
        lab.certificates.add_to_list(list, name).map_err(|refusal| refusal.to_string())
    };
    let edit = "Can't edit the crt-list: ";
    assert_eq!(add(&mut lab, &list, &new), Err(format!("{edit}certificate '{new}' is empty!")));
    let (chain, key) = pair("new", &["new.test"]);
    lab.set("new.pem", &(chain + &key)).unwrap();
    assert_eq!(lab.commit("new.pem"), Ok(0));
    assert_eq!(lab.certificates.facts(&new).unwrap().0, CertificateStatus::Unused);
    assert_eq!(subject(&lab.folder_bind, "new.test"), "/CN=one", "the default");

    assert_eq!(add(&mut lab, "/nope", &new), Err(format!("{edit}crt-list '/nope' does not exist!")));
    let outside = format!("{edit}'{list}' is a directory, certificate path 'x.pem' must contain the directory path");
    assert_eq!(add(&mut lab, &list, "x.pem"), Err(outside));
    let missing = lab.name("missing.pem");
    assert_eq!(add(&mut lab, &list, &missing), Err(format!("{edit}certificate '{missing}' does not exist!")));
    assert_eq!(add(&mut lab, &list, &new), Ok(()));
    assert_eq!(subject(&lab.folder_bind, "new.test"), "/CN=new");
    assert_eq!(subject(&lab.file_bind, "new.test"), "/CN=one", "a bind that does not name the folder");
    let listed: Vec<(String, u32)> =
        lab.certificates.list(&list).unwrap().map(|(name, line)| (name.to_owned(), line)).collect();
    assert_eq!(listed, [(lab.name("one.pem"), 0), (lab.name("two.pem"), 0), (new.clone(), 1)]);

    let refused = lab.certificates.delete(&new).unwrap_err().to_string();
    assert_eq!(refused, format!("Can't remove the certificate: certificate '{new}' in use, can't be deleted!"));
    assert!(lab.certificates.delete_from_list(&list, &new, Some(9)).is_err());
    lab.certificates.delete_from_list(&list, &new, None).unwrap();
    assert_eq!(subject(&lab.folder_bind, "new.test"), "/CN=one");
    lab.certificates.delete(&new).unwrap();
    let gone = lab.certificates.delete(&new).unwrap_err().to_string();
    assert_eq!(gone, format!("Can't remove the certificate: certificate '{new}' doesn't exist!"));
}

#[test]
fn the_default_of_a_bind_stays_and_lines_tell_entries_apart() {
    let mut lab = Lab::new();
    let (one, two, list) = (lab.name("one.pem"), lab.name("two.pem"), lab.list());
    let refused = lab.certificates.delete_from_list(&list, &one, None).unwrap_err().to_string();
    assert_eq!(
        refused,
        format!(
            "Can't delete the entry: certificate '{one}' cannot be deleted, it is used as default certificate by the \
             following frontends:\n\t- frontend b, 127.0.0.1:2"
        )
    );
    lab.certificates.add_to_list(&list, &two).unwrap();
    lab.certificates.add_to_list(&list, &two).unwrap();
    let refused = lab.certificates.delete_from_list(&list, &two, None).unwrap_err().to_string();
    assert_eq!(
        refused,
        format!(
            "Can't delete the entry: found the certificate '{two}' in several entries, please specify a line number \
             preceded by colons (0, 1, 2)!"
        )
    );
    lab.certificates.delete_from_list(&list, &two, Some(1)).unwrap();
    assert_eq!(lab.certificates.list(&list).unwrap().count(), 3);
}

#[test]
fn views_tell_names_and_expiry() {
    let mut lab = Lab::new();
    lab.certificates.create("empty").unwrap();
    let views = lab.certificates.views();
    let [one, two, empty] = &views[..] else { panic!("{views:?}") };
    assert_eq!((&*one.name, one.binds, &one.names[..]), (&*lab.name("one.pem"), 2, &["one.test".into()][..]));
    assert_eq!((two.binds, two.not_after.is_some()), (1, true));
    assert_eq!((&*empty.name, empty.binds, empty.not_after), ("empty", 0, None));
}
