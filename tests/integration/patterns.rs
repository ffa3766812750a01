//! Maps and access lists in traffic, changed while it flows; and tables that operators write to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::client::RawClient;
use crate::support::origin::{Origin, Reply};
use crate::support::proxy::exchange;
use crate::support::site::{Running, Site};
use crate::support::until;

/// A request of a client for a host.
fn get(client: &mut RawClient, host: &str, target: &str) -> (u16, String) {
    let answer = client.ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    (answer.status(), answer.text())
}

/// Backends `web` and `api`, and a file that may name them.
fn mapped(web: &Origin, api: &Origin, map: &str, default: &str) -> (Running, String) {
    let site = Site::of(&[web]);
    let file = site.path("hosts.map");
    std::fs::write(&file, map).unwrap();
    let route = format!("routes: [ {{ host_map: {}{default} }} ]", file.display());
    let more = format!("api: {{ health_check: off, servers: {{ a1: \"{}\" }} }}", api.addr());
    (site.frontend(route).more("backends", more).start(), file.display().to_string())
}

#[test]
fn a_map_changed_at_run_time_moves_traffic() {
    let (web, api) = (Origin::named("web"), Origin::named("api"));
    let map = "# host backend\n\nwww.example.test web\n*.api.example.test\tapi\n";
    let (site, file) = mapped(&web, &api, map, ", backend: web");
    let mut client = site.client();
    let mut served_by = |host: &str| get(&mut client, host, "/").1;
    assert_eq!(served_by("www.example.test"), "web");
    assert_eq!(served_by("v2.API.example.test:8080"), "api");
    assert_eq!(served_by("new.example.test"), "web", "the default");
    site.order(&format!("add map {file} new.example.test api"));
    assert_eq!(served_by("new.example.test"), "api", "the next request on the same connection");
    site.order(&format!("set map {file} www.example.test api"));
    assert_eq!(served_by("www.example.test"), "api");
    site.order(&format!("set map {file} www.example.test nobody"));
    assert_eq!(served_by("www.example.test"), "web", "a value that names no backend");
    site.order(&format!("del map {file} new.example.test"));
    assert_eq!(served_by("new.example.test"), "web");
    assert_eq!(site.admin(&format!("prepare map {file}")), "New version created: 1\n");
    site.order(&format!("add map @1 {file} <<\nwww.example.test api\nnew.example.test api\n"));
    assert_eq!(served_by("new.example.test"), "web", "prepared, not in force");
    site.order(&format!("commit map @1 {file}"));
    assert_eq!((served_by("new.example.test"), served_by("v2.api.example.test")), ("api".into(), "web".into()));
    let listed = site.admin("show map");
    assert!(listed.contains(&format!("({file}) pattern loaded from file '{file}' used by map at file '")), "{listed}");
    assert!(
        listed.contains("lockgate.yaml' line ") && listed.contains(". curr_ver=1 next_ver=1 entry_cnt=2\n"),
        "{listed}"
    );
}

#[test]
fn without_a_default_a_map_takes_only_its_hosts() {
    let (web, api) = (Origin::named("web"), Origin::named("api"));
    let (site, file) = mapped(&web, &api, "www.example.test web\n", "");
    let mut client = site.client();
    assert_eq!(get(&mut client, "www.example.test", "/"), (200, "web".into()));
    assert_eq!(get(&mut client, "other.example.test", "/").0, 404);
    site.order(&format!("add map {file} other.example.test api"));
    assert_eq!(get(&mut client, "other.example.test", "/"), (200, "api".into()));
}

#[test]
fn a_network_blocked_at_run_time_is_refused_on_its_next_request() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let file = site.path("blocked.acl");
    std::fs::write(&file, "127.0.0.9\n").unwrap();
    let deny = format!("deny: [ {{ client_ip: {{ file: {} }}, except: [ 127.0.5.1 ] }} ]", file.display());
    let site = site.frontend(deny).start();
    let file = file.display();
    let mut client = RawClient::connect_from([127, 0, 5, 7], site.address);
    let mut spared = RawClient::connect_from([127, 0, 5, 1], site.address);
    assert_eq!(client.get("/").status(), 200);
    assert_eq!(RawClient::connect_from([127, 0, 0, 9], site.address).get("/").status(), 403, "from the file");
    site.order(&format!("add acl {file} 127.0.5.0/24"));
    assert_eq!(client.get("/refused").status(), 403);
    assert_eq!(spared.get("/").status(), 200);
    let row = site.logs.row_of("/refused");
    assert_eq!((row.place().as_str(), row.status, row.termination.as_str()), ("fe/<NOSRV>", 403, "PR--"));
    assert_eq!(site.stat("fe", "FRONTEND").number("dreq"), 2);
    let found = site.admin(&format!("get acl {file} 127.0.5.7"));
    assert_eq!(found, "type=ip, case=sensitive, match=yes, idx=tree, pattern=\"127.0.5.0/24\"\n");
    site.order(&format!("del acl {file} 127.0.5.0/24"));
    assert_eq!(client.get("/").status(), 200, "on the same connection");
    assert_eq!(origin.requests().len(), 3, "a refused request reached the server");
}

#[test]
fn denials_by_host_path_and_field() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin])
        .frontend(concat!(
            "deny:\n",
            "  - { path: [ /wp-admin/, /.git ], status: 404 }\n",
            "  - { host: \"*.old.example.test\", path: /api/ }\n",
            "  - { header: { User-Agent: [ bad bot, worse bot ] }, except: [ 127.0.6.0/24 ], status: 429 }",
        ))
        .start();
    let mut client = site.client();
    for (host, target, status) in [
        ("www.example.test", "/wp-admin/x.php", 404),
        ("www.example.test", "/.git/config", 404),
        ("www.example.test", "/.gitignore", 200),
        ("a.old.example.test", "/api/v1", 403),
        ("a.old.example.test", "/", 200),
        ("www.example.test", "/api/v1", 200),
    ] {
        assert_eq!(get(&mut client, host, target).0, status, "{host}{target}");
    }
    let bad = "GET /bot HTTP/1.1\r\nHost: www.example.test\r\nUser-Agent: worse bot\r\n\r\n";
    let refused = client.ask(bad);
    assert_eq!((refused.status(), refused.field("retry-after")), (429, Some("1")));
    assert_eq!(RawClient::connect_from([127, 0, 6, 1], site.address).ask(bad).status(), 200);
    let lists = site.admin("show acl");
    assert!(lists.contains("\n0 () acl 'path' file '"), "{lists}");
    site.order("del acl #0 /wp-admin/");
    assert_eq!(get(&mut client, "www.example.test", "/wp-admin/x.php").0, 200, "lists of the file can be changed too");
}

#[test]
fn routes_for_some_clients_only() {
    let (web, office) = (Origin::named("web"), Origin::named("office"));
    let site = Site::of(&[&web])
        .frontend("routes: [ { client_ip: 127.0.7.0/24, backend: office }, { backend: web } ]")
        .more("backends", format!("office: {{ health_check: off, servers: {{ o1: \"{}\" }} }}", office.addr()))
        .start();
    assert_eq!(RawClient::connect_from([127, 0, 7, 3], site.address).get("/").text(), "office");
    assert_eq!(site.get("/").text(), "web");
    site.order("add acl #0 127.0.0.0/16");
    assert_eq!(site.get("/").text(), "office");
}

#[test]
fn a_large_map_is_replaced_under_load_without_a_failed_request() {
    const ENTRIES: usize = 100_000;
    let (web, api) = (Origin::named("web"), Origin::named("api"));
    let (site, file) = mapped(&web, &api, "h1.example.test web\n", ", backend: web");
    let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..2)
        .map(|_| {
            let (over, served, address) = (over.clone(), served.clone(), site.address);
            std::thread::spawn(move || {
                let mut client = RawClient::connect(address);
                while !over.load(Ordering::Relaxed) {
                    let (status, by) = get(&mut client, "h1.example.test", "/");
                    assert!(status == 200 && (by == "web" || by == "api"), "{status} {by:?}");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    until("the load to flow", || served.load(Ordering::Relaxed) > 20);
    assert_eq!(site.admin(&format!("prepare map {file}")), "New version created: 1\n");
    let lines: Vec<String> = (0..ENTRIES).map(|n| format!("h{n}.example.test api\n")).collect();
    for some in lines.chunks(600) {
        site.order(&format!("add map @1 {file} <<\n{}", some.concat()));
    }
    assert_eq!(get(&mut site.client(), "h99999.example.test", "/").1, "web");
    site.order(&format!("commit map @1 {file}"));
    assert_eq!(get(&mut site.client(), "h99999.example.test", "/").1, "api");
    assert!(site.admin("show map").contains(&format!(" entry_cnt={ENTRIES}\n")));
    let before = served.load(Ordering::Relaxed);
    until("more load on the new map", || served.load(Ordering::Relaxed) > before + 20);
    over.store(true, Ordering::Relaxed);
    for thread in load {
        thread.join().expect("every request was answered");
    }
}

#[test]
fn only_admins_change_lists() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let admin = site.path("admin.sock");
    let sockets = ["user", "operator"].map(|level| (level, site.path(&format!("{level}.sock"))));
    let list: Vec<String> =
        (sockets.iter()).map(|(level, path)| format!("{{ socket: {}, level: {level} }}", path.display())).collect();
    let site = site
        .global("admin", format!("[ {{ socket: {}, level: admin }}, {} ]", admin.display(), list.join(", ")))
        .frontend("deny: [ { client_ip: 192.0.2.1 } ]")
        .start();
    for (level, path) in &sockets {
        for line in ["add acl #0 127.0.0.1", "clear acl #0", "prepare acl #0", "del acl #0 192.0.2.1"] {
            assert_eq!(exchange(path, &format!("{line}\n")).unwrap(), "Permission denied\n\n", "{level}: {line}");
        }
        let shown = exchange(path, "show acl #0\n").unwrap();
        assert!(shown.ends_with(" 192.0.2.1\n\n"), "{level}: {shown}");
    }
    assert_eq!(site.get("/").status(), 200);
}

#[test]
fn an_operators_mark_denies_a_client() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin])
        .frontend(
            "rate_limits: [ { name: marks, action: track, store: [ gpt0, http_req_cnt ], deny_if: { gpt0: 1 } } ]",
        )
        .start();
    let mut client = RawClient::connect_from([127, 0, 8, 1], site.address);
    assert_eq!(client.get("/").status(), 200);
    site.order("set table marks key 127.0.8.1 data.gpt0 1");
    assert_eq!(client.get("/marked").status(), 403);
    let row = site.logs.row_of("/marked");
    assert_eq!((row.place().as_str(), row.status, row.termination.as_str()), ("fe/<NOSRV>", 403, "PR--"));
    assert_eq!(RawClient::connect_from([127, 0, 8, 2], site.address).get("/").status(), 200);
    let shown = site.admin("show table marks data.gpt0 gt 0");
    assert!(shown.contains("key=127.0.8.1 ") && shown.contains(" gpt0=1 http_req_cnt=2\n"), "{shown}");
    assert_eq!(site.admin("set table marks key nobody data.gpt0 1"), "Invalid key\n");
    assert_eq!(site.admin("set table marks key 127.0.8.1 data.gpc1 1"), "Data type not stored in this table\n");
    site.order("set table marks key 127.0.8.1 data.gpt0 0");
    assert_eq!(client.get("/").status(), 200);
}

#[test]
fn a_table_tracks_what_it_is_asked_to() {
    let origin = Origin::answering(|request| match request.target() {
        "/missing" => Reply::status(404),
        "/broken" => Reply::status(500),
        _ => Reply::ok("fine\n"),
    });
    let store = "gpc0, conn_cur, conn_rate(10s), http_req_cnt, http_req_rate(10s), http_err_rate(10s), \
                 bytes_out_rate(10s), sess_cnt, http_err_cnt, http_fail_cnt, bytes_in_cnt, bytes_out_cnt";
    let limit = format!(
        "rate_limits: [ {{ name: st_rate, key: client_ip, action: track, table_size: 10240, expire: 1m, store: [ {store} ] }} ]"
    );
    let site = Site::of(&[&origin]).frontend(limit).start();
    let mut client = site.client();
    for (target, status) in [("/", 200), ("/missing", 404), ("/broken", 500)] {
        assert_eq!(client.get(target).status(), status);
    }
    assert_eq!(site.get("/").status(), 200);
    // Ends are counted after the answer is out.
    let entry = || site.admin("show table st_rate").lines().nth(1).unwrap_or_default().to_owned();
    until("the last request's end", || entry().contains(" conn_cur=0 "));
    let shown = entry();
    for part in [
        ": key=127.0.0.1 use=0 exp=",
        " shard=0 gpc0=0 conn_rate(10000)=4 conn_cur=0 sess_cnt=2 http_req_cnt=4 http_req_rate(10000)=4 http_err_cnt=1 \
         http_err_rate(10000)=1 bytes_in_cnt=",
        " http_fail_cnt=1",
    ] {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
    let number = |name: &str| -> u64 {
        let value = shown.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} in {shown}"))
    };
    let row = site.stat("fe", "FRONTEND");
    assert_eq!(
        (number("bytes_in_cnt"), number("bytes_out_cnt")),
        (row.number("bin") as u64, row.number("bout") as u64)
    );
    let header = site.admin("show table");
    assert_eq!(header, "# table: st_rate, type: ip, size:10240, used:1\n");
    assert_eq!(site.admin("show table st_rate data.http_err_cnt gt 1").lines().count(), 1);
    assert_eq!(site.admin("show table st_rate data.bytes_out_cnt gt 1").lines().count(), 2);
}
