//! Tells which Monkey has loaded us, before anything of it is believed.
//!
//! Init hands over nothing but a table of functions, and that table differs
//! between versions. So its slots are looked at as plain memory, through a
//! pipe: the kernel refuses to read what is not mapped, instead of crashing.

use std::ffi::c_void;
use std::fmt;
use std::io::Read;
use std::os::fd::AsRawFd;

use crate::abi::word::measured;

/// What the table turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// Monkey 1.5.0 to 1.5.6, or a 1.5 that hides its version; on a 32-bit
    /// processor 1.5.6 alone.
    Supported {
        /// How it calls itself.
        software: String,
    },
    /// A Monkey that cannot be served.
    Refused {
        /// How it calls itself, as far as that can be told.
        software: String,
        /// Byte offset of the table's logging function, where it is known.
        log_slot: Option<usize>,
    },
}

/// One table layout: byte offsets.
struct Layout {
    family: &'static str,
    config: usize,
    plugins: usize,
    log: usize,
    config_plugins: usize,
    config_software: usize,
}

const LAYOUTS: [Layout; 3] = [
    Layout {
        family: "1.5",
        config: measured(112, 56, 56),
        plugins: measured(120, 60, 60),
        log: measured(136, 68, 68),
        config_plugins: measured(240, 152, 152),
        config_software: measured(56, 40, 40),
    },
    Layout {
        family: "1.4",
        config: measured(104, 52, 52),
        plugins: measured(112, 56, 56),
        log: measured(128, 64, 64),
        config_plugins: measured(208, 132, 132),
        config_software: measured(56, 36, 36),
    },
    Layout {
        family: "1.3 or older",
        config: 0,
        plugins: measured(8, 4, 4),
        log: measured(24, 12, 12),
        config_plugins: measured(192, 124, 124),
        config_software: measured(48, 32, 32),
    },
];

/// Where the configuration of 1.5.6 names the protocol of its transport.
/// Before 1.5.6 the name of the transport stands there on 32-bit processors.
const CONFIG_TRANSPORT: usize = measured(256, 164, 164);

/// Looks at the table at `api`.
pub fn identify(api: *const c_void) -> Host {
    let memory = match Memory::new() {
        Ok(memory) => memory,
        Err(_) => {
            return Host::Refused { software: "unknown (no pipe to look at it)".into(), log_slot: None };
        }
    };
    for (index, layout) in LAYOUTS.iter().enumerate() {
        let Some(software) = software_of(&memory, api as usize, layout) else { continue };
        if index == 0 && is_supported(&software) {
            if !cfg!(target_pointer_width = "32") || is_last(&memory, api as usize, layout, &software) {
                return Host::Supported { software };
            }
            let software = format!("{software}, of which a 32-bit processor has 1.5.6 alone");
            return Host::Refused { software, log_slot: Some(layout.log) };
        }
        let software = format!("{software} (plugin interface of {})", layout.family);
        return Host::Refused { software, log_slot: Some(layout.log) };
    }
    Host::Refused { software: "unknown".into(), log_slot: None }
}

/// The server's name, if the table has this layout: the configuration that it
/// leads to must name the same list of plugins as the table does.
fn software_of(memory: &Memory, api: usize, layout: &Layout) -> Option<String> {
    let config = memory.word(api + layout.config)?;
    let plugins = memory.word(api + layout.plugins)?;
    if config == 0 || plugins == 0 || memory.word(config + layout.config_plugins)? != plugins {
        return None;
    }
    let text = memory.word(config + layout.config_software)?;
    let length = memory.word(config + layout.config_software + size_of::<usize>())?;
    let bytes = memory.bytes(text, length.min(64))?;
    let text = String::from_utf8(bytes).ok()?;
    text.chars().all(|c| c.is_ascii_graphic() || c == ' ').then_some(text)
}

/// Whether it is 1.5.6, whose layout is another one than those of 1.5.0 to
/// 1.5.5 on 32-bit processors. With `HideVersion on` it is told by the place of a text.
fn is_last(memory: &Memory, api: usize, layout: &Layout, software: &str) -> bool {
    let names_protocol = || {
        let text = memory.word(memory.word(api + layout.config)? + CONFIG_TRANSPORT)?;
        Some(memory.is_text(text, "http") || memory.is_text(text, "https"))
    };
    software.starts_with("Monkey/1.5.6") || (software == "Monkey Server" && names_protocol() == Some(true))
}

/// `Monkey/1.5.<0 to 6> (Linux)`, or the nameless form of `HideVersion on`.
fn is_supported(software: &str) -> bool {
    if software == "Monkey Server" {
        return true;
    }
    let Some(rest) = software.strip_prefix("Monkey/1.5.") else { return false };
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    matches!(digits.as_str(), "0" | "1" | "2" | "3" | "4" | "5" | "6")
}

/// Reads our own memory by way of the kernel, which says so when there is none.
pub(super) struct Memory {
    reader: std::io::PipeReader,
    writer: std::io::PipeWriter,
}

impl Memory {
    pub(super) fn new() -> std::io::Result<Self> {
        let (reader, writer) = std::io::pipe()?;
        Ok(Memory { reader, writer })
    }

    /// The bytes there; `None` if some of them are not readable. At most a page.
    fn bytes(&self, address: usize, length: usize) -> Option<Vec<u8>> {
        if length == 0 {
            return Some(Vec::new());
        }
        // SAFETY: the kernel checks the range and answers EFAULT for what is
        // not readable; a pipe takes up to a page of bytes without blocking.
        let written = unsafe { libc::write(self.writer.as_raw_fd(), address as *const c_void, length) };
        let mut bytes = vec![0; usize::try_from(written).ok()?];
        (&self.reader).read_exact(&mut bytes).ok()?;
        (bytes.len() == length).then_some(bytes)
    }

    /// Whether there is exactly this text, with the NUL that ends it. Nothing
    /// behind that is looked at.
    pub(super) fn is_text(&self, address: usize, text: &str) -> bool {
        let mut expected = text.bytes().chain([0]).enumerate();
        address != 0 && expected.all(|(i, byte)| self.bytes(address + i, 1) == Some(vec![byte]))
    }

    /// The word there.
    pub(super) fn word(&self, address: usize) -> Option<usize> {
        let bytes = self.bytes(address, size_of::<usize>())?;
        Some(usize::from_ne_bytes(bytes.try_into().ok()?))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Supported { software } | Host::Refused { software, .. } => f.write_str(software),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table and a configuration in memory, with pointers where `layout` wants them.
    fn fake(layout: &Layout, software: &'static str) -> (Vec<usize>, Vec<usize>) {
        const WORD: usize = size_of::<usize>();
        let mut config = vec![0usize; 50];
        config[layout.config_plugins / WORD] = 0x1234_5678;
        config[layout.config_software / WORD] = software.as_ptr() as usize;
        config[layout.config_software / WORD + 1] = software.len();
        config[CONFIG_TRANSPORT / WORD] = c"http".as_ptr() as usize;
        let mut api = vec![8usize; 80];
        api[layout.config / WORD] = config.as_ptr() as usize;
        api[layout.plugins / WORD] = 0x1234_5678;
        (api, config)
    }

    #[test]
    fn known_versions_are_told_apart() {
        let cases = [
            (0, "Monkey/1.5.6 (Linux)", true),
            (0, "Monkey/1.5.5 (Linux)", cfg!(target_pointer_width = "64")),
            (0, "Monkey/1.5.0 (Linux)", cfg!(target_pointer_width = "64")),
            (0, "Monkey Server", true),
            (0, "Monkey/1.5.7 (Linux)", false),
            (0, "Monkey/1.5.60 (Linux)", false),
            (0, "Monkey/9.9.9 (Linux)", false),
            (1, "Monkey/1.4.0 (Linux)", false),
            (2, "Monkey/1.3.0 (Linux)", false),
        ];
        for (layout, software, supported) in cases {
            let (api, _config) = fake(&LAYOUTS[layout], software);
            let host = identify(api.as_ptr().cast());
            assert_eq!(matches!(host, Host::Supported { .. }), supported, "{host:?}");
            assert!(host.to_string().starts_with(software), "{host}");
        }
    }

    #[test]
    fn a_hidden_version_is_told_by_the_layout_where_that_differs() {
        let (api, mut config) = fake(&LAYOUTS[0], "Monkey Server");
        assert!(matches!(identify(api.as_ptr().cast()), Host::Supported { .. }));
        // As it is before 1.5.6 on 32-bit processors.
        config[CONFIG_TRANSPORT / size_of::<usize>()] = c"liana".as_ptr() as usize;
        let is_taken = matches!(identify(api.as_ptr().cast()), Host::Supported { .. });
        assert_eq!(is_taken, cfg!(target_pointer_width = "64"));
    }

    #[test]
    fn anything_else_is_refused_and_never_read_into_a_crash() {
        let garbage: Vec<usize> = (0..80).map(|i: usize| i.wrapping_mul(0x9e37_79b9)).collect();
        assert_eq!(
            identify(garbage.as_ptr().cast()),
            Host::Refused { software: "unknown".into(), log_slot: None }
        );
        assert!(matches!(identify(std::ptr::null()), Host::Refused { log_slot: None, .. }));
    }
}
