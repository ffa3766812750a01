//! Tools that draw on a terminal.

use crate::python::must_work;
use crate::support::lab::Lab;
use crate::support::tools::need;

#[test]
fn hatop_draws_its_views_and_switches_servers() {
    let lab = Lab::start();
    let hatop = need("hatop", "hatop");
    let socket = lab.socket("admin");
    must_work("hatop.py", &[&socket.display().to_string(), "be_web", "web2", &hatop.display().to_string()]);
}
