//! Wakes whoever waits when files change. A hint to look again, never a source of truth: events may be
//! missing, doubled or late.
//!
//! `notify` is used here and nowhere else.

use std::io;
use std::path::Path;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};

/// Watches until it is dropped.
pub struct Watcher {
    _inner: RecommendedWatcher,
}

impl Watcher {
    /// Calls `wake` after something below a directory has changed. Reading changes nothing.
    ///
    /// # Errors
    /// The directory cannot be watched: it is missing, or the system's number of watches is used up.
    pub fn new(dir: &Path, wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        let told = move |event: notify::Result<Event>| {
            // What the watcher itself has missed is a reason to look, too.
            if event.is_ok_and(|event| event.kind.is_access()) {
                return;
            }
            wake();
        };
        let open = || {
            let mut inner = notify::recommended_watcher(told)?;
            inner.watch(dir, RecursiveMode::Recursive)?;
            Ok(inner)
        };
        let wrong = |error: notify::Error| io::Error::other(format!("watching {}: {error}", dir.display()));
        Ok(Watcher { _inner: open().map_err(wrong)? })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_change_deep_below_wakes_and_reading_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("aa");
        std::fs::create_dir(&deep).unwrap();
        std::fs::write(deep.join("x.yaml"), "1").unwrap();
        let (tell, told) = channel();
        let _watcher = Watcher::new(dir.path(), move || {
            let _ = tell.send(());
        })
        .unwrap();
        std::fs::read(deep.join("x.yaml")).unwrap();
        assert!(told.recv_timeout(Duration::from_millis(100)).is_err(), "reading woke it");
        std::fs::write(deep.join("x.yaml"), "2").unwrap();
        assert!(told.recv_timeout(Duration::from_secs(10)).is_ok(), "writing does not wake it");
    }

    #[test]
    fn a_directory_that_is_missing_is_named() {
        let error = Watcher::new(Path::new("/nonexistent/tasks"), || {}).err().expect("it is missing");
        assert!(error.to_string().contains("/nonexistent/tasks"), "{error}");
    }
}
