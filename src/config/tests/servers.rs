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
        ("PoolLearn yes", "4:11: 'yes' is no value for PoolLearn; write on or off"),
    ] {
        let all = messages_for(line);
        assert!(all.len() == 1 && all[0].contains(message), "{all:?}");
    }
}
