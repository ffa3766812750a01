//! A fleet like the one the replies were recorded from, behind real admin sockets in a temporary folder.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lockgate::admin::{AdminServer, Later, Orders};
use lockgate::config::model::{AdminAddress, AdminSocket, BindTls, Level, UnixSocket};
use lockgate::core::admin::diagnosis::{PastEvent, Remembered};
use lockgate::core::admin::patterns::{self, PatternOrder};
use lockgate::core::admin::sessions::StreamState;
use lockgate::core::admin::threads::WorkerView;
use lockgate::core::admin::{CapturedError, CertificateView, StreamRow, TableRow, TableView};
use lockgate::core::balance::Algorithm;
use lockgate::core::fleet::event::{Effect, Event};
use lockgate::core::fleet::saved::SavedState;
use lockgate::core::fleet::spec::*;
use lockgate::core::fleet::{Fleet, Refusal};
use lockgate::core::health::{CheckKind, CheckOutcome, CheckSpec, CheckStatus};
use lockgate::core::limit::process::ProcessLimits;
use lockgate::core::limit::{
    DataType, KeyFacts, KeyPart, LimitAction, RateLimitSpec, RateTable, RowPlace, SetError, Stored, Verdict, build_key,
};
use lockgate::core::pattern::{ListKind, Matching, Pattern, PatternSpec, Patterns, Use};
use lockgate::core::route::{FixedAnswer, Route, RouteAction};
use lockgate::core::stats::counters::{Counter, Shard};
use lockgate::core::stats::prometheus::{self, MetricsFacts, MetricsQuery};
use lockgate::core::stats::{ProcessFacts, Rates, View};
use lockgate::tls::Certificates;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Longest wait for anything in these tests.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub struct Lab {
    pub fleet: RefCell<Fleet>,
    pub rates: RefCell<Rates>,
    pub table: RateTable,
    pub patterns: RefCell<Patterns>,
    pub streams: RefCell<Vec<StreamRow>>,
    pub errors: RefCell<Vec<CapturedError>>,
    pub killed: RefCell<Vec<String>>,
    pub origins: RefCell<Vec<String>>,
    pub connections: Cell<u64>,
    pub certificates: RefCell<Certificates>,
    pub remembered: RefCell<Remembered>,
    /// Where `/lab/certs` of the recordings is.
    certificate_folder: tempfile::TempDir,
    waiting: RefCell<Vec<Effect>>,
    started: Instant,
    now: Cell<Instant>,
}

/// The admin sockets of a lab.
pub struct Sockets {
    folder: tempfile::TempDir,
}

impl Sockets {
    pub fn path(&self, level: &str) -> PathBuf {
        self.folder.path().join(format!("{level}.sock"))
    }

    pub async fn connect(&self, level: &str) -> UnixStream {
        UnixStream::connect(self.path(level)).await.unwrap()
    }

    /// Sends this and reads to the end.
    pub async fn ask(&self, level: &str, line: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect(level).await;
        stream.write_all(line.as_ref()).await.unwrap();
        read_all(&mut stream).await
    }
}

/// Everything up to the end of the connection.
pub async fn read_all(stream: &mut UnixStream) -> String {
    let mut reply = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut reply)).await;
    read.expect("the connection is closed in time").unwrap();
    String::from_utf8(reply).unwrap()
}

/// Exactly so many bytes.
pub async fn read_some(stream: &mut UnixStream, expected: &str) {
    let mut reply = vec![0; expected.len()];
    let read = tokio::time::timeout(DEADLINE, stream.read_exact(&mut reply)).await;
    read.unwrap_or_else(|_| panic!("waited in vain for {expected:?}")).unwrap();
    assert_eq!(String::from_utf8_lossy(&reply), expected);
}

/// Runs a test against served sockets of every level.
pub fn serve<F: AsyncFnOnce(Rc<Lab>, Sockets)>(test: F) {
    serve_with(|_| {}, test);
}

/// The same, with the sockets' settings changed.
pub fn serve_with<F: AsyncFnOnce(Rc<Lab>, Sockets)>(change: impl Fn(&mut AdminSocket), test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let folder = tempfile::tempdir().unwrap();
        let sockets: Vec<AdminSocket> = [("admin", Level::Admin), ("operator", Level::Operator), ("user", Level::User)]
            .into_iter()
            .map(|(name, level)| {
                let mut socket = unix_socket(&folder.path().join(format!("{name}.sock")), level);
                change(&mut socket);
                socket
            })
            .collect();
        let server = AdminServer::bind(&sockets).unwrap();
        let lab = Rc::new(Lab::new());
        let orders: Rc<dyn Orders> = lab.clone();
        let serving = tokio::task::spawn_local(server.serve(orders));
        test(lab, Sockets { folder }).await;
        assert!(!serving.is_finished());
        serving.abort();
    });
}

pub fn unix_socket(path: &Path, level: Level) -> AdminSocket {
    AdminSocket {
        address: AdminAddress::Unix(UnixSocket { path: path.to_owned(), mode: Some(0o600), user: None, group: None }),
        level,
        timeout: Duration::from_secs(60),
        maxconn: 10,
    }
}

impl Lab {
    pub fn new() -> Lab {
        let start = Instant::now();
        let (fleet, effects) = Fleet::new(&spec(), 2, &SavedState::default(), 1, start);
        let limits = ProcessLimits { maxconn: 2000, maxconn_highest: 2000, ..ProcessLimits::default() };
        let fleet = fleet.with_limits(limits);
        let (certificate_folder, certificates) = certificates();
        let lab = Lab {
            certificates: RefCell::new(certificates),
            remembered: RefCell::default(),
            certificate_folder,
            fleet: RefCell::new(fleet),
            rates: RefCell::default(),
            table: RateTable::new(Arc::new(st_rate())),
            patterns: RefCell::new(maps()),
            streams: RefCell::default(),
            errors: RefCell::default(),
            killed: RefCell::default(),
            origins: RefCell::default(),
            connections: Cell::new(0),
            waiting: RefCell::default(),
            started: start,
            now: Cell::new(start),
        };
        lab.follow(effects);
        lab.rates.borrow_mut().sample(&lab.fleet.borrow(), 0, start);
        lab.pass_checks();
        lab
    }

    /// Moves time on until every check that is made has passed often enough.
    pub fn pass_checks(&self) {
        self.follow(self.waiting.take());
        for _ in 0..40 {
            self.now.set(self.now.get() + Duration::from_millis(100));
            let effects = self.fleet.borrow_mut().on_timeout(self.now.get());
            self.follow(effects);
        }
    }

    /// Ten requests on one connection each, as when the replies were recorded.
    pub fn traffic(&self) {
        let fleet = self.fleet.borrow();
        for frontend in fleet.frontends() {
            for counter in [Counter::Stot, Counter::ConnTot, Counter::ReqTot, Counter::Hrsp2xx] {
                frontend.live.counters.add(Shard(0), counter, 10);
            }
            for counter in [Counter::H1Sess, Counter::H1Req] {
                frontend.live.counters.add(Shard(0), counter, 10);
            }
            frontend.live.connections.rise();
            frontend.live.connections.fall();
        }
        for backend in fleet.backends() {
            backend.live.counters.add(Shard(0), Counter::Stot, 10);
            backend.live.sessions.rise();
            backend.live.sessions.fall();
            for server in &backend.servers {
                server.live.counters.add(Shard(0), Counter::Stot, 3);
            }
        }
    }

    /// Twelve requests of one client.
    pub fn fill_table(&self) {
        for _ in 0..12 {
            drop(self.tracked("127.0.0.1"));
        }
    }

    /// A request of a client, in flight until dropped.
    pub fn tracked(&self, client: &str) -> Option<RowPlace> {
        let header = |_: &str| None;
        let facts = KeyFacts { client: client.parse().unwrap(), host: "", path: b"/", header: &header, tls: None };
        let mut key = Vec::new();
        assert!(build_key(self.table.spec(), &facts, &mut key));
        match self.table.admit(&key, true, self.now.get()) {
            Verdict::Admitted { place } => place,
            other => panic!("a table that only tracks: {other:?}"),
        }
    }

    /// The keys of the table, sorted.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.table.rows(self.now.get()).into_iter().map(|row| row.key).collect();
        keys.sort();
        keys
    }

    /// A recording with the names of certificates as they are here.
    pub fn localised(&self, recorded: &[u8]) -> Vec<u8> {
        let folder = format!("{}/", self.certificate_folder.path().display());
        String::from_utf8_lossy(recorded).replace("/lab/certs/", &folder).into_bytes()
    }

    fn follow(&self, effects: Vec<Effect>) {
        let mut effects = std::collections::VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            if let Effect::Probe { server, ticket, .. } = effect {
                let outcome = CheckOutcome {
                    status: CheckStatus::L7Ok,
                    code: Some(200),
                    duration: Duration::from_millis(1),
                    text: "".into(),
                };
                let event = Event::Checked { server, ticket, outcome };
                effects.extend(self.fleet.borrow_mut().apply(event, self.now.get()).unwrap());
            }
        }
    }
}

impl Orders for Lab {
    fn fleet(&self) -> Ref<'_, Fleet> {
        self.fleet.borrow()
    }
    fn rates(&self) -> Ref<'_, Rates> {
        self.rates.borrow()
    }
    fn facts(&self) -> ProcessFacts {
        ProcessFacts {
            pid: std::process::id(),
            started: self.started,
            started_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_290_910_710),
            boot_time: Duration::from_millis(8),
            threads: 1,
            maxconn: 2000,
            descriptor_limit: 4037,
            connections: 0,
            tls_connections: 0,
            admin_connections: self.connections.get(),
            maxconn_reached: 0,
            tls_cache_lookups: 0,
            tls_cache_misses: 0,
            compression_memory: 0,
            compression_memory_max: 0,
            idle_percent: 99,
            node: "lab1".into(),
            description: Some("golden lab".into()),
            stopping: false,
            listeners: 8,
            tasks: 31,
            memory_bytes: 86_344,
            lost_log_lines: 0,
            failed_resolutions: 0,
            warnings: 3,
        }
    }
    fn apply(&self, event: Event) -> Result<(), Refusal> {
        if let Event::SetAdminState { by, .. } = &event {
            self.origins.borrow_mut().push(by.who.to_string());
        }
        // Probes wait for `pass_checks`: what a command does is seen before the next check.
        let effects = self.fleet.borrow_mut().apply(event, self.now.get())?;
        self.waiting.borrow_mut().extend(effects);
        Ok(())
    }
    fn streams(&self) -> Later<'_, Vec<StreamRow>> {
        Box::pin(async { self.streams.borrow().clone() })
    }
    fn settled(&self) -> Later<'_, ()> {
        Box::pin(async {})
    }
    fn workers(&self) -> Later<'_, Vec<WorkerView>> {
        Box::pin(async { vec![WorkerView { requests: 10, ..WorkerView::default() }] })
    }
    fn certificates(&self) -> Vec<CertificateView> {
        self.certificates.borrow().views()
    }
    fn look_at_certificates(&self) -> Later<'_, Option<String>> {
        Box::pin(async { None })
    }

    fn certificate_store(&self) -> RefMut<'_, Certificates> {
        self.certificates.borrow_mut()
    }
    fn remembered(&self) -> Remembered {
        self.remembered.borrow().clone()
    }
    fn log_event(&self, severity: u8, text: &str) {
        let event = PastEvent { at: self.wall(), severity, text: text.into() };
        self.remembered.borrow_mut().events.push(event);
    }
    fn kill_stream(&self, id: u64) {
        self.killed.borrow_mut().push(format!("stream {id}"));
    }
    fn kill_server_streams(&self, server: ServerId) {
        self.killed.borrow_mut().push(format!("server {}/{}", server.backend.0, server.index));
    }
    fn tables(&self) -> Vec<TableView> {
        vec![TableView::from(&self.table)]
    }
    fn table_rows(&self, table: &str) -> Vec<TableRow> {
        assert_eq!(table, "st_rate");
        self.table.rows(self.now.get())
    }
    fn clear_table(&self, _table: &str, keys: Option<&HashSet<&str>>) {
        self.table.clear(keys, self.now.get());
    }
    fn set_table(&self, _table: &str, key: &str, values: &[(DataType, u64)]) -> Result<(), SetError> {
        self.table.set(key, values, self.now.get())
    }
    fn patterns(&self, order: PatternOrder) -> Result<String, String> {
        patterns::carry_out(order, &mut self.patterns.borrow_mut())
    }
    fn errors(&self) -> (Vec<CapturedError>, u64) {
        let errors = self.errors.borrow().clone();
        let count = errors.len() as u64;
        (errors, count)
    }
    fn metrics(&self, query: &MetricsQuery) -> String {
        let (fleet, rates, now) = (self.fleet.borrow(), self.rates.borrow(), self.now());
        let view = View { fleet: &fleet, rates: &rates, started: self.started, now, legends: false };
        prometheus::render(query, &view, &self.facts(), &MetricsFacts::default())
    }
    fn clear_counters(&self, all: bool) {
        self.fleet.borrow_mut().clear_counters(all);
        self.rates.borrow_mut().clear_maxima();
    }
    fn count_connection(&self) {
        self.connections.set(self.connections.get() + 1);
    }
    fn now(&self) -> Instant {
        self.now.get()
    }
    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_290_914_990)
    }
}

/// Two certificates of one bind, those the replies were recorded with.
fn certificates() -> (tempfile::TempDir, Certificates) {
    let folder = tempfile::tempdir().unwrap();
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat/certs");
    let paths = ["one.pem", "two.pem"].map(|name| {
        let path = folder.path().join(name);
        std::fs::copy(recorded.join(name), &path).unwrap();
        path
    });
    let mut certificates = Certificates::new();
    certificates.open_bind("frontend fe_tls, 127.0.0.1:18443", &BindTls::of(&paths)).unwrap();
    (folder, certificates)
}

/// `type ip size 10k expire 1m store gpc0,conn_cur,conn_rate(10s),http_req_cnt,…`
fn st_rate() -> RateLimitSpec {
    let count = |what| Stored { what, period: None };
    let rate = |what| Stored { what, period: Some(Duration::from_secs(10)) };
    RateLimitSpec {
        name: "st_rate".into(),
        key: vec![KeyPart::ClientIp { ipv6_prefix: 128 }],
        rate: None,
        burst: 0,
        concurrent: None,
        action: LimitAction::Track,
        except: Vec::new(),
        table_size: 10240,
        expire: Duration::from_secs(60),
        store: [
            count(DataType::Gpc0),
            rate(DataType::ConnRate),
            count(DataType::ConnCur),
            count(DataType::HttpReqCnt),
            rate(DataType::HttpReqRate),
            rate(DataType::HttpErrRate),
            rate(DataType::BytesOutRate),
        ]
        .into(),
        deny_if: Vec::new(),
        deny_status: 403,
    }
}

/// `blocked.acl` and `hosts.map` as they were.
fn maps() -> Patterns {
    let spec = |kind, matching, file: &str, line, entries: &[(&str, &str)]| PatternSpec {
        kind,
        matching,
        file: Some(file.into()),
        sample: "src",
        uses: vec![Use { file: "/lab/core.cfg".into(), line }],
        patterns: entries.iter().map(|(key, value)| Pattern::parse(matching, key, value).unwrap()).collect(),
    };
    let blocked = spec(ListKind::Acl, Matching::Network, "/lab/maps/blocked.acl", 44, &[("127.0.0.9", "")]);
    let entries = [("www.example.test", "be_web"), ("api.example.test", "be_api")];
    let hosts = spec(ListKind::Map, Matching::Host, "/lab/maps/hosts.map", 46, &entries);
    Patterns::new(vec![blocked, hosts], ["be_web", "be_api"].into_iter())
}

pub fn stream() -> StreamRow {
    StreamRow {
        id: 0x3a30_dc10,
        began_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_290_914_587),
        mode: lockgate::core::fleet::mode::Mode::Http,
        age: Duration::from_millis(400),
        source: Some("127.0.0.1:36582".parse().unwrap()),
        destination: Some("127.0.0.1:18080".parse().unwrap()),
        tls: false,
        http2: false,
        glitches: 0,
        frontend: ("fe_main".into(), 2),
        backend: Some(("be_web".into(), 4)),
        server: Some(("web2".into(), 2)),
        server_address: Some("127.0.0.1:18102".parse().unwrap()),
        requests: 2,
        retries: 0,
        state: StreamState::Response,
        client_expires_in: None,
        server_expires_in: Some(Duration::from_secs(9)),
        bytes_in: 65,
        bytes_out: 0,
        request: "GET /slow".into(),
    }
}

pub fn broken_messages() -> Vec<CapturedError> {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_290_914_990);
    vec![
        CapturedError {
            number: 0,
            at,
            request: true,
            frontend: ("fe_main".into(), 2),
            backend: None,
            server: None,
            source: Some("127.0.0.1:36588".parse().unwrap()),
            bytes: (*b"GET /bad\x01path HTTP/1.1\r\nHost: x\r\n\r\n").into(),
            position: 8,
            reason: "a control character in the request target".into(),
        },
        CapturedError {
            number: 1,
            at,
            request: false,
            frontend: ("fe_main".into(), 2),
            backend: Some(("be_web".into(), 4)),
            server: Some(("web3".into(), 3)),
            source: Some("127.0.0.1:36592".parse().unwrap()),
            bytes: (*b"not http at all\r\n\r\n").into(),
            position: 0,
            reason: "no HTTP version".into(),
        },
    ]
}

fn spec() -> FleetSpec {
    let route = |backend: u32| Route {
        hosts: Vec::new(),
        paths: Vec::new(),
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        tls: None,
        samples: Vec::new(),
        clients: Vec::new(),
        action: RouteAction::Backend(BackendIndex(backend)),
        request_rules: Vec::new(),
        response_rules: Vec::new(),
        compression: None,
    };
    let web = (1..=3).map(|n| server(&format!("web{n}"), 18100 + n, 10, Some(50), 3, None)).collect();
    let api = (1..=3).map(|n| {
        let cookie = format!("a{n}");
        let mut server = server(&format!("api{n}"), 18110 + n, 1, None, 2, Some(&cookie));
        server.backup = n == 3;
        server
    });
    FleetSpec {
        frontends: vec![
            listening(frontend("fe_main", 2, vec![route(0)])),
            frontend("fe_tls", 3, vec![route(1), route(0)]),
            frontend("stats", 7, Vec::new()),
            frontend("stats_auth", 8, Vec::new()),
            frontend("stats_ro", 9, Vec::new()),
        ],
        backends: vec![
            backend("be_web", 4, Algorithm::RoundRobin, None, web),
            backend("be_api", 5, Algorithm::LeastConn, Some("SRV"), api.collect()),
        ],
    }
}

/// The frontend with its socket counted by itself.
fn listening(frontend: Arc<FrontendSpec>) -> Arc<FrontendSpec> {
    let listener = ListenerSpec { name: "plain".into(), address: "127.0.0.1:18080".into(), protocol: "tcpv4" };
    Arc::new(FrontendSpec { listeners: vec![listener], ..(*frontend).clone() })
}

fn answer(status: u16) -> FixedAnswer {
    FixedAnswer { status, headers: Vec::new(), body: Arc::from(&b""[..]) }
}

fn frontend(name: &str, iid: u32, routes: Vec<Route>) -> Arc<FrontendSpec> {
    let s = Duration::from_secs;
    Arc::new(FrontendSpec {
        name: name.into(),
        iid,
        maxconn: 1000,
        maxconn_per_source: None,
        session_rate: None,
        timeouts: ClientTimeouts {
            request: s(5),
            keepalive: s(5),
            client: s(10),
            proxy_header: s(5),
            handshake: s(5),
            tarpit: s(5),
        },
        limits: HttpLimits::default(),
        http2: Default::default(),
        trusted_proxies: Vec::new(),
        forward: ForwardFields { x_for: true, x_proto: true, x_port: true, forwarded: false },
        request_id: RequestIdSpec { header: None, respond: false },
        capture: Default::default(),
        deny: Vec::new(),
        rate_limits: Vec::new(),
        request_rules: Vec::new(),
        response_rules: Vec::new(),
        compression: None,
        routes,
        no_route: answer(404),
        log: Default::default(),
        log_null: false,
        listeners: Vec::new(),
        stats: None,
        tcp: None,
    })
}

pub fn backend(
    name: &str,
    iid: u32,
    algorithm: Algorithm,
    cookie: Option<&str>,
    servers: Vec<ServerSpec>,
) -> Arc<BackendSpec> {
    let s = Duration::from_secs;
    Arc::new(BackendSpec {
        name: name.into(),
        iid,
        algorithm,
        timeouts: ServerTimeouts { queue: s(2), connect: s(1), handshake: s(1), server: s(10), tunnel: s(3600) },
        limits: HttpLimits::default(),
        retries: 3,
        redispatch: true,
        retry_on: RetryOn { empty_response: false, status_503: false },
        cookie: cookie.map(|name| CookiePersistence {
            name: name.into(),
            secure: false,
            http_only: false,
            domain: None,
            path: "/".into(),
            same_site: None,
            nocache: true,
        }),
        queue_max: 10_000,
        server_queue_max: None,
        maintenance: false,
        maintenance_answer: answer(503),
        pool: PoolSpec { max_idle: u32::MAX, idle_timeout: s(30) },
        http2: Http2ToServers::default(),
        source: Vec::new(),
        log_health_checks: false,
        request_rules: Vec::new(),
        response_rules: Vec::new(),
        compression: None,
        servers: servers.into_iter().map(Arc::new).collect(),
        server_defaults: ServerDefaults { initial: InitialState::Up, ..ServerDefaults::default() },
        tcp: None,
    })
}

pub fn server(name: &str, port: u16, weight: u32, maxconn: Option<u32>, rise: u32, cookie: Option<&str>) -> ServerSpec {
    let half = Duration::from_millis(500);
    ServerSpec {
        name: name.into(),
        address: ServerAddress::Ip(([127, 0, 0, 1], port).into()),
        protocol: ServerProtocol::H1,
        weight,
        maxconn,
        backup: false,
        disabled: false,
        cookie: cookie.map(Into::into),
        send_proxy: None,
        check: Some(Arc::new(CheckSpec {
            kind: CheckKind::Tcp,
            interval: half,
            fastinter: half,
            downinter: half,
            timeout: half,
            rise,
            fall: rise,
            address: None,
            port: None,
            send_proxy: None,
            tls: None,
        })),
        track: None,
        agent: None,
        observe: None,
        slowstart: None,
        initial: InitialState::Up,
        return_from_drain: ReturnFromDrain::Keep,
        return_from_maint: ReturnFromMaint::Up,
        on_marked_down_shutdown: false,
        tls: TlsUse::Unset,
    }
}
