//! Recorded replies, replayed in their order.

use std::path::Path;
use std::rc::Rc;

use crate::lab::{Lab, Sockets, broken_messages, serve, stream};
use crate::shape::{Shape, masked};

/// One step of a replay.
enum Step {
    /// Send what was recorded and compare.
    Replay(&'static str, Shape),
    /// Send something that was not recorded.
    Say(&'static str),
    /// Change the lab.
    Do(fn(&Lab)),
}

use Shape::{Csv, Errors, Files, FirstLine, Info, Json, Names, Sessions, Stream, Typed, Whole, WithoutLists};
use Step::{Do, Replay, Say};

#[test]
fn process_and_statistics() {
    replay(&[
        Do(Lab::traffic),
        Replay("001-show-version", Whole),
        Replay("002-show-info", Info),
        Replay("004-show-info-typed", Info),
        Replay("006-show-info-float", Info),
        Replay("007-show-info-json", Info),
        Replay("015-show-cli-level", Whole),
        Replay("016-show-cli-sockets", Whole),
        Replay("031-show-stat", Csv),
        Replay("033-show-stat-frontends", Csv),
        Replay("034-show-stat-backends", Csv),
        Replay("035-show-stat-servers", Csv),
        Replay("036-show-stat-listeners", Csv),
        Replay("037-show-stat-web-servers", Csv),
        Replay("038-show-stat-web-web1", Csv),
        Replay("039-show-stat-by-iid", Csv),
        Replay("041-show-stat-name-type", Csv),
        Replay("042-show-stat-unknown", Whole),
        Replay("043-show-stat-bad-args", Csv),
        Replay("044-show-stat-typed", Typed),
        Replay("045-show-stat-typed-web1", Typed),
        Replay("047-show-stat-json-web1", Json),
        Replay("050-show-stat-up", Csv),
        Replay("051-show-stat-no-maint", Csv),
        Replay("053-show-stat-domain-bad", Whole),
        Replay("054-show-servers-state", Whole),
        Replay("055-show-servers-state-web", Whole),
        Replay("056-show-servers-state-unknown", Whole),
        Replay("057-show-servers-conn", Whole),
        Replay("058-show-servers-conn-web", Whole),
        Replay("059-show-servers-conn-unknown", Whole),
        Replay("060-show-backend", Names),
    ]);
}

#[test]
fn streams_errors_and_tables() {
    replay(&[
        Do(|lab| lab.streams.borrow_mut().push(stream())),
        Replay("061-show-sess", Sessions),
        Replay("062-show-sess-id", Stream),
        Replay("063-show-sess-all", Stream),
        Replay("064-show-sess-unknown", Whole),
        Replay("065-shutdown-session-unknown", Whole),
        Replay("067-shutdown-session-noarg", Whole),
        Replay("068-shutdown-sessions-server", Whole),
        Replay("069-shutdown-sessions-unknown", Whole),
        Replay("070-shutdown-sessions-noarg", FirstLine),
        Replay("071-show-errors-empty", Whole),
        Do(|lab| drop(lab.errors.replace(broken_messages()))),
        Replay("072-show-errors", Errors),
        Replay("073-show-errors-id", Errors),
        Replay("074-show-errors-id-request", Errors),
        Replay("075-show-errors-id-response", Errors),
        Replay("076-show-errors-unknown", Whole),
        Replay("328-operator-show-errors", Errors),
        Do(Lab::fill_table),
        Replay("079-show-table", Whole),
        Replay("080-show-table-t", Whole),
        Replay("081-show-table-data-gt", Whole),
        Replay("082-show-table-data-multi", Whole),
        Replay("083-show-table-data-gt-none", Whole),
        Replay("084-show-table-key", Whole),
        Replay("085-show-table-key-missing", Whole),
        Replay("086-show-table-unknown", Whole),
        Replay("087-show-table-bad-data", Whole),
        Replay("088-show-table-bad-op", Whole),
        Replay("089-show-table-data-not-stored", Whole),
        Replay("090-set-table", Whole),
        Replay("091-show-table-after-set", Whole),
        Replay("092-set-table-bad-key", Whole),
        Replay("093-set-table-bad-type", Whole),
        Replay("401-user-set-table", Whole),
        Replay("354-operator-set-table", Whole),
        Replay("094-clear-table-key", Whole),
        Replay("095-clear-table-filter", Whole),
        Replay("330-operator-show-table", Whole),
        Replay("377-user-show-table", Whole),
        Replay("096-clear-table", Whole),
        Replay("097-clear-table-unknown", Whole),
        Replay("098-show-table-after-clear", Whole),
    ]);
}

#[test]
fn maps_and_access_lists() {
    replay(&[
        Replay("216-show-map", Whole),
        Replay("217-show-map-file", Whole),
        Replay("218-show-map-id", Whole),
        Replay("219-show-map-nosuch", Whole),
        Replay("220-get-map", Whole),
        Replay("221-get-map-miss", Whole),
        Replay("222-add-map", Whole),
        Replay("223-add-map-noval", Whole),
        Replay("224-add-map-nosuch", Whole),
        Replay("225-set-map", Whole),
        Replay("226-set-map-nosuch-key", Whole),
        Replay("227-show-map-after", Whole),
        Replay("228-add-map-payload", Whole),
        Replay("229-prepare-map", Whole),
        Replay("230-add-map-version", Whole),
        Replay("231-show-map-version", Whole),
        Replay("232-commit-map", Whole),
        Replay("233-show-map-after-commit", Whole),
        Replay("234-del-map", Whole),
        Replay("235-del-map-nosuch", Whole),
        Replay("236-del-map-badref", Whole),
        Replay("237-clear-map", Whole),
        Replay("238-clear-map-nosuch", Whole),
        Replay("239-show-acl", Files),
        Replay("240-show-acl-file", Whole),
        Replay("241-show-acl-nosuch", Whole),
        Replay("242-add-acl", Whole),
        Replay("243-add-acl-bad", Whole),
        Replay("244-add-acl-nosuch", Whole),
        Replay("245-get-acl", Whole),
        Replay("246-get-acl-miss", Whole),
        Replay("247-del-acl", Whole),
        Replay("248-del-acl-nosuch", Whole),
        Replay("249-clear-acl", Whole),
        Replay("314-escape-semicolon", Whole),
        Replay("335-operator-show-map", Whole),
        Replay("336-operator-show-acl", Files),
        Replay("382-user-show-map", Whole),
        Replay("383-user-show-acl", Files),
    ]);
}

#[test]
fn changes_to_servers() {
    replay(&[
        Do(Lab::traffic),
        Replay("099-set-server-state-drain", Whole),
        Replay("100-after-state-drain-csv", Csv),
        Replay("101-after-state-drain-srvstate", Whole),
        Replay("102-set-server-state-ready", Whole),
        Replay("103-after-state-ready-csv", Csv),
        Replay("104-after-state-ready-srvstate", Whole),
        Replay("105-set-server-state-maint", Whole),
        Replay("106-after-state-maint-csv", Csv),
        Replay("107-after-state-maint-srvstate", Whole),
        Replay("108-set-server-state-bad", Whole),
        Say("set server be_web/web1 state ready"),
        Do(Lab::pass_checks),
        Replay("109-set-server-health-down", Whole),
        Replay("110-after-health-down-csv", Csv),
        Replay("111-set-server-health-up", Whole),
        Replay("112-set-server-health-stopping", Whole),
        Replay("113-after-health-stopping-csv", Csv),
        Replay("114-set-server-health-bad", Whole),
        Replay("115-set-server-agent-noagent", Whole),
        Replay("116-set-server-agent-addr-noagent", Whole),
        Replay("117-set-server-agent-send-noagent", Whole),
        Replay("118-set-server-weight", Whole),
        Replay("119-set-server-weight-pct", Whole),
        Replay("120-set-server-weight-bad", Whole),
        Replay("121-set-server-weight-badpct", Whole),
        Replay("122-set-server-weight-garbage", Whole),
        Replay("123-set-server-weight-reset", Whole),
        Replay("124-set-server-weight-static-zero", Whole),
        Do(Lab::pass_checks),
        Replay("125-after-weight-zero-csv", Csv),
        Replay("126-set-server-addr", Whole),
        Replay("127-set-server-addr-same", Whole),
        Replay("128-set-server-addr-noport", Whole),
        Replay("129-set-server-addr-bad", Whole),
        Replay("131-set-server-addr-back", Whole),
        Replay("132-set-server-check-port", Whole),
        Replay("133-set-server-check-port-back", Whole),
        Replay("134-set-server-check-addr", Whole),
        Replay("135-set-server-check-port-bad", Whole),
        Replay("136-set-server-fqdn", Whole),
        Replay("137-set-server-ssl", Whole),
        Replay("138-set-server-noverb", Whole),
        Replay("139-set-server-badverb", Whole),
        Replay("140-set-server-noarg", Whole),
        Replay("141-set-server-nosuch-server", Whole),
        Replay("142-set-server-nosuch-backend", Whole),
        Replay("143-set-server-frontend", Whole),
        Replay("144-set-server-noslash", Whole),
        Replay("145-set-server-by-id", Whole),
        Replay("146-disable-server", Whole),
        Replay("147-after-disable-csv", Csv),
        Replay("148-disable-server-again", Whole),
        Replay("149-enable-server", Whole),
        Replay("150-after-enable-csv", Csv),
        Replay("151-enable-server-nosuch", Whole),
        Replay("152-disable-server-nosuch-be", Whole),
        Replay("153-disable-server-noarg", Whole),
        Replay("154-disable-health", Whole),
        Replay("155-after-disable-health-csv", Csv),
        Replay("157-enable-health", Whole),
        Replay("158-disable-agent", Whole),
        Replay("159-enable-agent", Whole),
        Replay("160-get-weight", Whole),
        Replay("161-get-weight-nosuch", Whole),
        Replay("162-get-weight-nosuch-be", Whole),
        Replay("163-get-weight-noarg", Whole),
        Replay("164-set-weight", Whole),
        Replay("165-set-weight-pct", Whole),
        Replay("166-get-weight-after", Whole),
        Replay("167-set-weight-leastconn", Whole),
        Replay("168-set-weight-bad", Whole),
        Replay("169-set-weight-noarg", Whole),
        Replay("170-set-maxconn-server", Whole),
        Replay("171-set-maxconn-server-nosuch", Whole),
        Replay("172-set-maxconn-server-bad", Whole),
        Replay("173-set-maxconn-server-noval", Whole),
        Replay("211-clear-counters", Whole),
        Replay("212-clear-counters-all", Whole),
        Replay("215-clear-counters-bad", Whole),
    ]);
}

#[test]
fn frontends_and_limits() {
    replay(&[
        Do(Lab::traffic),
        Replay("174-set-maxconn-frontend", Whole),
        Replay("175-set-maxconn-frontend-nosuch", Whole),
        Replay("176-set-maxconn-frontend-noval", Whole),
        Replay("177-set-maxconn-frontend-bad", Whole),
        Replay("178-set-maxconn-global", Whole),
        Replay("179-set-maxconn-global-toohigh", Whole),
        Replay("180-set-maxconn-global-noval", Whole),
        Replay("181-set-maxconn-bad", FirstLine),
        Replay("182-set-rate-limit-conn", Whole),
        Replay("183-set-rate-limit-sess", Whole),
        Replay("184-set-rate-limit-ssl", Whole),
        Replay("185-set-rate-limit-comp", Whole),
        Replay("186-set-rate-limit-bad", Whole),
        Replay("187-set-rate-limit-notglobal", Whole),
        Replay("188-set-rate-limit-noval", Whole),
        Replay("194-disable-frontend", Whole),
        Replay("195-after-disable-frontend-csv", Csv),
        Replay("196-disable-frontend-again", Whole),
        Replay("197-enable-frontend", Whole),
        Replay("198-enable-frontend-again", Whole),
        Replay("199-after-enable-frontend-csv", Csv),
        Replay("200-disable-frontend-nosuch", Whole),
        Replay("201-disable-frontend-noarg", Whole),
        Replay("202-enable-frontend-backend-name", Whole),
        Replay("204-shutdown-frontend-nosuch", Whole),
        Replay("206-shutdown-frontend-noarg", Whole),
    ]);
}

#[test]
fn certificates() {
    replay(&[
        Replay("266-show-ssl-cert", Whole),
        Replay("267-show-ssl-cert-file", Whole),
        Replay("268-show-ssl-cert-nosuch", Whole),
        Replay("269-set-ssl-cert", Whole),
        Replay("270-show-ssl-cert-pending", Whole),
        Replay("271-show-ssl-cert-star", Whole),
        Replay("272-abort-ssl-cert", Whole),
        Replay("273-commit-ssl-cert-none", Whole),
        Replay("274-set-ssl-cert-bad", Whole),
        Replay("275-set-ssl-cert-again", Whole),
        Replay("276-commit-ssl-cert", Whole),
        Replay("277-show-ssl-cert-after", Whole),
        Replay("278-set-ssl-cert-noarg", Whole),
        Replay("279-set-ssl-cert-nopayload", Whole),
        Replay("280-set-ssl-cert-nosuch", Whole),
        Replay("281-new-ssl-cert", Whole),
        Replay("282-new-ssl-cert-set", Whole),
        Replay("283-new-ssl-cert-commit", Whole),
        Replay("284-del-ssl-cert", Whole),
        Replay("285-del-ssl-cert-used", Whole),
        Replay("286-show-ssl-crt-list", Whole),
        Replay("287-show-ssl-ca-file", Whole),
        Replay("288-show-ssl-ocsp", Whole),
        Replay("359-operator-show-ssl-cert", Whole),
        Replay("360-operator-set-ssl-cert", Whole),
        Replay("407-user-set-ssl-cert", Whole),
    ]);
}

#[test]
fn servers_added_and_deleted() {
    replay(&[
        // As it was when the replies were recorded: web2 had just come back.
        Say("set server be_web/web2 state maint"),
        Say("set server be_web/web2 state ready"),
        Replay("250-add-server", Whole),
        Replay("251-after-add-server-csv", Csv),
        Replay("253-add-server-dup", Whole),
        Replay("254-add-server-nosuch-be", Whole),
        Replay("255-add-server-badkw", Whole),
        Replay("256-add-server-noaddr", Whole),
        Replay("258-dyn-enable-health", Whole),
        Replay("259-dyn-enable", Whole),
        Replay("261-del-server-not-maint", Whole),
        Replay("262-dyn-disable", Whole),
        Replay("263-del-server", Whole),
        Replay("264-del-server-nosuch", Whole),
        Replay("265-del-server-static-not-maint", Whole),
        Replay("257-add-server-fqdn", Whole),
    ]);
}

#[test]
fn diagnosis() {
    replay(&[
        Replay("012-show-activity", FirstLine),
        Replay("020-show-tasks", Whole),
        Replay("025-show-peers", Whole),
        Replay("026-show-cache", Whole),
        Replay("027-show-tls-keys", Whole),
        Replay("028-show-trace", FirstLine),
        Replay("078-show-events-buf0", Whole),
        Replay("192-set-severity", Whole),
        Replay("193-set-severity-bad", Whole),
        Replay("318-expert-mode", Whole),
        Replay("319-expert-mode-on", Whole),
        Replay("320-experimental-mode", Whole),
        Replay("333-operator-show-activity", FirstLine),
        Replay("366-operator-expert", Whole),
        Replay("380-user-show-activity", Whole),
        Replay("408-user-show-startup-logs", Whole),
        Replay("410-user-show-fd", Whole),
        Replay("413-user-expert", Whole),
    ]);
}

#[test]
fn the_language() {
    replay(&[
        Replay("030-show-unknown", FirstLine),
        Replay("189-set-timeout-cli", Whole),
        Replay("190-set-timeout-bad", Whole),
        Replay("191-set-timeout-cli-bad", Whole),
        Replay("205-shutdown-noarg", FirstLine),
        Replay("213-clear-noarg", FirstLine),
        Replay("214-clear-bad", FirstLine),
        Replay("290-help", FirstLine),
        Replay("292-help-nomatch", FirstLine),
        Replay("293-unknown", FirstLine),
        Replay("294-unknown-verb-known-noun", FirstLine),
        Replay("295-partial-known", FirstLine),
        Replay("296-empty-line", Whole),
        Replay("297-multi-semicolon", Whole),
        Replay("298-multi-with-error", Whole),
        Replay("299-multi-trailing-semicolon", Whole),
        Replay("300-multi-nospace", Whole),
        Replay("301-two-lines-noninteractive", Whole),
        Replay("302-crlf", Whole),
        Replay("303-leading-space", Whole),
        Replay("304-comment", FirstLine),
        Replay("305-trailing-comment", Whole),
        Replay("306-uppercase", FirstLine),
        Replay("308-newline-halfclose", Whole),
        Replay("309-prompt-session", WithoutLists),
        Replay("310-prompt-multi", Whole),
        Replay("311-prompt-toggle", Whole),
        Replay("312-prompt-first-with-semicolon", Whole),
        Replay("313-quit", Whole),
        Replay("315-operator-cmd", Whole),
        Replay("316-user-cmd", Whole),
        Replay("317-user-then-set", Whole),
        Replay("323-long-line", Whole),
    ]);
}

#[test]
fn levels() {
    replay(&[
        Do(Lab::traffic),
        Replay("331-operator-show-stat", Csv),
        Replay("332-operator-show-servers-state", FirstLine),
        Replay("337-operator-clear-counters", Whole),
        Replay("338-operator-clear-counters-all", Whole),
        Replay("339-operator-set-server", Whole),
        Replay("340-operator-disable-server", Whole),
        Replay("341-operator-enable-server", Whole),
        Replay("342-operator-set-weight", Whole),
        Replay("343-operator-get-weight", Whole),
        Replay("347-operator-shutdown-sessions", Whole),
        Replay("344-operator-disable-frontend", Whole),
        Replay("345-operator-enable-frontend", Whole),
        Replay("346-operator-shutdown-frontend", Whole),
        Replay("349-operator-set-maxconn", Whole),
        Replay("350-operator-set-maxconn-fe", Whole),
        Replay("351-operator-set-rate-limit", Whole),
        Replay("357-operator-add-server", Whole),
        Replay("358-operator-del-server", Whole),
        Replay("348-operator-shutdown-session", Whole),
        Replay("356-operator-set-timeout", Whole),
        Replay("367-operator-cli-level", Whole),
        Replay("368-operator-cli-sockets", Whole),
        Replay("369-operator-operator", Whole),
        Replay("370-operator-user", Whole),
        Replay("371-operator-disable-health", Whole),
        Replay("372-operator-enable-health", Whole),
        Replay("374-user-show-sess", Whole),
        Replay("375-user-show-errors", Whole),
        Replay("378-user-show-stat", Csv),
        Replay("379-user-show-servers-state", FirstLine),
        Replay("384-user-clear-counters", Whole),
        Replay("385-user-clear-counters-all", Whole),
        Replay("386-user-set-server", Whole),
        Replay("387-user-disable-server", Whole),
        Replay("388-user-enable-server", Whole),
        Replay("389-user-set-weight", Whole),
        Replay("390-user-get-weight", Whole),
        Replay("394-user-shutdown-sessions", Whole),
        Replay("391-user-disable-frontend", Whole),
        Replay("392-user-enable-frontend", Whole),
        Replay("393-user-shutdown-frontend", Whole),
        Replay("396-user-set-maxconn", Whole),
        Replay("397-user-set-maxconn-fe", Whole),
        Replay("398-user-set-rate-limit", Whole),
        Replay("404-user-add-server", Whole),
        Replay("405-user-del-server", Whole),
        Replay("395-user-shutdown-session", Whole),
        Replay("402-user-clear-table", Whole),
        Replay("403-user-set-timeout", Whole),
        Replay("414-user-cli-level", Whole),
        Replay("415-user-cli-sockets", Whole),
        Replay("416-user-operator", Whole),
        Replay("417-user-user", Whole),
        Replay("418-user-disable-health", Whole),
        Replay("419-user-enable-health", Whole),
    ]);
}

fn replay(steps: &[Step]) {
    serve(async |lab, sockets| {
        let mut wrong = Vec::new();
        for step in steps {
            match step {
                Do(change) => change(&lab),
                Say(line) => assert_eq!(sockets.ask("admin", format!("{line}\n")).await, "\n", "{line}"),
                Replay(name, shape) => wrong.extend(compare(name, *shape, &lab, &sockets).await),
            }
        }
        assert!(wrong.is_empty(), "{} replies differ:\n{}", wrong.len(), wrong.join("\n"));
    });
}

/// The first difference, if any.
async fn compare(name: &str, shape: Shape, lab: &Rc<Lab>, sockets: &Sockets) -> Option<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat/golden");
    let read =
        |kind: &str| std::fs::read(folder.join(format!("{name}.{kind}"))).unwrap_or_else(|e| panic!("{name}: {e}"));
    let level = ["operator", "user"].into_iter().find(|l| name[4..].starts_with(&format!("{l}-")));
    let level = level.filter(|_| !matches!(&name[..3], "315" | "316" | "317")).unwrap_or("admin");
    let before = lab.connections.get();
    let reply = sockets.ask(level, lab.localised(&read("cmd"))).await;
    assert_eq!(lab.connections.get(), before + 1, "{name}: the connection is counted");
    assert!(reply.is_empty() || reply.ends_with("> ") || reply.ends_with('\n'), "{name}: {reply:?}");
    let (golden, ours) = (masked(shape, &String::from_utf8_lossy(&lab.localised(&read("out")))), masked(shape, &reply));
    if golden == ours {
        return None;
    }
    let (mut a, mut b) = (golden.split('\n'), ours.split('\n'));
    loop {
        let (golden, ours) = (a.next(), b.next());
        if golden != ours {
            return Some(format!("{name}\n  golden: {golden:?}\n  ours:   {ours:?}"));
        }
    }
}
