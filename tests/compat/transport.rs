//! How connections behave: closing, prompt, limits, slow and hostile peers.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::time::Duration;

use lockgate::admin::{AdminServer, BindError};
use lockgate::config::model::{AdminAddress, Level};
use lockgate::core::stats::VERSION;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::lab::{DEADLINE, read_all, read_some, serve, serve_with, unix_socket};

const TOO_BIG: &str = "The command is too big for the buffer size. Please change tune.bufsize in the configuration to \
                       use a bigger command.\n\n";

#[test]
fn one_line_is_answered_and_the_connection_closed_without_waiting_for_the_client() {
    serve(async |_, sockets| {
        assert_eq!(sockets.ask("admin", "show version\n").await, format!("{VERSION}\n\n"));
        let mut pieces = sockets.connect("admin").await;
        for piece in ["sho", "w vers", "ion\n"] {
            pieces.write_all(piece.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(read_all(&mut pieces).await, format!("{VERSION}\n\n"));
        assert_eq!(sockets.ask("admin", "show version\nshow cli level\n").await, format!("{VERSION}\n\nadmin\n\n"));
    });
}

#[test]
fn a_line_without_its_end_is_not_carried_out() {
    serve(async |lab, sockets| {
        let mut half = sockets.connect("admin").await;
        half.write_all(b"disable server be_web/web1").await.unwrap();
        half.shutdown().await.unwrap();
        assert_eq!(read_all(&mut half).await, "");
        assert_eq!(lab.origins.borrow().len(), 0);
    });
}

#[test]
fn prompt_mode() {
    serve(async |_, sockets| {
        let mut client = sockets.connect("admin").await;
        for (line, reply) in [
            ("prompt", "\n> ".to_owned()),
            ("show version", format!("{VERSION}\n\n> ")),
            ("", "\n> ".to_owned()),
            ("set server be_web/web1 state ready", "\n> ".to_owned()),
            ("get weight be_web/nope; show cli level", "No such server.\n\n> admin\n\n> ".to_owned()),
            ("set timeout cli 60", "\n> ".to_owned()),
            ("user", "\n> ".to_owned()),
            ("show cli level", "user\n\n> ".to_owned()),
            ("operator", "Permission denied\n\n> ".to_owned()),
        ] {
            client.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
            read_some(&mut client, &reply).await;
        }
        client.write_all(b"prompt\n").await.unwrap();
        assert_eq!(read_all(&mut client).await, "\n", "switched off: the connection ends");
        let mut client = sockets.connect("admin").await;
        client.write_all(b"prompt\n").await.unwrap();
        read_some(&mut client, "\n> ").await;
        client.write_all(b"quit\n").await.unwrap();
        assert_eq!(read_all(&mut client).await, "");
    });
}

#[test]
fn payloads_are_taken_with_their_line() {
    serve(async |_, sockets| {
        let line = "show cli level <<\nfirst\nsecond\n\n";
        assert_eq!(sockets.ask("admin", line).await, "admin\n\n");
        let both = format!("{line}show version\n");
        assert_eq!(sockets.ask("admin", both).await, format!("admin\n\n{VERSION}\n\n"));
        let mut open = sockets.connect("admin").await;
        open.write_all(b"show cli level <<\nfirst\n").await.unwrap();
        open.write_all(b"\n").await.unwrap();
        assert_eq!(read_all(&mut open).await, "admin\n\n");
    });
}

#[test]
fn idle_connections_are_closed() {
    serve_with(
        |socket| socket.timeout = Duration::from_millis(50),
        async |_, sockets| {
            let mut silent = sockets.connect("admin").await;
            assert_eq!(read_all(&mut silent).await, "");
            let mut patient = sockets.connect("admin").await;
            patient.write_all(b"prompt;set timeout cli 1h\n").await.unwrap();
            read_some(&mut patient, "\n> \n> ").await;
            // Another connection runs into the default in the meantime; this one does not.
            assert_eq!(sockets.ask("admin", "prompt\n").await, "\n> ");
            patient.write_all(b"show cli level\n").await.unwrap();
            read_some(&mut patient, "admin\n\n> ").await;
        },
    );
}

#[test]
fn further_connections_wait() {
    serve_with(
        |socket| socket.maxconn = 2,
        async |_, sockets| {
            let mut first = sockets.connect("admin").await;
            let mut second = sockets.connect("admin").await;
            for held in [&mut first, &mut second] {
                held.write_all(b"prompt\n").await.unwrap();
                read_some(held, "\n> ").await;
            }
            let mut third = sockets.connect("admin").await;
            third.write_all(b"show cli level\n").await.unwrap();
            let mut byte = [0];
            for _ in 0..50 {
                tokio::task::yield_now().await;
                assert!(third.try_read(&mut byte).is_err(), "it waits for a place");
            }
            assert_eq!(
                sockets.ask("user", "show cli level\n").await,
                "user\n\n",
                "other sockets have their own places"
            );
            drop(first);
            assert_eq!(read_all(&mut third).await, "admin\n\n");
        },
    );
}

#[test]
fn lines_that_are_too_long_are_refused_with_the_reason() {
    serve(async |lab, sockets| {
        let short_of_it = format!("show cli level {}\n", "x".repeat(16 * 1024 - 15));
        assert_eq!(sockets.ask("admin", short_of_it).await, "admin\n\n");
        let mut long = vec![b'x'; 10 << 20];
        long.extend_from_slice(b"\nset server be_web/web1 state drain\n");
        assert_eq!(sockets.ask("admin", long).await, TOO_BIG);
        assert_eq!(lab.origins.borrow().len(), 0, "nothing behind it is carried out");
    });
}

#[test]
fn hostile_bytes_do_no_harm() {
    serve(async |_, sockets| {
        for bytes in
            [&b"\0\0\0\n"[..], b"\xff\xfe show \x80\n", b"show\0version\n", b"\\\n", b";;;;\n", b"<<\n\n", b"\r\n"]
        {
            let reply = sockets.ask("admin", bytes).await;
            assert!(reply.ends_with('\n') && !reply.contains('\0'), "{bytes:?}: {reply:?}");
        }
        let many = ";".repeat(16_000) + "\n";
        assert_eq!(sockets.ask("admin", many).await, "\n".repeat(16_001));
        assert_eq!(sockets.ask("admin", "show cli level\n").await, "admin\n\n");
    });
}

#[test]
fn a_peer_that_does_not_read_is_given_up_and_holds_nobody_else() {
    serve_with(
        |socket| socket.timeout = Duration::from_millis(200),
        async |_, sockets| {
            let mut greedy = sockets.connect("admin").await;
            let line = "show stat json;".repeat(1000) + "\n";
            greedy.write_all(line.as_bytes()).await.unwrap();
            assert_eq!(sockets.ask("admin", "show cli level\n").await, "admin\n\n");
            // It reads only after the server has lost patience: the end of the replies is missing.
            let one = sockets.ask("admin", "show stat json\n").await.len();
            let mut silent = sockets.connect("admin").await;
            assert_eq!(read_all(&mut silent).await, "", "an idle connection that came later is over");
            let mut reply = Vec::new();
            let _ = tokio::time::timeout(DEADLINE, greedy.read_to_end(&mut reply)).await.unwrap();
            assert!(reply.len() < one * 1000, "{} bytes of {}", reply.len(), one * 1000);
        },
    );
}

#[test]
fn tcp_sockets_answer_too() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut spec = unix_socket("unused".as_ref(), Level::Operator);
        spec.address = AdminAddress::Tcp(([127, 0, 0, 1], 0).into());
        let server = AdminServer::bind(&[spec]).unwrap();
        let lockgate::admin::bind::BoundAddress::Tcp(address) = server.addresses()[0].clone() else { panic!() };
        let serving = tokio::task::spawn_local(server.serve(std::rc::Rc::new(crate::lab::Lab::new())));
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        client.write_all(b"show cli level; show cli sockets\r\n").await.unwrap();
        let mut reply = String::new();
        tokio::time::timeout(DEADLINE, client.read_to_string(&mut reply)).await.unwrap().unwrap();
        assert_eq!(reply, format!("operator\n\n# socket lvl processes\nipv4@{address} operator all\n\n"));
        serving.abort();
    });
}

#[test]
fn socket_files_are_made_with_their_mode_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let server = AdminServer::bind(&[unix_socket(&path, Level::Admin)]).unwrap();
    let found = std::fs::metadata(&path).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    drop(server);
    assert!(!path.exists());
}

#[test]
fn live_sockets_are_refused_and_stale_ones_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let spec = [unix_socket(&path, Level::Admin)];
    let live = AdminServer::bind(&spec).unwrap();
    let refused = AdminServer::bind(&spec).unwrap_err();
    assert!(matches!(refused, BindError::InUse(_)), "{refused}");
    assert_eq!(
        refused.to_string(),
        format!("admin socket {}: another process is listening there; stop it or choose another path", path.display())
    );
    drop(live);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the file of a process that is gone");
    let server = AdminServer::bind(&spec).unwrap();
    // A successor that took the path over keeps its file when this one ends.
    std::fs::remove_file(&path).unwrap();
    let successor = AdminServer::bind(&spec).unwrap();
    drop(server);
    assert!(path.exists());
    drop(successor);
    std::fs::write(&path, "no socket").unwrap();
    assert!(matches!(AdminServer::bind(&spec), Err(BindError::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "no socket");
}

#[test]
fn mistakes_in_a_sockets_settings_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let bind = |change: &dyn Fn(&mut lockgate::config::model::UnixSocket)| {
        let mut spec = unix_socket(&folder.path().join("a.sock"), Level::Admin);
        if let AdminAddress::Unix(unix) = &mut spec.address {
            change(unix);
        }
        let error = AdminServer::bind(&[spec]).unwrap_err();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind: {error}");
        error
    };
    assert!(matches!(bind(&|u| u.user = Some("no-such-user-here".into())), BindError::NoSuchUser { .. }));
    assert!(matches!(bind(&|u| u.group = Some("no-such-group-here".into())), BindError::NoSuchGroup { .. }));
    assert!(matches!(bind(&|u| u.path = folder.path().join("none/a.sock")), BindError::Io { .. }));
    assert!(matches!(bind(&|u| u.path = folder.path().join("x".repeat(200))), BindError::Io { .. }));
}
