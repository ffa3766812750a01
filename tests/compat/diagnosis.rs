//! Commands that only look, modes of a connection, and what each level may do.

use std::time::SystemTime;

use lockgate::core::admin::diagnosis::PastEvent;

use crate::lab::{Lab, serve};

#[test]
fn replies_begin_with_their_severity_when_asked() {
    serve(async |_, sockets| {
        let line = |mode: &str| {
            format!(
                "set severity-output {mode}; show version; get weight be_web/nope; get weight be_web/web1; \
                 show ssl cert nope; new ssl cert x; commit ssl cert x; user; show fd; expert-mode\n"
            )
        };
        let plain = sockets.ask("admin", line("none")).await;
        assert!(!plain.contains("]: "), "{plain}");
        sockets.ask("admin", "del ssl cert x\n").await;
        let numbers = sockets.ask("admin", line("number")).await;
        for part in [
            "\n[6]: 2.8.",
            "\n[3]: No such server.\n\n10 (initial 10)\n\n",
            "\n[3]: Can't display the certificate: ",
            "\n[5]: New empty certificate store 'x'!\n",
            "\n[3]: No ongoing transaction! !\nCan't commit x!\n\n",
            "\n\n[3]: Permission denied\n\n[3]: Permission denied\n\n",
        ] {
            assert!(numbers.contains(part), "{part:?} is not in {numbers:?}");
        }
        sockets.ask("admin", "del ssl cert x\n").await;
        let words = sockets.ask("admin", line("string")).await;
        assert!(words.contains("\n[info]: 2.8.") && words.contains("\n[notice]: New empty"), "{words:?}");
        assert!(!sockets.ask("admin", "get weight be_web/nope\n").await.contains('['), "of one connection only");
    });
}

#[test]
fn modes_belong_to_a_connection() {
    serve(async |_, sockets| {
        let reply = sockets.ask("admin", "expert-mode on; expert-mode; experimental-mode\n").await;
        assert_eq!(reply, "\nexpert-mode is ON\n\nexperimental-mode is OFF\n\n");
        assert_eq!(sockets.ask("admin", "expert-mode; expert-mode off\n").await, "expert-mode is OFF\n\n\n");
    });
}

#[test]
fn what_looks_at_the_process_tells_of_this_process() {
    serve(async |lab, sockets| {
        {
            let mut remembered = lab.remembered.borrow_mut();
            remembered.startup = vec![("NOTICE", "hello".into()), ("WARNING", "config : odd".into())];
            remembered.name_servers = vec!["192.0.2.53:53".into()];
            remembered.events =
                vec![PastEvent { at: SystemTime::UNIX_EPOCH, severity: 1, text: "Server a/b is DOWN.".into() }];
        }
        let pid = std::process::id();
        let startup = sockets.ask("operator", "show startup-logs\n").await;
        assert_eq!(startup, format!("[NOTICE]   ({pid}) : hello\n[WARNING]  ({pid}) : config : odd\n\n"));
        let events = sockets.ask("user", "show events buf0\n").await;
        assert!(events.starts_with("<1>19") && events.ends_with(" Server a/b is DOWN.\n\n"), "{events}");
        assert_eq!(sockets.ask("user", "show events buf0 -n\n").await, "\n");
        assert_eq!(sockets.ask("user", "show events nope\n").await, "No such event sink\n\n");
        assert!(sockets.ask("user", "show events\n").await.contains("\n    buf0       : type=buffer, 0 dropped"));

        let path = std::env::var("PATH").unwrap();
        assert_eq!(sockets.ask("operator", "show env PATH\n").await, format!("PATH={path}\n\n"));
        assert_eq!(sockets.ask("operator", "show env NO_SUCH_NAME\n").await, "Variable not found\n\n");
        assert!(sockets.ask("operator", "show env\n").await.contains(&format!("\nPATH={path}\n")));
        assert_eq!(sockets.ask("user", "show env PATH\n").await, "Permission denied\n\n");

        let descriptors = sockets.ask("operator", "show fd\n").await;
        let socket = sockets.path("operator").display().to_string();
        // The socket was bound beside its place and moved there, so the kernel knows it by its first name.
        let folder = socket.rsplit_once('/').unwrap().0;
        assert!(descriptors.contains(&format!("st=LISTEN l.st=RDY fe=GLOBAL fam=unix {folder}/")), "{descriptors}");
        assert_eq!(sockets.ask("operator", "show fd 99999\n").await, "\n");

        let resolvers = sockets.ask("user", "show resolvers\n").await;
        assert!(
            resolvers.starts_with("Resolvers section default\n nameserver 192.0.2.53:53:\n  sent: "),
            "{resolvers}"
        );
        assert_eq!(sockets.ask("user", "show resolvers nope\n").await, "Can't find that resolvers section\n\n");

        let threads = sockets.ask("user", "show threads\n").await;
        assert_eq!(threads.lines().filter(|line| line.starts_with("* Thread ")).count(), 1, "{threads}");
        let program = std::env::current_exe().unwrap().display().to_string();
        assert!(sockets.ask("operator", "show libs\n").await.contains(&format!(") {program}\n")));
        assert!(sockets.ask("user", "show pools\n").await.contains(" bytes resident.\n"));
        assert!(sockets.ask("user", "show profiling\n").await.starts_with("Per-task CPU profiling"));
        assert!(sockets.ask("operator", "show activity\n").await.contains("\nrequests: 10\n"));
    });
}

#[test]
fn what_takes_effect_is_an_event() {
    serve(async |lab, sockets| {
        let names: Vec<String> = lab.certificates.borrow().names().map(str::to_owned).collect();
        let (one, two) = (&names[0], &names[1]);
        let pem = std::fs::read_to_string(two).unwrap();
        sockets.ask("admin", format!("set ssl cert {one} <<\n{pem}\n")).await;
        assert!(lab.remembered.borrow().events.is_empty(), "nothing happened yet");
        sockets.ask("admin", format!("commit ssl cert {one}\n")).await;
        let event = lab.remembered.borrow().events[0].text.clone();
        assert_eq!(*event, format!("Certificate {one} was replaced, changed from CLI."));
    });
}

/// What a connection of less than admin level could have changed.
async fn state(lab: &Lab, sockets: &crate::lab::Sockets) -> String {
    let mut out = sockets.ask("admin", "show servers state; show backend; show table st_rate; show ssl cert\n").await;
    let fleet = lab.fleet.borrow();
    for backend in fleet.backends() {
        out += &format!("{} {:?} ", backend.spec.name, backend.maintenance);
        for server in &backend.servers {
            out += &format!("{} {:?}\n", server.spec.name, server.state);
        }
    }
    out += &format!("{:?} {:?}", lab.killed.borrow(), lab.origins.borrow());
    out += &format!("{:?}", lab.certificates.borrow().views());
    out
}

/// A command of the help with something in every place of its usage.
fn filled_in(usage: &str, certificate: &str) -> String {
    let mut line = usage.replace("<backend>/<server> <what> ...", "be_web/web1 state maint");
    for (place, word) in [
        ("<backend>/<server>", "be_web/web1"),
        ("<bk>/<srv>", "be_web/web1"),
        ("<backend>", "be_web"),
        ("<frontend>", "fe_main"),
        ("<table>", "st_rate"),
        ("<certfile>", certificate),
        ("<n>[%]", "3"),
        ("<n>", "3"),
        ("<id>", "0x3a30dc10"),
        ("on|off", "on"),
        ("ready|drain|maint", "maint"),
        ("<payload>", "<<\nx\n"),
    ] {
        line = line.replace(place, word);
    }
    line.replace(['[', ']', '*'], "")
}

#[test]
fn lower_levels_change_nothing() {
    serve(async |lab, sockets| {
        lab.fill_table();
        let certificate = lab.certificates.borrow().names().next().unwrap().to_owned();
        let usages = |help: &str| -> Vec<String> {
            let commands = help.lines().skip(1).filter_map(|line| line.strip_prefix("  ")?.split_once(": "));
            commands.map(|(usage, _)| usage.trim().to_owned()).collect()
        };
        let all = usages(&sockets.ask("admin", "help\n").await);
        for level in ["user", "operator"] {
            let allowed = usages(&sockets.ask(level, "help\n").await);
            let denied: Vec<&String> = all.iter().filter(|usage| !allowed.contains(usage)).collect();
            assert!(denied.len() > 20, "{denied:?}");
            let before = state(&lab, &sockets).await;
            for usage in denied {
                let line = filled_in(usage, &certificate);
                let reply = sockets.ask(level, format!("{line}\n")).await;
                assert!(reply.starts_with("Permission denied\n"), "{level}: {line}: {reply}");
            }
            // What the level may say changes nothing but counters and the connection itself.
            for usage in allowed.iter().filter(|usage| !usage.starts_with("prompt")) {
                // Without what is optional, which may need more (`clear counters all`).
                let line = filled_in(usage.split('[').next().unwrap_or(usage), &certificate);
                let reply = sockets.ask(level, format!("{line}\n")).await;
                assert!(!reply.starts_with("Permission denied\n"), "{level}: {line}");
            }
            // Nothing lifts a level, and words in another order reach no command.
            for line in ["admin", "operator; expert-mode on; set server be_web/web1 state maint", "@1 expert-mode on"] {
                sockets.ask(level, format!("{line}\n")).await;
            }
            assert_eq!(state(&lab, &sockets).await, before, "{level}");
        }
    });
}
