//! turmoil: tokio's own runtime in steps of a tick.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream};

use crate::{NODES, Ran};

pub fn run(every: Duration, tick: Duration, span: Duration) -> Ran {
    let mut sim = turmoil::Builder::new()
        .tick_duration(tick)
        .simulation_duration(span + Duration::from_secs(60))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(1))
        .build();
    sim.host("server", || async {
        let listener = TcpListener::bind("0.0.0.0:1000").await?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                let mut beat = [0; 8];
                while stream.read_exact(&mut beat).await.is_ok() {
                    if stream.write_all(&beat).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let beats = Arc::new(AtomicU64::new(0));
    for n in 0..NODES {
        let beats = Arc::clone(&beats);
        sim.client(format!("n{n}"), async move {
            let mut stream = TcpStream::connect("server:1000").await?;
            let started = tokio::time::Instant::now();
            while started.elapsed() < span {
                let asked = tokio::time::Instant::now();
                stream.write_all(&[n as u8; 8]).await?;
                let mut reply = [0; 8];
                stream.read_exact(&mut reply).await?;
                beats.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep_until(asked + every).await;
            }
            Ok(())
        });
    }
    sim.run().expect("the simulation ends well");
    Ran { simulated: span, beats: beats.load(Ordering::Relaxed) }
}
