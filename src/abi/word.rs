//! What a server's structures depend on besides its version: how long a
//! pointer is, and, on 32-bit processors, how long its `time_t` and `off_t` are.

#[cfg(all(target_pointer_width = "32", not(any(target_arch = "arm", target_arch = "x86"))))]
compile_error!("of 32-bit processors only ARM and x86 were measured");
#[cfg(all(feature = "time64", target_arch = "x86"))]
compile_error!("a 64-bit time_t was measured on 32-bit ARM alone");

/// Whether the server is expected to have a 64-bit `time_t` and `off_t`
/// although its pointers have 32 (feature `time64`).
pub const IS_TIME64: bool = cfg!(all(feature = "time64", target_pointer_width = "32"));

/// The server's `time_t`.
#[cfg(all(feature = "time64", target_pointer_width = "32"))]
pub type Time = i64;
/// The server's `time_t`.
#[cfg(not(all(feature = "time64", target_pointer_width = "32")))]
pub type Time = std::ffi::c_long;

/// The server's `off_t`.
pub type Off = Time;

/// The measured number for what is being built: with 64-bit pointers, with
/// 32-bit ones, and with these and a 64-bit `time_t`.
pub const fn measured(lp64: usize, ilp32: usize, time64: usize) -> usize {
    if cfg!(target_pointer_width = "64") {
        lp64
    } else if IS_TIME64 {
        time64
    } else {
        ilp32
    }
}

/// Whether the server's `time_t` is as long as this plugin was built for; says so if not.
#[cfg(target_pointer_width = "32")]
pub fn is_as_built(ask: impl Fn(&std::ffi::CStr, &mut [u32; 16]) -> bool) -> bool {
    let time64 = is_time64(ask);
    if time64 == Some(IS_TIME64) {
        return true;
    }
    let version = env!("CARGO_PKG_VERSION");
    match time64 {
        Some(true) => log::error!(
            "{version}: this server has a 64-bit time_t; build the plugin with --features time64. It is not loaded."
        ),
        Some(false) => log::error!(
            "{version}: this server has a 32-bit time_t; build the plugin without the feature time64. It is not loaded."
        ),
        None => log::error!(
            "{version}: how long this server's time_t and off_t are cannot be told. The plugin is not loaded."
        ),
    }
    false
}

/// How long a server's `time_t` is, told by where its `file_get_info` writes
/// the time of a file that we know; `None` if it is neither of the two layouts
/// that were measured. `ask` calls that function with a path and 64 bytes of room.
#[cfg(target_pointer_width = "32")]
fn is_time64(ask: impl Fn(&std::ffi::CStr, &mut [u32; 16]) -> bool) -> Option<bool> {
    use std::os::unix::fs::MetadataExt;
    // Where the numbers of files are long, a server with a 32-bit `off_t`
    // cannot look at them; the second mostly has a short one.
    [(c"/", "/"), (c"/dev/null", "/dev/null"), (c"/proc", "/proc")].into_iter().find_map(|(path, known)| {
        let time = || Some(std::fs::metadata(known).ok()?.mtime());
        let before = time()?;
        let mut words = [0xa5a5_a5a5; 16];
        if !ask(path, &mut words) || time()? != before {
            return None;
        }
        tell(&words, u32::try_from(before).ok()?)
    })
}

/// `struct file_info`: the size, the time, and flags that are never 0.
#[cfg(any(target_pointer_width = "32", test))]
fn tell(words: &[u32; 16], time: u32) -> Option<bool> {
    let is_flags = |word: u32| word & 0o4000 != 0 && word != 0xa5a5_a5a5;
    match words {
        [_, at, flags, ..] if *at == time && is_flags(*flags) => Some(false),
        [_, _, at, 0, flags, ..] if *at == time && is_flags(*flags) => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(first: &[u32]) -> [u32; 16] {
        let mut words = [0xa5a5_a5a5; 16];
        words[..first.len()].copy_from_slice(first);
        words
    }

    #[test]
    fn the_length_of_a_servers_time_is_told_by_where_it_writes_one() {
        const FLAGS: u32 = 0o1_004_000;
        assert_eq!(tell(&words(&[4096, 1_700_000_000, FLAGS]), 1_700_000_000), Some(false));
        assert_eq!(tell(&words(&[4096, 0, 1_700_000_000, 0, FLAGS]), 1_700_000_000), Some(true));
        // 1.8 leaves the gap as it was.
        let gap = 0xa5a5_a5a5;
        assert_eq!(tell(&words(&[4096, gap, 1_700_000_000, 0, FLAGS]), 1_700_000_000), Some(true));
        // A long off_t with a short time_t: 1.5 was not measured so.
        assert_eq!(tell(&words(&[4096, 0, 1_700_000_000, FLAGS]), 1_700_000_000), None);
        // Another file, and nothing at all.
        assert_eq!(tell(&words(&[4096, 1_700_000_001, FLAGS]), 1_700_000_000), None);
        assert_eq!(tell(&words(&[]), 0xa5a5_a5a5), None);
    }
}
