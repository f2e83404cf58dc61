//! Captures the log lines of a test's thread.
//!
//! The first capture installs one subscriber for the whole process, which passes each line to the capture of its thread. One
//! subscriber per test would be simpler, but `tracing` caches the interest of one thread for all threads, and lines get lost.
//! So a test that captures must run all its work on its own thread, as `#[tokio::test]` does by default.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, Once, PoisonError};

use tracing_subscriber::filter::LevelFilter;

thread_local! {
    static HERE: RefCell<Option<Captured>> = const { RefCell::new(None) };
}

/// The lines that were logged on this thread since [`capture`], at every level.
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

/// Starts capturing the log lines of this thread, until the thread ends.
pub fn capture() -> Captured {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_ansi(false).with_writer(|| Router).init();
    });
    let captured = Captured::default();
    HERE.set(Some(captured.clone()));
    captured
}

impl Captured {
    /// Returns the lines logged so far.
    pub fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }
}

/// A writer to the capture of the current thread.
struct Router;

impl Write for Router {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A thread that is ending has no capture.
        _ = HERE.try_with(|here| {
            if let Some(captured) = &*here.borrow() {
                captured.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
