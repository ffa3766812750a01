use proptest::prelude::*;

use super::*;
use crate::core::admin::words::commands;

fn order(line: &str) -> Order {
    parse(&commands(line)[0])
}

fn server(line: &str, expected: Result<ServerChange, &str>) {
    let expected = Command::ChangeServer { server: "be/s1".into(), change: expected.map_err(str::to_owned) };
    assert_eq!(order(line), Order { level: Level::Admin, command: expected }, "{line:?}");
}

#[test]
fn changes_to_servers() {
    use ServerChange::{
        Address, Admin, Agent, AgentHealth, AgentSend, AgentTarget, CheckTarget, Checks, Health, Maxconn, Name, Weight,
    };
    server("set server be/s1 state ready", Ok(Admin(AdminState::Ready)));
    server("set server be/s1 state drain extra words", Ok(Admin(AdminState::Drain)));
    server("set server be/s1 state maint", Ok(Admin(AdminState::Maint)));
    server("set server be/s1 state bogus", Err(texts::STATE_EXPECTED));
    server("set server be/s1 state", Err(texts::STATE_EXPECTED));
    server("set server be/s1 health up", Ok(Health(ForcedHealth::Up)));
    server("set server be/s1 health stopping", Ok(Health(ForcedHealth::Stopping)));
    server("set server be/s1 health down", Ok(Health(ForcedHealth::Down)));
    server("set server be/s1 health bogus", Err(texts::HEALTH_EXPECTED));
    server("set server be/s1 weight 5", Ok(Weight(WeightChange::Absolute(5))));
    server("set server be/s1 weight 256", Ok(Weight(WeightChange::Absolute(256))));
    server("set server be/s1 weight 257", Err(texts::WEIGHT_RANGE));
    server("set weight be/s1 -1", Err(texts::WEIGHT_RANGE));
    server("set weight be/s1 50%", Ok(Weight(WeightChange::Percent(50))));
    server("set weight be/s1 150%", Ok(Weight(WeightChange::Percent(150))));
    server("set weight be/s1 99999999999999999999%", Ok(Weight(WeightChange::Percent(25_600))));
    server("set weight be/s1 -5%", Err(texts::WEIGHT_NEGATIVE));
    server("set weight be/s1 abc", Err(texts::WEIGHT_GARBAGE));
    server("set weight be/s1 %", Err(texts::WEIGHT_GARBAGE));
    server("set weight be/s1 5x", Err(texts::WEIGHT_TRAILING));
    server("set weight be/s1", Err(texts::WEIGHT_REQUIRED));
    server("set maxconn server be/s1 60", Ok(Maxconn(60)));
    server("set maxconn server be/s1 0", Ok(Maxconn(0)));
    server("set maxconn server be/s1 abc", Err(texts::MAXCONN_GARBAGE));
    server("set maxconn server be/s1 6x", Err(texts::MAXCONN_TRAILING));
    server("set maxconn server be/s1 -6", Err(texts::OUT_OF_RANGE));
    server("set maxconn server be/s1", Err(texts::MAXCONN_REQUIRED));
    server("enable server be/s1", Ok(Admin(AdminState::Ready)));
    server("disable server be/s1", Ok(Admin(AdminState::Maint)));
    server("enable health be/s1", Ok(Checks(true)));
    server("disable health be/s1", Ok(Checks(false)));
    server("enable agent be/s1", Ok(Agent(true)));
    server("disable agent be/s1", Ok(Agent(false)));
    let ip = |text: &str| text.parse().unwrap();
    server("set server be/s1 addr 10.0.0.1", Ok(Address { ip: ip("10.0.0.1"), port: None }));
    server("set server be/s1 addr ::1 port 81", Ok(Address { ip: ip("::1"), port: Some(81) }));
    server("set server be/s1 addr", Err(texts::ADDRESS_REQUIRED));
    server("set server be/s1 addr not-an-ip", Err("Invalid addr 'not-an-ip' by 'stats socket command'"));
    server("set server be/s1 addr 10.0.0.1 port 99999", Err("Invalid port '99999' by 'stats socket command'"));
    server("set server be/s1 addr 10.0.0.1 port 0", Err("Invalid port '0' by 'stats socket command'"));
    server(
        "set server be/s1 addr 10.0.0.1 port x",
        Err("problem converting string 'x' to int by 'stats socket command'"),
    );
    let ip = |text: &str| Some(text.parse().unwrap());
    server("set server be/s1 agent up", Ok(AgentHealth(true)));
    server("set server be/s1 agent down", Ok(AgentHealth(false)));
    server("set server be/s1 agent x", Err(texts::AGENT_EXPECTED));
    server("set server be/s1 agent-addr 127.0.0.1", Ok(AgentTarget { ip: ip("127.0.0.1"), port: None }));
    server("set server be/s1 agent-addr ::1 port 5", Ok(AgentTarget { ip: ip("::1"), port: Some(5) }));
    server("set server be/s1 agent-addr", Err(texts::AGENT_ADDRESS_REQUIRED));
    server("set server be/s1 agent-addr xx", Err("invalid addr 'xx'"));
    server("set server be/s1 agent-port 5", Ok(AgentTarget { ip: None, port: Some(5) }));
    server("set server be/s1 agent-port", Err(texts::AGENT_PORT_REQUIRED));
    server("set server be/s1 agent-send hello", Ok(AgentSend("hello".into())));
    server("set server be/s1 check-addr 127.0.0.1", Ok(CheckTarget { ip: ip("127.0.0.1"), port: None }));
    server("set server be/s1 check-addr ::1 port 0", Ok(CheckTarget { ip: ip("::1"), port: Some(0) }));
    server("set server be/s1 check-addr ::1 port", Err(texts::PORT_NO_INTEGER));
    server("set server be/s1 check-addr", Err(texts::CHECK_ADDRESS_REQUIRED));
    server("set server be/s1 check-port", Err(texts::CHECK_PORT_REQUIRED));
    server("set server be/s1 check-port x", Err(texts::PORT_NO_INTEGER));
    server("set server be/s1 check-port 70000", Err(texts::PORT_INVALID));
    server("set server be/s1 check-port -1", Err(texts::PORT_INVALID));
    server("set server be/s1 fqdn A.example.", Ok(Name("a.example".into())));
    server("set server be/s1 fqdn", Err(texts::NAME_REQUIRED));
    server("set server be/s1 fqdn a..b", Err("invalid fqdn 'a..b' by 'stats socket command'"));
    server("set server be/s1 ssl on", Ok(ServerChange::Tls(Some(true))));
    server("set server be/s1 ssl bogus", Ok(ServerChange::Tls(None)));
    server("set server be/s1", Err(texts::SET_SERVER_USAGE));
    server("set server be/s1 bogus 1", Err(texts::SET_SERVER_USAGE));
}

#[test]
fn a_missing_server_is_asked_for() {
    for line in ["set server", "set weight", "set maxconn server", "enable server", "disable health"] {
        match order(line).command {
            Command::ChangeServer { server, .. } => assert_eq!(server, "", "{line}"),
            other => panic!("{line}: {other:?}"),
        }
    }
    assert_eq!(order("get weight").command, Command::GetWeight(String::new()));
}

#[test]
fn levels() {
    use Level::{Admin, Operator, User};
    for (line, level) in [
        ("show info", User),
        ("show stat", User),
        ("show servers state", User),
        ("show table t", User),
        ("get weight a/b", User),
        ("set timeout cli 5", User),
        ("user", User),
        ("bogus", User),
        ("operator", Operator),
        ("show sess", Operator),
        ("show errors", Operator),
        ("clear counters", Operator),
        ("clear counters all", Admin),
        ("clear table t", Admin),
        ("set server a/b state ready", Admin),
        ("set weight a/b 1", Admin),
        ("set maxconn server a/b 1", Admin),
        ("set backend a maintenance on", Admin),
        ("enable server a/b", Admin),
        ("disable health a/b", Admin),
        ("shutdown session 0x1", Admin),
        ("shutdown sessions server a/b", Admin),
    ] {
        assert_eq!(order(line).level, level, "{line}");
    }
}

#[test]
fn statistics() {
    let stat = |line: &str| match order(line).command {
        Command::ShowStat(query) => query,
        other => panic!("{line}: {other:?}"),
    };
    let only = |proxy: &str, kinds, sid| Some(Only { proxy: proxy.into(), kinds, sid });
    assert_eq!(stat("show stat"), Query::default());
    assert_eq!(stat("show stat be_web"), Query::default(), "one word is no filter");
    assert_eq!(stat("show stat -1 4 -1").only, only("-1", 4, -1));
    assert_eq!(stat("show stat be x y").only, only("be", 0, 0));
    let all = stat("show stat domain proxy be 4 1 typed desc up no-maint");
    assert_eq!(all.only, only("be", 4, 1));
    assert!(all.describe && all.hide_down && all.hide_maint && all.format == Format::Typed);
    assert_eq!(stat("show stat json").format, Format::Json);
    assert_eq!(order("show stat domain nope").command, Command::Refused(texts::BAD_DOMAIN.into()));
    let info = order("show info typed float desc").command;
    let expected = InfoQuery { format: Format::Typed, describe: true, float: true };
    assert_eq!(info, Command::ShowInfo(expected));
}

#[test]
fn streams_errors_and_timeouts() {
    let check = |line: &str, expected: Command| assert_eq!(order(line).command, expected, "{line}");
    check("show sess", Command::ShowStreams(StreamQuery::List));
    check("show sess all", Command::ShowStreams(StreamQuery::All));
    check("show sess 0x1f", Command::ShowStreams(StreamQuery::One(31)));
    check("show sess zzz", Command::Refused(texts::SESSION_NOT_FOUND.into()));
    check("shutdown session 0x1f", Command::KillStream(31));
    check("shutdown session", Command::Refused(texts::SESSION_EXPECTED.into()));
    check("shutdown session 0", Command::Refused(texts::SESSION_EXPECTED.into()));
    check("shutdown sessions server a/b", Command::KillServerStreams("a/b".into()));
    check("show errors", Command::ShowErrors(ErrorQuery::default()));
    let errors =
        |proxy: Option<&str>, requests| Command::ShowErrors(ErrorQuery { proxy: proxy.map(str::to_owned), requests });
    check("show errors be response", errors(Some("be"), Some(false)));
    check("show errors request", errors(None, Some(true)));
    let timeout = |ms| Command::SetTimeout(Duration::from_millis(ms));
    check("set timeout cli 60", timeout(60_000));
    check("set timeout cli 30s", timeout(30_000));
    check("set timeout cli 5m", timeout(300_000));
    check("set timeout cli 1ms", timeout(1));
    for bad in ["x", "0", "1us", "5x", "", "99999999999999999999", "1000d"] {
        check(&format!("set timeout cli {bad}"), Command::Refused(texts::BAD_TIMEOUT.into()));
    }
    check("set timeout bogus 30", Command::Refused(texts::TIMEOUT_ONLY_CLI.into()));
    check("set backend be maintenance on", Command::SetMaintenance { backend: "be".into(), on: Ok(true) });
    check(
        "set backend be maintenance",
        Command::SetMaintenance { backend: "be".into(), on: Err(texts::MAINTENANCE_EXPECTED) },
    );
}

#[test]
fn what_is_unknown() {
    for line in [
        "frobnicate",
        "show",
        "show nosuch",
        "set",
        "get bogus",
        "clear",
        "clear bogus",
        "shutdown",
        "shutdown sessions",
        "SHOW VERSION",
        "# show version",
        "@1 show version",
        "set maxconn bogus 1",
    ] {
        assert!(matches!(order(line).command, Command::Unknown(_)), "{line}");
    }
    assert_eq!(order("clear counters bogus").command, Command::ClearCounters { all: false });
    assert_eq!(order("show version # hi").command, Command::ShowVersion);
    assert_eq!(order("").command, Command::Nothing);
}

proptest! {
    #[test]
    fn any_line_parses(line in "\\PC{0,200}") {
        for words in commands(&line) {
            parse(&words);
        }
    }

    #[test]
    fn any_words_after_a_command_parse(start in "(show stat|show table t|set server a/b|set weight a/b|show sess|set timeout cli|show errors|clear table t) ", rest in "[-a-z0-9.%\u{e9} ]{0,60}") {
        parse(&commands(&(start + &rest))[0]);
    }
}
