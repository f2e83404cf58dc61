//! Machines: each runs one process, which can be killed, started, paused and resumed; and the links between them.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};

use madsim::runtime::Handle;
use madsim::task::NodeId;
use tokio::net::links;

/// The role of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// Runs the Kirin node with this number.
    Node(usize),
    /// Runs the ZooKeeper server with this number.
    ZooKeeper(usize),
    /// Runs the database.
    Database,
    /// Runs the users.
    Users,
}

impl Host {
    /// Its address.
    pub fn address(self) -> IpAddr {
        let (net, number) = match self {
            Self::Node(number) => (0, number),
            Self::ZooKeeper(number) => (1, number),
            Self::Database => (2, 0),
            Self::Users => (3, 0),
        };
        Ipv4Addr::new(10, 0, net, u8::try_from(number + 1).expect("a few hosts")).into()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Runs,
    Paused,
    Dead,
}

struct Machine {
    host: Host,
    id: NodeId,
    state: State,
}

/// All machines of a run.
#[derive(Default)]
pub struct Hosts(Vec<Machine>);

impl Hosts {
    /// Adds a machine and starts its process. `process` runs anew at every start.
    pub fn add<F>(&mut self, host: Host, process: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + 'static,
    {
        let handle = Handle::current();
        let node = handle.create_node().name(format!("{host:?}")).ip(host.address()).init(process).build();
        links::know(node.id(), host.address());
        self.0.push(Machine { host, id: node.id(), state: State::Runs });
    }

    fn machine(&mut self, host: Host) -> &mut Machine {
        self.0.iter_mut().find(|machine| machine.host == host).expect("a host of this run")
    }

    /// All machines.
    pub fn all(&self) -> impl Iterator<Item = Host> {
        self.0.iter().map(|machine| machine.host)
    }

    /// Whether its process runs or is paused.
    pub fn is_alive(&self, host: Host) -> bool {
        self.0.iter().any(|machine| machine.host == host && machine.state != State::Dead)
    }

    /// madsim's name for the machine.
    pub fn id(&mut self, host: Host) -> NodeId {
        self.machine(host).id
    }

    /// Ends the process at once. The machine's kernel continues.
    pub fn kill(&mut self, host: Host) {
        self.resume(host);
        let machine = self.machine(host);
        if machine.state == State::Runs {
            machine.state = State::Dead;
            Handle::current().kill(machine.id);
        }
    }

    /// Starts the process if it is dead.
    pub fn start(&mut self, host: Host) {
        let machine = self.machine(host);
        if machine.state == State::Dead {
            machine.state = State::Runs;
            Handle::current().restart(machine.id);
        }
    }

    /// Pauses the process until it is resumed.
    pub fn pause(&mut self, host: Host) {
        let machine = self.machine(host);
        if machine.state == State::Runs {
            machine.state = State::Paused;
            Handle::current().pause(machine.id);
        }
    }

    /// Undoes [`pause`](Self::pause).
    pub fn resume(&mut self, host: Host) {
        let machine = self.machine(host);
        if machine.state == State::Paused {
            machine.state = State::Runs;
            Handle::current().resume(machine.id);
        }
    }

    /// Records that the process has ended by itself.
    pub fn ended(&mut self, host: Host) {
        let machine = self.machine(host);
        machine.state = State::Dead;
        // Close its sockets as well.
        Handle::current().kill(machine.id);
    }
}
