//! madsim: real async code on simulated sockets.

use std::net::SocketAddr;
use std::time::Duration;

use madsim::net::Endpoint;
use madsim::runtime::{Handle, Runtime};

use crate::{NODES, Ran};

const TAG: u64 = 1;

pub fn run(every: Duration, span: Duration) -> Ran {
    let runtime = Runtime::with_seed_and_config(7, madsim::Config::default());
    let beats = runtime.block_on(async move {
        let handle = Handle::current();
        let address: SocketAddr = "10.0.0.1:1000".parse().expect("an address");
        let server = handle.create_node().name("server").ip(address.ip()).build();
        server.spawn(async move {
            let endpoint = Endpoint::bind(address).await.expect("a free port");
            loop {
                let mut beat = [0; 8];
                let (_, from) = endpoint.recv_from(TAG, &mut beat).await.expect("a beat");
                endpoint.send_to(from, TAG + 1 + u64::from(beat[0]), &beat).await.expect("a reply");
            }
        });
        let nodes: Vec<_> = (0..NODES)
            .map(|n| {
                let ip = format!("10.0.0.{}", n + 2).parse().expect("an address");
                let node = handle.create_node().name(format!("n{n}")).ip(ip).build();
                node.spawn(async move {
                    let endpoint = Endpoint::bind("0.0.0.0:0").await.expect("a free port");
                    let mut beats = 0_u64;
                    let started = madsim::time::Instant::now();
                    while started.elapsed() < span {
                        let asked = madsim::time::Instant::now();
                        endpoint.send_to(address, TAG, &[n as u8; 8]).await.expect("a beat");
                        let mut reply = [0; 8];
                        endpoint.recv_from(TAG + 1 + n, &mut reply).await.expect("a reply");
                        beats += 1;
                        madsim::time::sleep_until(asked + every).await;
                    }
                    beats
                })
            })
            .collect();
        let mut beats = 0;
        for node in nodes {
            beats += node.await.expect("a node ends well");
        }
        beats
    });
    Ran { simulated: span, beats }
}
