//! rsyslogd as a receiver of log lines.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{ports, tools, until};

/// Lines as they came, with their priority.
pub const AS_RECEIVED: &str = "%rawmsg%\\n";
/// Lines as rsyslog writes them to `/var/log` when nothing else is said, with the sender's name.
pub const TRADITIONAL: &str = "%TIMESTAMP% lb1 %syslogtag%%msg:::sp-if-no-1st-sp%%msg:::drop-last-lf%\\n";

/// A running rsyslogd. Dropping it ends the process.
pub struct Rsyslog {
    target: String,
    file: PathBuf,
    _process: tools::Running,
}

impl Rsyslog {
    /// Receives over UDP and writes to a file in `folder`, each line by `template`.
    #[track_caller]
    pub fn start(folder: &Path, template: &str) -> Rsyslog {
        let address = ports::address();
        let file = folder.join("received.log");
        let config = folder.join("rsyslog.conf");
        let text = format!(
            "global(workDirectory=\"{dir}\" maxMessageSize=\"64k\")\n\
             module(load=\"imudp\")\n\
             template(name=\"line\" type=\"string\" string=\"{template}\")\n\
             ruleset(name=\"all\" queue.type=\"LinkedList\" queue.size=\"200000\") {{\n  \
               action(type=\"omfile\" file=\"{file}\" template=\"line\")\n}}\n\
             input(type=\"imudp\" address=\"{ip}\" port=\"{port}\" ruleset=\"all\" rcvbufSize=\"16m\")\n",
            dir = folder.display(),
            file = file.display(),
            ip = address.ip(),
            port = address.port()
        );
        std::fs::write(&config, text).expect("the test's own folder can be written");
        let process = tools::Running::start(
            Command::new(tools::need("rsyslogd", "rsyslog"))
                .arg("-n")
                .arg("-f")
                .arg(config)
                .arg("-i")
                .arg(folder.join("rsyslog.pid"))
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        until("rsyslogd to receive", || std::net::UdpSocket::bind(address).is_err());
        Rsyslog { target: format!("udp://{address}"), file, _process: process }
    }

    /// The target as the configuration writes it.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The file it writes.
    pub fn file(&self) -> &Path {
        &self.file
    }
}
