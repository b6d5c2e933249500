//! The page of statistics as a browser shows it: it renews itself, is quiet while nobody looks, and says
//! so when nobody answers. Skipped where there is no browser.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

#[path = "browser/chromium.rs"]
mod chromium;

use std::time::Duration;

use chromium::Browser;
use serde_json::json;
use support::{Backend, Conf, Host, Kind, conf::STATISTICS, host::harness_18_only, vice, within};

const STATUS: &str = "document.getElementById('status').textContent";
const IS_TROUBLE: &str = "document.getElementById('status').classList.contains('trouble')";
const NUMBERS: &str = "document.getElementById('r0-numbers').textContent";

/// The turns to renew the page come twenty times as often as they would, are counted, and come to nothing
/// while `held`. Questions are counted, and whether anybody looks is as `look` was told.
const IN_A_HURRY: &str = "
    window.turns = 0; window.asked = 0; window.held = false; window.out_of_sight = false;
    const [every, ask] = [window.setInterval, window.fetch];
    window.setInterval = (call, ms) => every(() => { if (!window.held) call(); window.turns += 1; }, ms / 20);
    window.fetch = (...about) => { window.asked += 1; return ask(...about); };
    Object.defineProperty(document, 'hidden', { get: () => window.out_of_sight });
    window.look = (away) => {
        window.out_of_sight = away;
        document.dispatchEvent(new Event('visibilitychange'));
    };";

fn open(browser: &mut Browser, kind: Kind, server: &Backend) -> Host {
    let conf = Conf::new().with_statistics().route("^/app", &[server]);
    let host = Host::start(kind, conf);
    browser.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": IN_A_HURRY }));
    browser.call("Page.navigate", json!({ "url": format!("http://{}{STATISTICS}", host.addr()) }));
    browser.eventually("document.readyState === 'complete' && window.turns > 0", "document.URL");
    // Only a page that was not loaded again still has it.
    browser.value("window.is_the_first = true");
    host
}

fn has_requests(count: u32) -> String {
    format!("/requests {count}\\b/.test({NUMBERS})")
}

#[test]
fn the_page_renews_itself_without_a_complaint_and_without_being_loaded_again() {
    harness_18_only(|kind| {
        let Some(mut browser) = Browser::start() else { return };
        let a = Backend::start("a", vice::echo());
        let host = open(&mut browser, kind, &a);
        assert_eq!(browser.value(&has_requests(0)), true, "{}", browser.value(NUMBERS));
        browser.value("document.querySelector('details').open = true");
        (0..3).for_each(|_| drop(host.get("/app").expect(200)));
        browser.eventually(&has_requests(3), NUMBERS);
        assert_eq!(browser.value("window.is_the_first && document.querySelector('details').open"), true);
        assert_eq!(browser.value(STATUS), "Live");
        // The style holds: the row of a server is a grid.
        assert_eq!(browser.value("getComputedStyle(document.getElementById('s0-0')).display"), "grid");
        assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
    });
}

#[test]
fn the_page_says_when_nobody_answers_and_keeps_its_numbers() {
    harness_18_only(|kind| {
        let Some(mut browser) = Browser::start() else { return };
        let a = Backend::start("a", vice::echo());
        let host = open(&mut browser, kind, &a);
        host.get("/app").expect(200);
        browser.eventually(&has_requests(1), NUMBERS);
        let offline =
            |off| json!({ "offline": off, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
        browser.call("Network.emulateNetworkConditions", offline(true));
        let says_so = format!("{IS_TROUBLE} && {STATUS}.startsWith('No answer since ')");
        browser.eventually(&says_so, STATUS);
        assert_eq!(browser.value(&has_requests(1)), true, "{}", browser.value(NUMBERS));
        host.get("/app").expect(200);
        browser.call("Network.emulateNetworkConditions", offline(false));
        browser.eventually(&format!("!{IS_TROUBLE} && {STATUS} === 'Live' && {}", has_requests(2)), STATUS);
        host.stop();
        browser.eventually(&says_so, STATUS);
        assert_eq!(browser.value(&format!("window.is_the_first && {}", has_requests(2))), true);
    });
}

#[test]
fn a_page_that_is_out_of_sight_asks_for_nothing_until_it_is_looked_at() {
    harness_18_only(|kind| {
        let Some(mut browser) = Browser::start() else { return };
        let a = Backend::start("a", vice::echo());
        let host = open(&mut browser, kind, &a);
        let before = browser.value("look(true); [window.asked, window.turns]");
        browser.eventually(&format!("window.turns >= {} + 5", before[1]), "window.turns");
        assert_eq!(browser.value("window.asked"), before[0], "it asked while it was hidden");
        host.get("/app").expect(200);
        // It does not wait for its turn. Again and again: a question may still have been under way.
        browser.value("window.held = true");
        let look = format!("look(true); look(false); {}", has_requests(1));
        let at_once = within(Duration::from_secs(30), || browser.value(&look) == true);
        assert!(at_once, "{}", browser.value(NUMBERS));
    });
}
