//! The stats page in Chromium, as a person uses it: signed in, a server drained and made ready by the page's buttons, at
//! the width of a desk and of a phone. Pictures of it are left in `target/screenshots`.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::support::client::RawClient;
use crate::support::origin::{Origin, Reply};
use crate::support::ports;
use crate::support::site::{Running, Site};
use crate::support::until;
use crate::support::webdriver::Browser;

struct Desk {
    site: Running,
    page: SocketAddr,
    _origins: Vec<Origin>,
}

fn desk() -> Desk {
    let page = ports::address();
    let good: Vec<Origin> = (0..4).map(|_| Origin::answering(|_| Reply::ok("hello"))).collect();
    let bad = Origin::answering(|_| Reply::status(500));
    let mut servers = String::new();
    for (n, origin) in good.iter().enumerate() {
        servers.push_str(&format!("    web0{}: {{ address: \"{}\", maxconn: 200 }}\n", n + 1, origin.addr()));
    }
    servers.push_str(&format!(
        "    web05: \"{}\"\n    spare: {{ address: \"{}\", backup: true }}\n",
        bad.addr(),
        good[0].addr()
    ));
    let api = format!(
        "api:\n  balance: leastconn\n  health_check: off\n  servers: {{ api01: \"{}\", api02: \"{}\" }}\n",
        good[1].addr(),
        good[2].addr()
    );
    let web = format!(
        "web:\n  health_check: {{ interval: 200ms }}\n  initial: up\n  return_from_drain: keep\n  servers:\n{servers}"
    );
    let stats = format!(
        "[ {{ bind: \"{page}\", refresh: 1s, title: Web tier, show_node: true, \
           users: {{ ops: {{ password: secret, level: admin }} }} }} ]"
    );
    let site = Site::new()
        .global("stats", stats)
        .frontend("routes: [ { path: /api, backend: api }, { backend: web } ]")
        .more("backends", web)
        .more("backends", api)
        .start();
    for path in ["/", "/", "/", "/api", "/api"] {
        site.get(path);
    }
    let mut origins = good;
    origins.push(bad);
    Desk { site, page, _origins: origins }
}

fn picture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/screenshots").join(name)
}

impl Desk {
    fn sign_in(&self, browser: &Browser) {
        browser.go(&format!("http://ops:secret@{}/", self.page));
        // The address as a person sees it, without the password, which the browser remembers.
        browser.go(&format!("http://{}/", self.page));
    }

    /// Chooses servers and an action, and answers the question.
    fn order(&self, browser: &Browser, servers: &[&str], action: &str) {
        for server in servers {
            browser.find(&format!("input[name=s][value={server}]")).click();
        }
        let select = format!("document.querySelector('#{}').querySelector('select')", self.card(browser));
        browser.run(&format!(
            "const s = {select}; s.value = '{action}'; s.dispatchEvent(new Event('change', {{ bubbles: true }}));"
        ));
        browser.find(&format!("#{} .apply", self.card(browser))).click();
        let question = browser.find("#ask").text();
        for server in servers {
            assert!(question.contains(server), "{question}");
        }
    }

    fn card(&self, browser: &Browser) -> String {
        let found = browser.run("return document.querySelector('input[value=web01]').closest('.card').id");
        found.as_str().unwrap().to_owned()
    }

    fn status(&self, server: &str) -> String {
        self.site.stat("web", server).get("status").to_owned()
    }
}

#[test]
fn servers_are_drained_and_made_ready_at_a_desk() {
    let desk = desk();
    let browser = Browser::open(1400, 1000);
    desk.sign_in(&browser);
    until("the check of web05 to have failed", || desk.status("web05") == "DOWN");
    let row = |server: &str| format!("document.querySelector('input[value={server}]').closest('tr')");
    until("the page to show it without a reload", || {
        browser.run(&format!("return {}.className === 'down'", row("web05"))) == true
    });
    browser.photograph(&picture("desk.png"));

    desk.order(&browser, &["web01", "web02"], "drain");
    browser.photograph(&picture("desk-question.png"));
    browser.find("#ask button[value=no]").click();
    assert_eq!(desk.status("web01"), "UP", "nothing happens before it is confirmed");
    browser.find(&format!("#{} .apply", desk.card(&browser))).click();
    browser.find("#askyes").click();
    until("both to be drained", || desk.status("web01") == "DRAIN" && desk.status("web02") == "DRAIN");
    until("the page to say so", || browser.find("#banner").text().contains("carried out"));
    assert_eq!(browser.run(&format!("return {}.className", row("web01"))), "drain");
    assert!(desk.site.admin("show servers state web").contains("web01"));
    browser.photograph(&picture("desk-drained.png"));

    // What is chosen and filtered outlives updates.
    browser.find("input[name=s][value=web02]").click();
    let before = browser.find(".process").text();
    until("an update", || browser.find(".process").text() != before);
    browser.find("#filter").keys("drain");
    assert_eq!(browser.run(&format!("return {}.hidden", row("web03"))), true);
    assert_eq!(browser.run("return document.querySelector('input[value=web02]').checked"), true);
    browser.find("#problems").click();
    assert!(browser.find("input[name=s][value=web01]").is_shown());
    browser.photograph(&picture("desk-filtered.png"));
    browser.find("body").keys("\u{e00c}");
    assert_eq!(browser.run("return document.querySelector('#filter').value"), "");

    browser.find("#pause").click();
    assert!(browser.find("#age").text().contains("Paused"));
    browser.find("#pause").click();

    browser.find("input[name=s][value=web01]").click();
    desk.order(&browser, &[], "ready");
    browser.find("#askyes").click();
    until("both to be ready", || desk.status("web01") == "UP" && desk.status("web02") == "UP");
    desk.site.logs.line_with("Server web/web01 is UP (leaving forced drain)");

    browser.prefer("dark");
    browser.find(".legend summary").click();
    browser.photograph(&picture("desk-dark.png"));
    let complaints: Vec<String> =
        browser.complaints().into_iter().filter(|c| !c.contains("401 (Unauthorized)")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[test]
fn servers_are_drained_and_made_ready_on_a_phone() {
    let desk = desk();
    let browser = Browser::open(500, 900);
    browser.pretend_phone(390, 844);
    desk.sign_in(&browser);
    until("the check of web05 to have failed", || desk.status("web05") == "DOWN");
    let width = browser.run("return [document.documentElement.scrollWidth, window.innerWidth]");
    assert_eq!(width[0], width[1], "nothing needs sideways scrolling");
    browser.photograph(&picture("phone.png"));
    desk.order(&browser, &["web03"], "drain");
    browser.photograph(&picture("phone-question.png"));
    browser.find("#askyes").click();
    until("it to be drained", || desk.status("web03") == "DRAIN");
    until("the page to say so", || browser.find("#banner").text().contains("carried out"));
    browser.photograph(&picture("phone-drained.png"));
    desk.order(&browser, &["web03"], "ready");
    browser.find("#askyes").click();
    until("it to be ready", || desk.status("web03") == "UP");
    assert!(browser.url().ends_with('/'), "{}", browser.url());
}

#[test]
fn without_scripts_the_form_works_as_it_stands() {
    let desk = desk();
    let ask = |bytes: String| RawClient::connect(desk.page).ask(bytes);
    let fields = "Host: x\r\nAuthorization: Basic b3BzOnNlY3JldA==\r\n";
    let html = ask(format!("GET / HTTP/1.1\r\n{fields}Accept: text/html\r\n\r\n")).text();
    let card = html.split("<section").find(|s| s.contains("value=\"web01\"")).unwrap();
    let number = card.split("name=\"b\" value=\"#").nth(1).and_then(|s| s.split('"').next()).unwrap();
    let body = format!("s=web01&action=drain&b=%23{number}");
    let answer = ask(format!("POST / HTTP/1.1\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len()));
    assert_eq!(answer.field("location"), Some("/;st=DONE"));
    assert_eq!(desk.status("web01"), "DRAIN");
    let after = ask(format!("GET /;st=DONE HTTP/1.1\r\n{fields}Accept: text/html\r\n\r\n")).text();
    assert!(after.contains("The order was carried out on every chosen server."), "{after}");
}
