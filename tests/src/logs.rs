//! What was logged on the thread of a test.
//!
//! The first capture installs one subscriber for the whole process, which hands each line to the capture of its thread. A subscriber
//! for each test would be simpler, but `tracing` remembers for all threads what only one of them wants to hear, and lines get lost.
//! A test that captures must therefore run all its work on its own thread, as `#[tokio::test]` does unless told otherwise.

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

/// Begins to keep what is logged on this thread, for as long as the thread lives.
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
    /// Returns the lines so far.
    pub fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }
}

/// Writes to the capture of the current thread.
struct Router;

impl Write for Router {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A thread that is ending has no capture any more.
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
