//! What both ABI families share: the loaded configuration and how it is loaded.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Once, OnceLock};

use super::{clock, ending};
use crate::engine::{Shared, Worker, setup};

/// The configuration file below the folder that the host names.
const CONFIG_FILE: &str = "proxy_reverse.conf";

/// Everything that was configured; empty until a host has loaded us with success.
pub static SHARED: OnceLock<Arc<Shared>> = OnceLock::new();

/// Reads the configuration below `folder`. False, with the reasons logged,
/// when the plugin cannot serve.
pub fn load(folder: &Path) -> bool {
    // By its components: Monkey's text has doubled slashes in it.
    let folder: PathBuf = folder.components().collect();
    let path = folder.join(CONFIG_FILE);
    match setup::load(&path) {
        Ok(shared) => {
            let entries = match shared.routes().len() {
                1 => "1 entry".to_owned(),
                many => format!("{many} entries"),
            };
            log::info!("version {}, {entries} from {}", env!("CARGO_PKG_VERSION"), path.display());
            let _ = SHARED.set(Arc::new(shared));
            true
        }
        Err(error) => {
            log::error!("{error}");
            log::error!("the proxy is not loaded; mend {} and start the server again", path.display());
            false
        }
    }
}

/// Says where the configuration wants requests to be left to a host that
/// cannot take them back.
pub fn warn_of_static() {
    let routes = SHARED.get().map_or(&[][..], |shared| shared.routes());
    for route in routes.iter().filter(|route| route.may_be_left_to_host()) {
        log::warn!(
            "entry {}: this server cannot take requests back for its own files, so \
             'WhenAllOffline static' answers 503 as '503' does; write that instead",
            route.place
        );
    }
}

/// Starts what runs beside the workers, and prepares for the end of the server, once. Called on a worker thread: the
/// host may have forked since it loaded us.
pub fn start_helpers() {
    static STARTED: Once = Once::new();
    if let Some(shared) = SHARED.get() {
        STARTED.call_once(|| {
            Worker::start_helpers(shared, clock::now);
            ending::install();
        });
    }
}
