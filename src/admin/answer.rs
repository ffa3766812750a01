//! Carrying one order out: what is asked of the process, and the reply.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::connection::Connection;
use super::{certificates, diagnose};
use crate::core::admin::certificates::CertificateOrder;
use crate::core::admin::command::{Command, Order, ServerChange, TableQuery};
use crate::core::admin::new_server::NewServer;
use crate::core::admin::table::{self, TableFilter, TableValues};
use crate::core::admin::{Level, TableView, captured, checks, help, modes, servers, sessions, texts};
use crate::core::fleet::Refusal;
use crate::core::fleet::event::{AgentOrder, Event, Origin, Way};
use crate::core::fleet::frontends::FrontendOrder;
use crate::core::fleet::spec::FrontendIndex;
use crate::core::limit::SetError;
use crate::core::stats::{self, Query, View, info, schema};

/// What follows an order.
pub(super) enum Reply {
    /// This text, ending with a line end unless empty, then the empty line that ends every reply.
    Text(String),
    /// Nothing; the connection is closed.
    Close,
}

/// Carries an order out for a connection. `words` are what it was parsed from.
pub(super) async fn answer(order: Order, words: &[String], connection: &mut Connection) -> Reply {
    if order.level > connection.level {
        return Reply::Text(connection.severity.prefix(modes::REFUSED) + &line(texts::PERMISSION_DENIED));
    }
    if order.level == Level::Admin {
        tracing::info!(who = %connection.who, command = ?words.join(" "), "admin command");
    }
    let severity = modes::severity_of(&order.command);
    let result = match order.command {
        Command::Quit => return Reply::Close,
        Command::ShowStreams(query) => {
            let streams = connection.orders.streams().await;
            sessions::render(query, &streams, &TimeZone::system())
        }
        Command::KillStream(id) => kill_stream(id, connection).await,
        Command::OrderFrontend { frontend, order } => order_frontend(&frontend, order, connection).await,
        Command::Diagnose(what) => diagnose::answer(what, connection).await,
        Command::Certificates(CertificateOrder::Update) => certificates::update(connection).await,
        other => settle(other, connection),
    };
    let (severity, text) = match result {
        Ok(text) => (severity, text),
        Err(Refusal(text)) => (Some(modes::REFUSED), line(&text)),
    };
    Reply::Text(severity.map_or_else(String::new, |severity| connection.severity.prefix(severity)) + &text)
}

fn line(text: &str) -> String {
    format!("{text}\n")
}

fn refuse<T>(text: &str) -> Result<T, Refusal> {
    Err(Refusal(text.to_owned()))
}

/// Everything that need not wait.
fn settle(command: Command, connection: &mut Connection) -> Result<String, Refusal> {
    let orders = std::rc::Rc::clone(&connection.orders);
    let done = Ok(String::new());
    match command {
        Command::Nothing | Command::Quit | Command::ShowStreams(_) | Command::KillStream(_) => done,
        Command::OrderFrontend { .. } | Command::Diagnose(_) => done,
        Command::AddServer { server, new } => add_server(&server, new, connection),
        Command::DeleteServer(server) => {
            let server = orders.fleet().find_server(&server)?;
            orders.apply(Event::DeleteServer { server })?;
            Ok(line(texts::SERVER_DELETED))
        }
        Command::SetFrontendMaxconn { frontend, maxconn } => {
            let frontend = find_frontend(&frontend, connection)?;
            let maxconn = maxconn.or_else(refuse)?;
            orders.apply(Event::SetFrontendMaxconn { frontend, maxconn })?;
            done
        }
        Command::SetProcessLimit { limit, to } => {
            orders.apply(Event::SetProcessLimit { limit, to })?;
            done
        }
        Command::Certificates(order) => certificates::answer(order, connection),
        Command::SetSeverity(severity) => {
            connection.severity = severity;
            done
        }
        Command::Mode { mode, on } => Ok(connection.switch(mode, on)),
        Command::Help(words) => Ok(help::help(&words, connection.level)),
        Command::Unknown(words) => Ok(help::unknown(&words, connection.level)),
        Command::Refused(text) => Err(Refusal(text)),
        Command::Prompt => {
            connection.interactive = !connection.interactive;
            done
        }
        Command::Lower(level) => {
            connection.level = connection.level.min(level);
            done
        }
        Command::SetTimeout(timeout) => {
            connection.timeout = timeout;
            done
        }
        Command::ShowVersion => Ok(line(stats::VERSION)),
        Command::ShowLevel => Ok(line(connection.level.word())),
        Command::ShowSockets => Ok(format!("# socket lvl processes\n{}", connection.listed)),
        Command::ShowInfo(query) => {
            let facts = orders.facts();
            Ok(info::render(query, &facts, &orders.fleet(), &orders.rates(), orders.now()))
        }
        Command::ShowStat(query) => show_stat(&query, connection),
        Command::ShowSchema => Ok(schema::render()),
        Command::ShowBackends => Ok(servers::backends(&orders.fleet())),
        Command::ShowServersState(backend) => servers::state(&orders.fleet(), backend.as_deref(), orders.now()),
        Command::ShowServersConn(backend) => servers::connections(&orders.fleet(), backend.as_deref()),
        Command::ShowServersChecks(backend) => checks::checks(&orders.fleet(), backend.as_deref(), orders.now()),
        Command::GetWeight(server) => servers::weight(&orders.fleet(), &server),
        Command::ShowErrors(query) => {
            let (errors, captured) = orders.errors();
            let (now, zone) = (orders.wall(), TimeZone::system());
            captured::render(&query, &errors, captured, &orders.fleet(), now, &zone)
        }
        Command::ShowTables => {
            let mut out = String::new();
            orders.tables().iter().for_each(|t| t.write_header(&mut out));
            Ok(out)
        }
        Command::ShowTable(query) => {
            let table = find_table(&query.table, connection)?;
            let rows = orders.table_rows(&table.name);
            table::render(&query.rows.map_err(Refusal)?, &table, &rows).map_err(Refusal)
        }
        Command::ClearTable(query) => clear_table(query, connection),
        Command::SetTable { table, values } => set_table(&table, values, connection),
        Command::Patterns(order) => orders.patterns(order).map_err(Refusal),
        Command::ClearCounters { all } => {
            orders.clear_counters(all);
            done
        }
        Command::ChangeServer { server, change } => change_server(&server, change, connection),
        Command::SetMaintenance { backend, on } => {
            let index = orders.fleet().find_backend(&backend);
            let Some(index) = index else { return refuse(texts::NO_SUCH_BACKEND) };
            let on = on.or_else(refuse)?;
            orders.apply(Event::SetMaintenance { backend: index, on })?;
            done
        }
        Command::KillServerStreams(server) => {
            let server = orders.fleet().find_server(&server)?;
            orders.kill_server_streams(server);
            done
        }
    }
}

fn show_stat(query: &Query, connection: &Connection) -> Result<String, Refusal> {
    let orders = &connection.orders;
    let (fleet, rates) = (orders.fleet(), orders.rates());
    let started = orders.facts().started;
    let legends = connection.level >= Level::Operator;
    let view = View { fleet: &fleet, rates: &rates, started, now: orders.now(), legends };
    stats::render(query, &view).or_else(|_| refuse(texts::NO_SUCH_PROXY))
}

/// The server is looked for first, then the change is looked at, as HAProxy does.
fn change_server(
    server: &str,
    change: Result<ServerChange, String>,
    connection: &Connection,
) -> Result<String, Refusal> {
    let orders = &connection.orders;
    let server = orders.fleet().find_server(server)?;
    let by = Origin { way: Way::Cli, who: connection.who.clone(), at: orders.wall() };
    let event = match change.map_err(Refusal)? {
        ServerChange::Nothing => return Ok(String::new()),
        ServerChange::Admin(state) => Event::SetAdminState { server, state, by },
        ServerChange::Health(health) => Event::SetHealth { server, health, by },
        ServerChange::Weight(weight) => Event::SetWeight { server, weight, by },
        ServerChange::Maxconn(maxconn) => Event::SetMaxconn { server, maxconn },
        ServerChange::Checks(enabled) => Event::SetChecks { server, enabled },
        ServerChange::CheckTarget { ip, port } => Event::SetCheckTarget { server, ip, port },
        ServerChange::Agent(on) => Event::OrderAgent { server, order: AgentOrder::Enable(on) },
        ServerChange::AgentHealth(up) => Event::OrderAgent { server, order: AgentOrder::Health { up, by } },
        ServerChange::AgentTarget { ip, port } => Event::OrderAgent { server, order: AgentOrder::Target { ip, port } },
        ServerChange::AgentSend(send) => Event::OrderAgent { server, order: AgentOrder::Send(send.into()) },
        ServerChange::Tls(on) => {
            orders.fleet().may_set_tls(server)?;
            let Some(on) = on else { return refuse(texts::SERVER_TLS_EXPECTED) };
            orders.apply(Event::SetTls { server, on, by })?;
            return Ok(line(texts::SERVER_TLS_UPDATED));
        }
        ServerChange::Name(name) => {
            let told = orders.fleet().describe_name_change(server, &name)?;
            orders.apply(Event::SetName { server, name: name.into(), by })?;
            return Ok(line(&told));
        }
        ServerChange::Address { ip, port } => {
            let told = orders.fleet().describe_address_change(server, Some(ip), port);
            orders.apply(Event::SetAddress { server, ip: Some(ip), port, by })?;
            return Ok(line(&told));
        }
    };
    orders.apply(event)?;
    Ok(String::new())
}

/// The backend is looked for first, then the words are looked at, as HAProxy does.
fn add_server(path: &str, new: Result<Box<NewServer>, String>, connection: &Connection) -> Result<String, Refusal> {
    let orders = &connection.orders;
    let Some((backend, name)) = path.split_once('/').filter(|(_, name)| !name.is_empty()) else {
        return refuse(texts::SERVER_REQUIRED);
    };
    let Some(backend) = orders.fleet().find_backend(backend) else { return refuse(texts::NO_SUCH_BACKEND) };
    let new = new.map_err(Refusal)?;
    let (sid, spec) = match orders.fleet().backend(backend) {
        Some(entry) => (new.sid, new.build(name, &entry.spec)?),
        None => return refuse(texts::NO_SUCH_BACKEND),
    };
    orders.apply(Event::AddServer { backend, spec: Arc::new(spec), sid })?;
    Ok(line(texts::SERVER_REGISTERED))
}

fn find_frontend(name: &str, connection: &Connection) -> Result<FrontendIndex, Refusal> {
    if name.is_empty() {
        return refuse(texts::FRONTEND_EXPECTED);
    }
    let found = connection.orders.fleet().find_frontend(name);
    found.map_or_else(|| refuse(texts::NO_SUCH_FRONTEND), Ok)
}

/// Answers when every worker has done it: whoever connects after the reply meets the new state.
async fn order_frontend(name: &str, order: FrontendOrder, connection: &Connection) -> Result<String, Refusal> {
    let frontend = find_frontend(name, connection)?;
    connection.orders.apply(Event::OrderFrontend { frontend, order })?;
    connection.orders.settled().await;
    Ok(String::new())
}

async fn kill_stream(id: u64, connection: &Connection) -> Result<String, Refusal> {
    let known = connection.orders.streams().await.iter().any(|s| s.id == id);
    if !known {
        return refuse(texts::NO_SUCH_SESSION);
    }
    connection.orders.kill_stream(id);
    Ok(String::new())
}

fn find_table(name: &str, connection: &Connection) -> Result<TableView, Refusal> {
    let found = connection.orders.tables().into_iter().find(|t| *t.name == *name);
    found.map_or_else(|| refuse(texts::NO_SUCH_TABLE), Ok)
}

fn clear_table(query: TableQuery, connection: &Connection) -> Result<String, Refusal> {
    let orders = &connection.orders;
    let table = find_table(&query.table, connection)?;
    let filter = query.rows.map_err(Refusal)?;
    if filter == TableFilter::All {
        orders.clear_table(&table.name, None);
        return Ok(String::new());
    }
    let rows = orders.table_rows(&table.name);
    let chosen = table::select(&filter, &table, &rows).map_err(Refusal)?;
    if matches!(filter, TableFilter::Key(_)) && chosen.iter().any(|r| r.in_use > 0) {
        return refuse(texts::ENTRY_IN_USE);
    }
    // All at once: a large table is gone through as a whole.
    let keys = chosen.iter().filter(|r| r.in_use == 0).map(|r| &*r.key).collect();
    orders.clear_table(&table.name, Some(&keys));
    Ok(String::new())
}

/// As in HAProxy the key comes first: an entry is made even when what is to be set in it cannot be read.
fn set_table(table: &str, values: Result<TableValues, String>, connection: &Connection) -> Result<String, Refusal> {
    let table = find_table(table, connection)?;
    let set = values.map_err(Refusal)?;
    let (values, wrong) = match set.values {
        Ok(values) => (values, None),
        Err(text) => (Vec::new(), Some(text)),
    };
    match (connection.orders.set_table(&table.name, &set.key, &values), wrong) {
        (Err(SetError::Key), _) => refuse(texts::INVALID_KEY),
        (Err(SetError::NotStored), _) => refuse(texts::DATA_NOT_STORED),
        (Ok(()), Some(text)) => Err(Refusal(text)),
        (Ok(()), None) => Ok(String::new()),
    }
}
