//! Flags and sub-commands. Each command has its file; this one only knows their names.

pub mod check;
pub mod ctl;
mod demo;
mod hash_password;
pub mod order;
pub mod respond;
mod run;
pub mod schema;
pub mod socket;
pub mod status;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::runtime::clock;

/// A layer-7 load balancer and TLS terminator that speaks HAProxy's operational language.
#[derive(Debug, Parser)]
#[command(name = "lockgate", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve as a configuration says
    Run {
        /// The configuration file
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Look for mistakes in a configuration, without opening a port or resolving a name
    Check {
        /// The configuration file; `-` reads standard input
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Say something to the admin socket of a running lockgate
    Ctl(ctl::Ctl),
    /// Show how a running lockgate's frontends, backends and servers are
    Status(status::Status),
    /// Take servers out of rotation; what they are doing is finished
    Drain(order::Order),
    /// Bring servers back into rotation
    Ready(order::Order),
    /// Put servers into maintenance: no traffic, no checks
    Maint(order::Order),
    /// Hash a password for the users of a stats page
    HashPassword,
    /// Print the JSON schema of the configuration, for editors
    Schema,
    /// Try it all out: three web servers, lockgate in front of them, and what to type
    Demo(demo::DemoArgs),
    /// A small scripted web server, for trying things
    Respond(respond::RespondArgs),
}

/// The program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_tracing();
    match cli.command {
        Command::Run { config } => run::run(&config),
        Command::Check { config } => check::run(&config, clock::wall()),
        Command::Ctl(ctl) => ctl.run(),
        Command::Status(status) => status.run(),
        Command::Drain(order) => order.run(order::Wanted::Drain),
        Command::Ready(order) => order.run(order::Wanted::Ready),
        Command::Maint(order) => order.run(order::Wanted::Maint),
        Command::HashPassword => finished(hash_password::run()),
        Command::Schema => schema::run(),
        Command::Demo(args) => demo::run(&args),
        Command::Respond(args) => finished(respond::run(&args)),
    }
}

fn finished(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lockgate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The levels asked for, `info` if none are, and the h2 library silent below errors unless it is named: what it warns of is
/// clients' doing, frame by frame, and nobody may fill a disk from outside.
fn quieted(levels: &str) -> String {
    let levels = if levels.is_empty() { "info" } else { levels };
    if levels.contains("h2=") { levels.to_owned() } else { format!("{levels},h2=error") }
}

/// lockgate's own operational log: to standard error, which systemd puts into the journal. `LOCKGATE_LOG` sets levels.
fn start_tracing() {
    use std::io::IsTerminal;
    use tracing_subscriber::EnvFilter;
    let levels = std::env::var("LOCKGATE_LOG").unwrap_or_default();
    let filter = EnvFilter::try_new(quieted(&levels)).unwrap_or_else(|_| EnvFilter::new(quieted("")));
    let in_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // The journal has its own time stamps.
    if in_journal { builder.without_time().init() } else { builder.init() }
}
