//! The part of `async-io` that `zookeeper-client` uses, on madsim's clock: timers.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that fires once or periodically.
#[derive(Debug)]
pub struct Timer {
    /// The next moment at which it fires.
    when: Option<Instant>,
    period: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// A timer that never fires.
    pub fn never() -> Self {
        Self { when: None, period: Duration::MAX, sleep: None }
    }

    /// Fires once, after a span.
    pub fn after(span: Duration) -> Self {
        now().checked_add(span).map_or_else(Self::never, Self::at)
    }

    /// Fires once, at a moment.
    pub fn at(when: Instant) -> Self {
        Self { when: Some(when), ..Self::never() }
    }

    /// Fires periodically.
    pub fn interval(period: Duration) -> Self {
        Self { period, ..Self::after(period) }
    }
}

impl Future for Timer {
    type Output = Instant;

    /// Returns the moment for which it was set, like the original. The next moment of an interval is derived from it.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Instant> {
        let this = self.get_mut();
        let Some(when) = this.when else { return Poll::Pending };
        if now() < when {
            let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(when)));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        this.sleep = None;
        this.when = when.checked_add(this.period);
        Poll::Ready(when)
    }
}

#[expect(clippy::disallowed_methods, reason = "a timer reads the clock")]
fn now() -> Instant {
    Instant::now()
}
