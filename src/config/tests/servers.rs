//! The keys about servers and connections to them.

use super::*;

#[test]
fn the_keys_of_the_pool_are_understood() {
    let config = good(
        "[PROXY_DEFAULTS]\n PoolMaxRequests 0\n PoolMaxAge 0\n PoolUnsafeIdle 0\n PoolLearn off\n\
         [PROXY_ENTRY]\n Match x\n ServerList a\n\
         [PROXY_ENTRY]\n Match y\n ServerList a\n PoolMaxRequests 7\n PoolMaxAge 2m\n \
         PoolUnsafeIdle 250ms\n PoolLearn On\n",
    );
    let pools = config.entries.iter().map(|entry| {
        let Settings { pool_max_requests, pool_max_age, pool_unsafe_idle, pool_learn, .. } = entry.settings;
        (pool_max_requests, pool_max_age, pool_unsafe_idle, pool_learn)
    });
    let (free, strict) = (
        (None, None, Duration::ZERO, false),
        (Some(7), Some(Duration::from_secs(120)), Duration::from_millis(250), true),
    );
    assert_eq!(pools.collect::<Vec<_>>(), [free, strict]);
}

#[test]
fn bad_values_for_the_pool_are_refused() {
    for (line, message) in [
        (
            "PoolMaxRequests many",
            "4:17: 'many' is no value for PoolMaxRequests; write a whole number from 0 to 1000000",
        ),
        ("PoolLearn yes", "4:11: 'yes' is no value for PoolLearn; did you mean 'on'? Write on or off"),
    ] {
        let all = messages_for(line);
        assert!(all.len() == 1 && all[0].contains(message), "{all:?}");
    }
}

#[test]
fn servers_are_described_line_by_line() {
    let config = good(
        "[PROXY_ENTRY]\n Match x\n ServerList l:1 l:1\n Server a:1\n \
         Server b:2 weight=3 MAX=0 Name=b-1.x_\n Server unix:/c backup\n Server [::1]:4 disabled max=65535\n \
         ServerList a:1\n",
    );
    let at = |text: &str| Server::at(super::super::address::parse(text).unwrap());
    let expected = [
        at("l:1"),
        at("l:1"),
        at("a:1"),
        Server { weight: 3, max: Some(0), name: Some("b-1.x_".to_owned()), ..at("b:2") },
        Server { backup: true, ..at("unix:/c") },
        Server { disabled: true, max: Some(65_535), ..at("[::1]:4") },
        at("a:1"),
    ];
    assert_eq!(config.entries[0].servers, expected);
}

#[test]
fn servers_of_an_entry_replace_the_inherited_ones_in_whatever_form() {
    let config = good(
        "[PROXY_DEFAULTS]\n ServerList a b\n Server c weight=2\n\
         [PROXY_ENTRY]\n Match x\n\
         [PROXY_ENTRY]\n Match y\n Server a weight=5\n\
         [PROXY_ENTRY]\n Match z\n ServerList d\n Server e\n",
    );
    let all: Vec<_> = config.entries.iter().map(servers).collect();
    assert_eq!(all, [vec!["a:80", "b:80", "c:80"], vec!["a:80"], vec!["d:80", "e:80"]]);
    assert_eq!(config.entries[1].servers[0].weight, 5);
}

#[test]
fn mistakes_about_servers_are_told_with_the_remedy() {
    for (lines, expected) in [
        (
            "Server b weight=0",
            "4:10: server option 'weight=0': not a weight; write a whole number from 1 to 256, as in weight=2",
        ),
        (
            "Server b weight=257",
            "4:10: server option 'weight=257': not a weight; write a whole number from 1 to 256, as in weight=2",
        ),
        (
            "Server b weight",
            "4:10: server option 'weight': not a weight; write a whole number from 1 to 256, as in weight=2",
        ),
        (
            "Server b max=-1",
            "4:10: server option 'max=-1': not a number of requests; write a whole number from 0 to 65535, as in max=100",
        ),
        (
            "Server b name=a/b",
            "4:10: server option 'name=a/b': not a name; write at most 64 letters, digits, '-', '_' and '.', as in name=app-1",
        ),
        (
            "Server b name",
            "4:10: server option 'name': not a name; write at most 64 letters, digits, '-', '_' and '.', as in name=app-1",
        ),
        ("Server b wieght=2", "4:10: server option 'wieght=2': not an option; did you mean 'weight'?"),
        ("Server b backup=1", "4:10: server option 'backup=1': not an option; did you mean 'backup'?"),
        (
            "Server b xyz",
            "4:10: server option 'xyz': not an option; the options are weight=2, backup, max=100, name=app-1 and disabled",
        ),
        (
            "Server b:1 c:2",
            "4:12: server option 'c:2': a Server line has one address; write a line for each server, or ServerList",
        ),
        (
            "Server b max=1 MAX=2",
            "4:16: server option 'MAX=2': this option stands twice; keep one of the two",
        ),
        (
            "Server b name=n\nServer c name=N weight=2 backup",
            "5:10: server option 'name=N': the server at line 4 has this name already; write another one",
        ),
        (
            "Server a:1",
            "4:8: server 'a:1' stands already at line 3; keep one, with weight=2 if it is to get twice as much",
        ),
        (
            "Server b backup\nServerList c b",
            "5:14: server 'b:80' stands already at line 4; keep one, with weight=2 if it is to get twice as much",
        ),
        ("Server b:x", "4:8: server 'b:x': not a port; write a number from 1 to 65535 after the colon"),
        (
            "ServerList b weight=2",
            "4:14: server 'weight=2': options stand behind the address of a Server line; write one, as in 'Server 127.0.0.1:8081 weight=2'",
        ),
        (
            "MaxConnections 65536",
            "4:16: '65536' is no value for MaxConnections; write a whole number from 0 to 65535",
        ),
        (
            "QueueTimeOut 0",
            "4:14: '0' is no value for QueueTimeOut; write seconds up to 604800, or as in 250ms, 5s, 2m; at least 50 ms",
        ),
    ] {
        assert_eq!(messages_for(lines), [format!("p.conf:{expected}")], "{lines}");
    }
}

#[test]
fn shares_are_bounded_too() {
    let lines: String = (0..257).map(|n| format!(" Server b{n} weight=256\n")).collect();
    let found = messages_for(lines.trim_end());
    assert_eq!(
        found,
        [
            "p.conf:259:9: more than 4096 servers or 65536 shares in one entry; split them over several entries",
            "p.conf:260:9: more than 4096 servers or 65536 shares in one entry; split them over several entries"
        ]
    );
}

#[test]
fn servers_that_get_no_requests_are_warned_of() {
    let entry = |lines: &str| format!("[PROXY_ENTRY]\n Match x\n{lines}\n");
    for (lines, warning) in [
        (
            "Server a disabled",
            "all servers of this entry are disabled, every request gets a 503; enable one of them",
        ),
        (
            "Server a disabled\nServer b backup",
            "all servers of this entry are backups, which is as if none were; leave out 'backup'",
        ),
        (
            "Server a max=0\nQueueSize 5\nMaxConnections 9",
            "QueueSize has no effect where all servers take any number of requests; write MaxConnections, or max= of a Server",
        ),
    ] {
        assert_eq!(warnings(&entry(lines)), [format!("p.conf:1:1: {warning}")], "{lines}");
    }
    assert!(warnings(&entry("Server a backup\nServer b max=3\nQueueSize 5")).is_empty());
}

#[test]
fn the_keys_of_the_queue_are_understood() {
    let config = good(
        "[PROXY_ENTRY]\n Match x\n ServerList a\n MaxConnections 7\n QueueSize 20\n QueueTimeOut 250ms\n",
    );
    let expected = Capacity { max_connections: 7, queue_size: 20, queue_timeout: Duration::from_millis(250) };
    assert_eq!(config.entries[0].settings.capacity, expected);
}
