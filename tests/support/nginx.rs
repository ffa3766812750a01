//! Debian's nginx as a server behind the proxy.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use super::tools::{self, Running};
use super::{ports, until};

/// One nginx with a configuration and an access log of its own.
pub struct Nginx {
    name: String,
    address: SocketAddr,
    folder: PathBuf,
    process: Mutex<Option<Running>>,
}

impl Nginx {
    /// Starts one that serves `locations` (nginx configuration inside a `server`).
    ///
    /// Its access log has `method target status body-bytes request-id user-agent` per line.
    pub fn start(folder: &Path, name: &str, locations: &str) -> Nginx {
        let folder = folder.join(name);
        std::fs::create_dir_all(folder.join("html")).expect("the test's own folder can be written");
        let address = ports::address();
        let user = if nix::unistd::geteuid().is_root() { "user root;" } else { "" };
        let dir = folder.display();
        let config = format!(
            "daemon off; {user} worker_processes 1; pid {dir}/pid; error_log {dir}/error.log warn;\n\
             events {{ worker_connections 2048; }}\n\
             http {{\n\
               log_format test '$request_method $request_uri $status $body_bytes_sent \"$http_x_request_id\" \
             \"$http_user_agent\" $msec';\n\
               access_log {dir}/access.log test;\n\
               client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;\n\
               uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;\n\
               keepalive_requests 1000000; client_max_body_size 0;\n\
               server {{ listen {address}; root {dir}/html;\n{locations}\n}}\n\
             }}\n"
        );
        std::fs::write(folder.join("nginx.conf"), config).expect("the test's own folder can be written");
        let nginx = Nginx { name: name.to_owned(), address, folder, process: Mutex::new(None) };
        nginx.run();
        nginx
    }

    fn run(&self) {
        let program = tools::need("nginx", "nginx-light");
        let process = Running::start(
            Command::new(program)
                .arg("-p")
                .arg(&self.folder)
                .arg("-c")
                .arg(self.folder.join("nginx.conf"))
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        *self.process.lock().expect("no other thread fails with it") = Some(process);
        until("nginx to listen", || TcpStream::connect(self.address).is_ok());
    }

    /// Where it is.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Its name, as given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its folder: `html/` is served, `pid`, `nginx.conf` and `access.log` are there.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lines of its access log so far.
    pub fn access_log(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("access.log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A master must be asked: killed hard, it would leave its workers behind. The process may be another one than was
        // started here; its folder, with the file that says which, must still be there.
        let pid = std::fs::read_to_string(self.folder.join("pid")).unwrap_or_else(|e| {
            eprintln!("{} may be left running: {e}", self.name);
            String::new()
        });
        let process = self.process.lock().ok().and_then(|mut process| process.take());
        let Ok(pid) = pid.trim().parse() else { return };
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        super::eventually_or(super::PATIENCE, || (!self.folder.join("pid").exists()).then_some(()));
        if let Some(process) = process {
            process.finish();
        }
    }
}
