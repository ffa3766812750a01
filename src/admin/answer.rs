//! Carrying one order out: what is asked of the process, and the reply.

use jiff::tz::TimeZone;

use super::connection::Connection;
use crate::core::admin::command::{Command, Order, ServerChange, TableQuery};
use crate::core::admin::table::{self, TableFilter};
use crate::core::admin::{Level, TableView, captured, help, servers, sessions, texts};
use crate::core::fleet::Refusal;
use crate::core::fleet::event::{AgentOrder, Event, Origin, Way};
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
        return Reply::Text(line(texts::PERMISSION_DENIED));
    }
    if order.level == Level::Admin {
        tracing::info!(who = %connection.who, command = ?words.join(" "), "admin command");
    }
    let result = match order.command {
        Command::Quit => return Reply::Close,
        Command::ShowStreams(query) => {
            let streams = connection.orders.streams().await;
            sessions::render(query, &streams, &TimeZone::system())
        }
        Command::KillStream(id) => kill_stream(id, connection).await,
        other => settle(other, connection),
    };
    Reply::Text(result.unwrap_or_else(|Refusal(text)| line(&text)))
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
            let table = find_table(&query, connection)?;
            let rows = orders.table_rows(&table.name);
            table::render(&query.rows.map_err(Refusal)?, &table, &rows).map_err(Refusal)
        }
        Command::ClearTable(query) => clear_table(query, connection),
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

async fn kill_stream(id: u64, connection: &Connection) -> Result<String, Refusal> {
    let known = connection.orders.streams().await.iter().any(|s| s.id == id);
    if !known {
        return refuse(texts::NO_SUCH_SESSION);
    }
    connection.orders.kill_stream(id);
    Ok(String::new())
}

fn find_table(query: &TableQuery, connection: &Connection) -> Result<TableView, Refusal> {
    let found = connection.orders.tables().into_iter().find(|t| *t.name == *query.table);
    found.map_or_else(|| refuse(texts::NO_SUCH_TABLE), Ok)
}

fn clear_table(query: TableQuery, connection: &Connection) -> Result<String, Refusal> {
    let orders = &connection.orders;
    let table = find_table(&query, connection)?;
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
