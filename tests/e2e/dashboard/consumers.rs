//! The consumers' part of the page.

use resq_test_support::{Instance, own_port};
use serde_json::json;

use super::{browser, publish, resqd, show};
use crate::{
    consumers::{BEGINNING, read, take},
    protocol::peer::ack,
};

#[test]
fn consumers_are_shown_with_how_far_they_are_behind() {
    let instance = Instance::ready("dash_consumers");
    let port = own_port();
    let resqd = resqd(&instance, port);
    let mut conn = instance.conn();
    let browser = browser(port, "reads");
    show(&browser, port, "subscribers", "document.querySelector('section[hidden] tbody')");
    (0..3).for_each(|n| publish(&mut conn, "Own.seen", &json!({ "n": n })));
    let (mut peer, _) = take(&instance.broker_socket(), "billing", BEGINNING, 9);
    read(&mut peer, 1..=3);
    peer.send(&ack(1));
    let cell = |n: usize| format!("document.querySelector('section:not([hidden]) tbody tr').children[{n}].textContent");
    browser.wait_for(&format!("{} === '1' && {} === '2 events'", cell(1), cell(2)));
    assert_eq!(browser.wait_for(&cell(0)), "billing");
    assert_eq!(browser.wait_for(&cell(3)), "*");
    assert!(browser.wait_for(&cell(4)).as_str().unwrap().starts_with("peer at "));
    // The table follows while the page is open.
    peer.send(&ack(3));
    browser.wait_for(&format!("{} === '3' && {} === 'no'", cell(1), cell(2)));
    // Moved by an operator, and named by no client any more; and its last client's name is text.
    instance.resqctl(["consumer", "billing", "--set", "start"]).ok();
    browser.wait_for(&format!("{} === '0' && {} === '(an operator)'", cell(1), cell(4)));
    let markup = "<img src=x onerror=window.ran=1>";
    instance.resq_client(["--name", markup, "--consumer", "billing", "--sub", "*", "--count", "3"]).ok();
    browser.wait_for(&format!("{} === '3' && {}.includes('{markup}')", cell(1), cell(4)));
    let found = browser.run("return [window.ran ?? 0, document.querySelectorAll('main img').length];");
    assert_eq!(found, json!([0, 0]));
    instance.resqctl(["consumer", "billing", "--remove"]).ok();
    browser.wait_for("document.querySelector('section[hidden] tbody')");
    assert_eq!(browser.errors(), Vec::<String>::new());
    drop(browser);
    assert_eq!(resqd.stop().code(), Some(0));
}
