//! Carrying out orders about certificates.

use std::fmt::Write as _;

use super::connection::Connection;
use crate::core::admin::certificates::{CertificateOrder, render, render_list};
use crate::core::admin::texts;
use crate::core::fleet::Refusal;
use crate::tls::CertificateRefusal;

/// The reply to `update ssl cert`: what was found changed on disk, a line each.
pub(super) async fn update(connection: &Connection) -> Result<String, Refusal> {
    match connection.orders.look_at_certificates().await {
        None => Err(Refusal("No certificates are watched.".to_owned())),
        Some(changes) if changes.is_empty() => Ok("Nothing has changed.\n".to_owned()),
        Some(changes) => Ok(changes),
    }
}

/// The reply to an order about certificates.
pub(super) fn answer(order: CertificateOrder, connection: &mut Connection) -> Result<String, Refusal> {
    let payload = connection.payload.take();
    let orders = std::rc::Rc::clone(&connection.orders);
    let mut store = orders.certificate_store();
    let done = match &order {
        CertificateOrder::List => Ok(render_list(store.transaction(), store.names())),
        CertificateOrder::Show(name) => store.facts(name).map(|(status, facts)| render(name, status, facts.as_ref())),
        CertificateOrder::Set(name) => {
            let Some(pem) = payload.filter(|pem| !pem.is_empty()) else {
                return Err(Refusal(texts::SET_CERT_USAGE.into()));
            };
            store.set(name, pem.as_bytes()).map(|prepared| {
                let done = if prepared.created { "created" } else { "updated" };
                format!("Transaction {done} for certificate {}!\n", prepared.name)
            })
        }
        CertificateOrder::Commit(name) => {
            store.commit(name).map(|binds| format!("Committing {name}{}\nSuccess!\n", ".".repeat(binds)))
        }
        CertificateOrder::Abort(name) => {
            store.abort(name).map(|()| format!("Transaction aborted for certificate '{name}'!\n"))
        }
        CertificateOrder::New(name) => store.create(name).map(|()| format!("New empty certificate store '{name}'!\n")),
        CertificateOrder::Delete(name) => store.delete(name).map(|()| format!("Certificate '{name}' deleted!\n")),
        CertificateOrder::Lists => Ok(store.lists().map(|list| format!("{list}\n")).collect()),
        CertificateOrder::ShowList { list, numbered } => store.list(list).map(|entries| {
            let mut out = format!("# {list}\n");
            for (name, line) in entries {
                let _ = match numbered {
                    true => writeln!(out, "{name}:{line}"),
                    false => writeln!(out, "{name}"),
                };
            }
            out
        }),
        CertificateOrder::AddToList { list, certificate } => {
            let name = match certificate.clone().map_or_else(|| only_word(payload.as_deref().map(String::as_str)), Ok) {
                Ok(name) => name,
                Err(text) => return Err(Refusal(text.into())),
            };
            store
                .add_to_list(list, &name)
                .map(|()| format!("Inserting certificate '{name}' in crt-list '{list}'.\nSuccess!\n"))
        }
        CertificateOrder::DeleteFromList { list, certificate, line } => store
            .delete_from_list(list, certificate, *line)
            .map(|()| format!("Entry '{certificate}' deleted in crtlist '{list}'!\n")),
        // Takes time; see `update`.
        CertificateOrder::Update => Ok(String::new()),
        CertificateOrder::Nothing => Ok(String::new()),
        CertificateOrder::Providers => Ok("Loaded providers : \n\t- aws-lc-rs\n".to_owned()),
    };
    drop(store);
    let took_effect = match &order {
        CertificateOrder::Commit(name) => Some(format!("Certificate {name} was replaced, changed from CLI.")),
        CertificateOrder::AddToList { list, .. } => {
            Some(format!("A certificate was added to {list}, changed from CLI."))
        }
        CertificateOrder::DeleteFromList { certificate, list, .. } => {
            Some(format!("Certificate {certificate} was taken from {list}, changed from CLI."))
        }
        _ => None,
    };
    if let (Ok(_), Some(text)) = (&done, took_effect) {
        orders.log_event(5, &text);
    }
    done.map_err(|refusal: CertificateRefusal| Refusal(refusal.to_string()))
}

/// The certificate that a payload names. Lines of a crt-list may carry options and names; a folder has neither.
fn only_word(payload: Option<&str>) -> Result<String, &'static str> {
    let mut words = payload.unwrap_or_default().split_whitespace();
    match (words.next(), words.next()) {
        (Some(name), None) => Ok(name.to_owned()),
        (None, _) => Err(texts::ADD_CRT_LIST_USAGE),
        (Some(_), Some(_)) => Err("Can't edit the crt-list: a folder takes a certificate without options and names!"),
    }
}
