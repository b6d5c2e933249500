//! Tells which Monkey of this family has loaded us.

use super::raw::MkServer;
use crate::abi::word::measured;

/// What the server turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// Monkey 1.7.0 to 1.8.9, or one of them that hides its version.
    Supported {
        /// How it calls itself.
        software: String,
        /// Byte offset of the plugin in a `mk_plugin_network`.
        network_plugin: usize,
    },
    /// A Monkey whose layout was never measured.
    Refused {
        /// How it calls itself.
        software: String,
    },
}

/// Bytes of a server that are looked at; each version's is larger.
const LOOKED_AT: usize = measured(392, 236, 236);
/// Where a server's signature stands, and what goes with that place.
const PLACES: [(usize, usize); 2] = [
    // 1.7.0 to 1.8.7
    (measured(336, 200, 200), OLD_NETWORK),
    // 1.8.9, which has an `event_interest` in its transports
    (measured(376, 220, 220), measured(56, 28, 28)),
];
/// Where a transport's plugin stands in 1.7.0 to 1.8.7.
const OLD_NETWORK: usize = measured(48, 24, 24);

/// Looks at a server.
///
/// # Safety
/// `server` leads to a server of this family.
pub unsafe fn identify(server: *const MkServer) -> Version {
    // SAFETY: by the contract of this function.
    let bytes = unsafe { std::slice::from_raw_parts(server.cast::<u8>(), LOOKED_AT) };
    identify_bytes(bytes)
}

fn identify_bytes(server: &[u8]) -> Version {
    for (place, network_plugin) in PLACES {
        let text = &server[place..place + 16];
        if !text.starts_with(b"Monkey") {
            continue;
        }
        let end = text.iter().position(|&b| b == 0).unwrap_or(text.len());
        let software = String::from_utf8_lossy(&text[..end]).into_owned();
        return if is_supported(&software, network_plugin) {
            Version::Supported { software, network_plugin }
        } else {
            Version::Refused { software }
        };
    }
    Version::Refused { software: "unknown".into() }
}

/// `Monkey/1.7.x`, `Monkey/1.8.0` to `1.8.9`, or the nameless form of
/// `HideVersion on`; each at the place where its layout has the signature.
fn is_supported(software: &str, network_plugin: usize) -> bool {
    if software == "Monkey" {
        return true;
    }
    let Some(version) = software.strip_prefix("Monkey/") else { return false };
    let known: &[&str] = match network_plugin {
        OLD_NETWORK => &[
            "1.7.0", "1.7.1", "1.7.2", "1.7.3", "1.7.4", "1.7.5", "1.8.0", "1.8.1", "1.8.2", "1.8.3",
            "1.8.4", "1.8.5", "1.8.6", "1.8.7",
        ],
        _ => &["1.8.8", "1.8.9"],
    };
    known.contains(&version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(place: usize, text: &str) -> Version {
        let mut server = vec![0; LOOKED_AT];
        server[place..place + text.len()].copy_from_slice(text.as_bytes());
        identify_bytes(&server)
    }

    #[test]
    fn versions_are_told_by_place_and_text() {
        let supported = |place, text: &str, network_plugin| {
            assert_eq!(at(place, text), Version::Supported { software: text.into(), network_plugin });
        };
        let [(old, old_network), (new, new_network)] = PLACES;
        supported(old, "Monkey/1.7.0", old_network);
        supported(old, "Monkey/1.8.7", old_network);
        supported(new, "Monkey/1.8.9", new_network);
        supported(new, "Monkey", new_network);
        for (place, text) in
            [(old, "Monkey/1.8.9"), (new, "Monkey/1.8.7"), (new, "Monkey/1.9.0"), (old, "Monkey/2.0.0")]
        {
            assert_eq!(at(place, text), Version::Refused { software: text.into() });
        }
        assert_eq!(at(0, ""), Version::Refused { software: "unknown".into() });
    }
}
