//! What is lockgate's own, or stricter than HAProxy, and facts of several commands together.

use lockgate::cli::ctl::Ctl;
use lockgate::cli::socket::SocketArg;
use lockgate::core::fleet::spec::BackendIndex;
use lockgate::core::stats::VERSION;

use crate::lab::{Lab, serve, stream};

#[test]
fn a_backend_is_switched_to_maintenance() {
    serve(async |lab, sockets| {
        let maintenance = || lab.fleet.borrow().backend(BackendIndex(0)).unwrap().maintenance;
        assert_eq!(sockets.ask("admin", "set backend be_web maintenance on\n").await, "\n");
        assert!(maintenance());
        assert_eq!(sockets.ask("admin", "set backend #4 maintenance off\n").await, "\n");
        assert!(!maintenance());
        for (line, reply) in [
            ("set backend nope maintenance on", "No such backend.\n\n"),
            ("set backend be_web maintenance", "'set backend <backend> maintenance' expects 'on' or 'off'.\n\n"),
            ("set backend be_web", "usage: set backend <backend> maintenance on | off\n\n"),
        ] {
            assert_eq!(sockets.ask("admin", format!("{line}\n")).await, reply, "{line}");
        }
        assert_eq!(sockets.ask("operator", "set backend be_web maintenance on\n").await, "Permission denied\n\n");
        assert!(!maintenance());
        let help = sockets.ask("admin", "help\n").await;
        assert!(help.contains("\n  set backend <backend> maintenance on|off: "), "{help}");
    });
}

#[test]
fn tables_are_cleared_by_admins_only() {
    serve(async |lab, sockets| {
        for client in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
            drop(lab.tracked(client));
        }
        assert_eq!(sockets.ask("operator", "set table st_rate key 10.0.0.2 data.gpc0 9\n").await, "\n");
        assert_eq!(sockets.ask("operator", "clear table st_rate\n").await, "Permission denied\n\n");
        assert_eq!(sockets.ask("admin", "clear table st_rate data.gpc0 gt 1\n").await, "\n");
        assert_eq!(lab.keys(), ["10.0.0.1", "10.0.0.3"]);
        let in_flight = lab.tracked("10.0.0.1");
        let reply = sockets.ask("admin", "clear table st_rate key 10.0.0.1\n").await;
        assert_eq!(reply, "Entry currently in use, cannot remove\n\n");
        drop(in_flight);
        assert_eq!(sockets.ask("admin", "clear table st_rate key 10.0.0.3\n").await, "\n");
        assert_eq!(lab.keys(), ["10.0.0.1"]);
        assert_eq!(sockets.ask("admin", "clear table st_rate\n").await, "\n");
        assert!(lab.keys().is_empty());
        assert_eq!(sockets.ask("admin", "show table\n").await, "# table: st_rate, type: ip, size:10240, used:0\n\n");
    });
}

#[test]
fn streams_are_ended() {
    serve(async |lab, sockets| {
        lab.streams.borrow_mut().push(stream());
        assert_eq!(sockets.ask("admin", "shutdown session 0x3a30dc10\n").await, "\n");
        assert_eq!(sockets.ask("admin", "shutdown sessions server be_api/api2\n").await, "\n");
        assert_eq!(*lab.killed.borrow(), [format!("stream {}", 0x3a30_dc10), "server 1/1".to_owned()]);
        let full = sockets.ask("operator", "show sess 0x3a30dc10\n").await;
        for part in [
            "0x3a30dc10: [21/Nov/2026:",
            "] id=976280592 proto=tcpv4 source=127.0.0.1:36582\n",
            "\n  frontend=fe_main (id=2 mode=http), listener=? (id=1) addr=127.0.0.1:18080\n",
            "\n  server=web2 (id=2) addr=127.0.0.1:18102\n",
            "\n  req=0x3a30dc10 (f=0x0 an=0x0 pipe=0 tofwd=0 total=65)\n",
            "\n  request=\"GET /slow\" doing=response\n",
        ] {
            assert!(full.contains(part), "{part:?} in {full}");
        }
        assert_eq!(sockets.ask("operator", "show sess all\n").await, full);
        assert_eq!(sockets.ask("operator", "shutdown session 0x3a30dc10\n").await, "Permission denied\n\n");
    });
}

#[test]
fn a_new_server_stands_in_the_state_file_format() {
    serve(async |_, sockets| {
        let add = "add server be_web/dyn1 127.0.0.1:18104 check inter 500 rise 3 fall 3\n";
        assert_eq!(sockets.ask("admin", add).await, "New server registered.\n\n");
        let state = sockets.ask("admin", "show servers state be_web\n").await;
        // As recorded in 252-after-add-server-srvstate.
        let line = "\n4 be_web 4 dyn1 127.0.0.1 0 1 1 1 0 1 0 0 2 0 0 0 - 18104 - 0 0 - - 0\n";
        assert!(state.contains(line), "{state}");
        assert_eq!(sockets.ask("admin", "del server be_web/#4\n").await, "Server deleted.\n\n");
        assert_eq!(sockets.ask("admin", "add server be_web 127.0.0.1:1\n").await, "Require 'backend/server'.\n\n");
    });
}

#[test]
fn changes_carry_their_origin() {
    serve(async |lab, sockets| {
        assert_eq!(sockets.ask("admin", "set server be_web/web1 state drain\n").await, "\n");
        let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(sockets.path("admin")).unwrap());
        assert_eq!(*lab.origins.borrow(), [format!("uid {uid}")]);
    });
}

#[test]
fn ports_out_of_range_are_refused() {
    serve(async |_, sockets| {
        let reply = sockets.ask("admin", "set server be_web/web1 addr 127.0.0.1 port 99999\n").await;
        assert_eq!(reply, "Invalid port '99999' by 'stats socket command'\n\n");
        let state = sockets.ask("admin", "show servers state be_web\n").await;
        assert!(state.contains(" 18101 - 0 0 - - 0\n"), "{state}");
    });
}

#[test]
fn rates_and_maxima() {
    serve(async |lab, sockets| {
        lab.traffic();
        let column = |csv: &str, row: &str, name: &str| -> String {
            let mut lines = csv.lines().map(|l| l.trim_start_matches("# ").split(',').collect::<Vec<_>>());
            let at = lines.next().unwrap().iter().position(|n| *n == name).unwrap();
            lines.find(|l| l.len() > 1 && l[..2].join("/") == row).unwrap()[at].to_owned()
        };
        let csv = sockets.ask("admin", "show stat\n").await;
        for (row, name, value) in [
            ("fe_main/FRONTEND", "stot", "10"),
            ("fe_main/FRONTEND", "smax", "1"),
            ("be_web/BACKEND", "slim", "200"),
            ("be_api/BACKEND", "slim", "100"),
            ("be_web/BACKEND", "act", "3"),
            ("be_api/BACKEND", "act", "2"),
            ("be_api/BACKEND", "bck", "1"),
            ("be_web/BACKEND", "weight", "30"),
            ("be_api/BACKEND", "uweight", "2"),
            ("be_api/api3", "bck", "1"),
            ("be_api/api3", "cookie", "a3"),
            ("be_web/web1", "lastsess", "-1"),
        ] {
            assert_eq!(column(&csv, row, name), value, "{row} {name}");
        }
        // Frontends' totals come in the second after the sample that the lab's start took: all of it counts.
        assert_eq!(sockets.ask("operator", "clear counters\n").await, "\n");
        let csv = sockets.ask("admin", "show stat\n").await;
        assert_eq!(
            (column(&csv, "fe_main/FRONTEND", "smax"), column(&csv, "fe_main/FRONTEND", "stot")),
            ("0".into(), "10".into())
        );
        assert_eq!(sockets.ask("admin", "clear counters all\n").await, "\n");
        let csv = sockets.ask("admin", "show stat\n").await;
        assert_eq!(column(&csv, "fe_main/FRONTEND", "stot"), "0");
    });
}

#[test]
fn schema_and_descriptions() {
    serve(async |_, sockets| {
        let schema = sockets.ask("user", "show schema json\n").await;
        assert!(serde_json::from_str::<serde_json::Value>(&schema).unwrap()["definitions"].is_object());
        let info = sockets.ask("user", "show info desc\n").await;
        assert!(info.starts_with("Name: HAProxy:\"Name that tools expect\"\n"), "{info}");
        let stat = sockets.ask("user", "show stat be_web 4 1 typed desc\n").await;
        assert!(stat.starts_with("S.4.1.0.pxname.1:KNS:str:be_web:\"Name of the frontend or backend\"\n"), "{stat}");
        assert_eq!(
            sockets.ask("user", "show stat -1 8 -1\n").await.lines().count(),
            3,
            "header, the one socket that is counted by itself, and empty line"
        );
    });
}

#[test]
fn ctl_asks_and_tells_success_from_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    let ctl = |socket: &std::path::Path, line: &str| Ctl::command(SocketArg::at(socket), line);
    let run = |ctl: &Ctl| {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = ctl.run_to(&mut std::io::empty(), &mut out, &mut err);
        (format!("{code:?}"), String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    };
    let (code, _, complaint) = run(&ctl(&socket, "show version"));
    assert!(code.contains("(2)") && complaint.contains("LOCKGATE_SOCKET"), "{code} {complaint}");
    serve(async |_, sockets| {
        for (line, reply, code) in [
            ("show version", format!("{VERSION}\n"), "0"),
            ("set server be_web/web1 state drain", String::new(), "0"),
            ("set server be_web/nope state drain", "No such server.\n".to_owned(), "1"),
            ("show version; bogus", format!("{VERSION}\n\nUnknown command: 'bogus'"), "1"),
        ] {
            let asking = ctl(&sockets.path("admin"), line);
            let (exit, answer, _) = tokio::task::spawn_blocking(move || run(&asking)).await.unwrap();
            assert!(answer.starts_with(&reply) && answer.is_empty() == reply.is_empty(), "{line}: {answer:?}");
            assert!(exit.contains(&format!("({code})")), "{line}: {exit:?}");
        }
    });
}

#[test]
fn every_golden_row_is_reachable_by_position() {
    // Tools read `status`, `weight` and `scur` by position; a row never has more or fewer fields than the header.
    serve(async |lab, sockets| {
        Lab::traffic(&lab);
        let csv = sockets.ask("user", "show stat\n").await;
        let mut lines = csv.lines().filter(|l| !l.is_empty());
        let header = lines.next().unwrap().split(',').count();
        assert_eq!(header, 115);
        for line in lines {
            assert_eq!(line.split(',').count(), header, "{line}");
            assert!(!line.contains('"'), "no quotes are needed: {line}");
        }
    });
}

#[test]
fn lists_are_changed_by_admins_only() {
    serve(async |_, sockets| {
        let before = sockets.ask("user", "show map /lab/maps/hosts.map\n").await;
        assert_eq!(before.lines().count(), 3, "{before}");
        for level in ["operator", "user"] {
            for line in [
                "add map /lab/maps/hosts.map q be_web",
                "set map /lab/maps/hosts.map www.example.test be_api",
                "del map /lab/maps/hosts.map www.example.test",
                "clear map /lab/maps/hosts.map",
                "prepare map /lab/maps/hosts.map",
                "commit map @1 /lab/maps/hosts.map",
                "add acl /lab/maps/blocked.acl 127.0.0.9",
                "del acl /lab/maps/blocked.acl 127.0.0.9",
                "clear acl /lab/maps/blocked.acl",
            ] {
                assert_eq!(sockets.ask(level, format!("{line}\n")).await, "Permission denied\n\n", "{level}: {line}");
            }
        }
        assert_eq!(sockets.ask("admin", "show map /lab/maps/hosts.map\n").await, before);
    });
}

#[test]
fn a_payload_belongs_to_the_last_command() {
    serve(async |_, sockets| {
        let file = "/lab/maps/hosts.map";
        let said = format!("clear map {file}; add map {file} <<\na.example be_web\nb.example be_api\n\n");
        assert_eq!(sockets.ask("admin", said).await, "\n\n");
        let reply = sockets.ask("user", format!("show map {file}\n")).await;
        let entries: Vec<&str> =
            reply.lines().filter_map(|line| line.split_once(' ')).map(|(_, entry)| entry).collect();
        assert_eq!(entries, ["a.example be_web", "b.example be_api"]);
        let bad = format!("add map {file} <<\nc.example be_web\nd.example\n\n");
        assert_eq!(sockets.ask("admin", bad).await, "Missing value for key 'd.example'.\n\n");
        assert_eq!(sockets.ask("user", format!("show map {file}\n")).await, reply);
    });
}
