//! What clients get while a backend cannot serve them.

use crate::support::origin::Origin;
use crate::support::ports;
use crate::support::site::Site;

#[test]
fn a_backend_without_a_usable_server_shows_its_page() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let page = site.path("maintenance.html");
    std::fs::write(&page, "<h1>Back soon</h1>").unwrap();
    let site = site.backend(format!("maintenance_page: {}", page.display())).start();
    assert_eq!(site.get("/").text(), "s1");

    site.order("set server web/s1 state maint");
    // The page was read when the configuration was.
    std::fs::remove_file(&page).unwrap();
    let mut client = site.client();
    for _ in 0..2 {
        let answer = client.get("/");
        assert_eq!((answer.status(), answer.text().as_str()), (503, "<h1>Back soon</h1>"));
        assert!(answer.field("content-type").is_some_and(|v| v.starts_with("text/html")));
        assert!(answer.field("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    }
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.head_answer();
    assert_eq!((head.status(), head.field("content-length")), (503, Some("18")));
    site.order("set server web/s1 state ready");
    assert_eq!(client.get("/").text(), "s1");
}

#[test]
fn a_backend_can_be_switched_by_hand() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin])
        .backend("maintenance_page: { body: \"closed\", status: 503, retry_after: 120s, content_type: text/plain }")
        .start();
    site.order("set backend web maintenance on");
    let answer = site.get("/closed");
    assert_eq!((answer.status(), answer.text().as_str()), (503, "closed"));
    assert_eq!((answer.field("retry-after"), answer.field("content-type")), (Some("120"), Some("text/plain")));
    assert_eq!(origin.requests().len(), 0);
    assert_eq!(site.logs.row_of("/closed").place(), "web/<NOSRV>");
    site.order("set backend web maintenance off");
    assert_eq!(site.get("/").text(), "s1");
}

#[test]
fn a_backend_can_be_switched_by_configuration() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).backend("maintenance: true").start();
    let answer = site.get("/");
    assert_eq!(answer.status(), 503);
    assert!(answer.field("retry-after").is_some() && !answer.body.is_empty());
    site.order("set backend web maintenance off");
    assert_eq!(site.get("/").text(), "s1");
}

#[test]
fn what_runs_goes_on() {
    let gate = crate::support::gate::Gate::new();
    let held = gate.clone();
    let origin = Origin::answering(move |_| {
        held.pass();
        crate::support::origin::Reply::ok("finished")
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    crate::support::until("the request to run", || origin.requests().len() == 1);
    site.order("set backend web maintenance on");
    assert_eq!(site.get("/").status(), 503);
    gate.open_for_good();
    assert_eq!(client.answer().text(), "finished");
    assert_eq!(client.get("/").status(), 503);
}

#[test]
fn an_upload_to_a_closed_backend_keeps_the_connection_in_step() {
    let site = Site::new().server(ports::address(), "disabled: true").start();
    let mut client = site.client();
    let answer = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(answer.status(), 503);
    if answer.field("connection").is_none() {
        assert_eq!(client.get("/").status(), 503);
    } else {
        client.expect_closed();
    }
}
