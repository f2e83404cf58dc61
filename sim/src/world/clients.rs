//! Users. A submit is retried with the same key, through any host, until it is acknowledged. An action is tried once.

use kirin_core::ask::{JobId, Priority, ProjectId};
use kirin_core::job::JobEvent;
use kirin_core::{Action, Answer, Ask, Event};

use super::{Upcoming, World};
use crate::act::{Host, Work};
use crate::host::Machine;
use crate::plant::Plant;
use crate::store::JobRow;

/// The pause before a client retries.
const AGAIN_US: u64 = 700_000;

#[derive(Clone, Debug)]
pub(super) struct Client {
    wants: Wants,
    done: bool,
    tries: u32,
}

#[derive(Clone, Debug)]
enum Wants {
    Post { work: Work, key: u128 },
    Act { action: Action, name: String, via: Option<Host> },
}

#[derive(Clone, Debug)]
pub(super) enum Reply {
    Accepted(JobRow),
    Read(JobRow),
    Acted(JobRow),
    Refused,
}

impl Client {
    pub(super) fn post(work: Work, number: usize) -> Self {
        Self { wants: Wants::Post { work, key: number as u128 + 1 }, done: false, tries: 0 }
    }

    pub(super) fn act(action: Action, name: String, via: Option<Host>) -> Self {
        Self { wants: Wants::Act { action, name, via }, done: false, tries: 0 }
    }

    /// The job that it still has to submit.
    pub(super) fn work(&self) -> Option<&Work> {
        match &self.wants {
            Wants::Post { work, .. } if !self.done => Some(work),
            _ => None,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }
}

impl World {
    pub(super) fn client_tries(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if client.done {
            return;
        }
        client.tries += 1;
        let wants = client.wants.clone();
        if matches!(wants, Wants::Act { .. }) && client.tries > 3 {
            client.done = true;
            return;
        }
        let via = match &wants {
            Wants::Post { work, .. } => work.via,
            Wants::Act { via, .. } => *via,
        };
        let via = via.filter(|via| self.machine(*via).is_some_and(Machine::serves));
        let Some(host) = via.or_else(|| self.any_serving()) else { return self.again(at) };
        let ask = match wants {
            Wants::Post { work, key } => {
                let placed = self.node(host).and_then(|node| node.place(key as u64, work.needs));
                if let Some(node) = self.machines.get(host.0 as usize - 1).and_then(|m| Some(&m.process.as_ref()?.node))
                {
                    self.judge.placed(self.now, node, work.needs, placed);
                }
                Some(Ask::Submit {
                    project: ProjectId(work.project),
                    priority: Priority(work.prio),
                    placed,
                    external: work.external,
                    needs: work.needs,
                    key,
                })
            }
            Wants::Act { name, .. } => self.job(&name).map(|id| Ask::ReadJobs(vec![id])),
        };
        match ask {
            Some(ask) => self.send_api(host, at, ask),
            None => self.again(at),
        }
    }

    fn any_serving(&mut self) -> Option<Host> {
        let now = |world: &Self| -> Vec<Host> {
            world.machines.iter().zip(1..).filter(|(machine, _)| machine.serves()).map(|(_, n)| Host(n)).collect()
        };
        if self.serving.is_none() {
            self.serving = Some(now(self));
        }
        debug_assert_eq!(self.serving, Some(now(self)), "the list is renewed after a start, stop or join");
        self.dice.pick(self.serving.as_deref()?).copied()
    }

    fn again(&mut self, client: usize) {
        self.schedule(self.now + AGAIN_US, Upcoming::ClientTries { client });
    }

    fn send_api(&mut self, host: Host, client: usize, ask: Ask) {
        let Some(boot) = self.machine(host).and_then(|m| m.process.as_ref()).map(|p| p.boot) else { return };
        if self.plant == Some(Plant::AcknowledgedEarly)
            && let Ask::Submit { key, .. } = ask
        {
            self.judge.acknowledged(key, None);
            self.clients[client].done = true;
        }
        let cut = self.outage.is_some() || self.machine(host).is_none_or(|m| m.store_cut);
        if cut || self.dice.chance(self.weather.lose_request_ppm) {
            return self.again(client);
        }
        let at = self.now + self.store_way();
        self.schedule(at, Upcoming::ApiToStore { host, boot, client, ask });
    }

    pub(super) fn api_asked(&mut self, host: Host, boot: u32, client: usize, ask: &Ask) {
        if self.outage.is_some() || self.dice.chance(self.weather.rollback_ppm) {
            return self.again(client);
        }
        let answer = self.transact(host, ask);
        let reply = match (&answer, ask) {
            (Answer::Accepted { row, fresh }, _) => {
                if *fresh && let Wants::Post { work, .. } = &self.clients[client].wants {
                    self.works.insert(row.id, work.clone());
                }
                Reply::Accepted(*row)
            }
            (Answer::Jobs(rows), _) => rows.first().map_or(Reply::Refused, |row| Reply::Read(*row)),
            (Answer::Done, Ask::Act { fence, .. }) => self.row(fence.job).map_or(Reply::Refused, Reply::Acted),
            _ => Reply::Refused,
        };
        if self.dice.chance(self.weather.lose_reply_ppm) || self.machine(host).is_none_or(|m| m.mute) {
            return self.again(client);
        }
        let at = self.now + self.store_way();
        self.schedule(at, Upcoming::ApiReply { host, boot, client, reply });
    }

    fn row(&self, id: JobId) -> Option<JobRow> {
        self.store.job(id).copied()
    }

    pub(super) fn api_replied(&mut self, host: Host, boot: u32, at: usize, reply: Reply) {
        let serves = self.process(host, boot).is_some_and(|p| p.stopped.is_none());
        if !serves {
            return self.again(at);
        }
        match (&self.clients[at].wants, reply) {
            (Wants::Post { key, .. }, Reply::Accepted(row)) => {
                self.judge.acknowledged(*key, Some(row.id));
                self.clients[at].done = true;
                self.tell(host, boot, Event::Told(vec![row]));
            }
            (Wants::Act { action, .. }, Reply::Read(row)) => {
                let (action, legal) = (*action, row.state.after(JobEvent::Act(*action)).is_ok());
                if legal {
                    let ask = Ask::Act { fence: row.fence(), state: row.state, action };
                    self.send_api(host, at, ask);
                } else {
                    self.clients[at].done = true;
                }
            }
            (Wants::Act { .. }, Reply::Acted(row)) => {
                self.clients[at].done = true;
                self.judge.count("acted");
                self.tell(host, boot, Event::Told(vec![row]));
            }
            _ => self.again(at),
        }
    }
}
