//! The log of a run: all log lines of the nodes and the services, each with its simulated time.

use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use madsim::time::TimeHandle;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

fn lines() -> MutexGuard<'static, Vec<u8>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the journal of this process, which executes one run. With `whole`, it also contains every event and every
/// effect.
///
/// If two runs differ anywhere, they soon differ in the time of every line, because each poll of a task draws its
/// duration.
pub fn begin(whole: bool) {
    let said = Targets::new()
        .with_default(if whole { Level::TRACE } else { Level::DEBUG })
        // Its spans name the machine and the task of a line.
        .with_target("madsim", Level::ERROR);
    let format = tracing_subscriber::fmt::layer().with_ansi(false).with_timer(Simulated).with_writer(|| Lines);
    tracing_subscriber::registry().with(said).with(format).init();
}

/// The journal so far.
pub fn read() -> Vec<u8> {
    lines().clone()
}

struct Simulated;

impl FormatTime for Simulated {
    fn format_time(&self, to: &mut Writer<'_>) -> fmt::Result {
        let elapsed = TimeHandle::try_current().map(|time| time.elapsed()).unwrap_or_default();
        write!(to, "{:>14.9}", elapsed.as_secs_f64())
    }
}

struct Lines;

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lines().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
