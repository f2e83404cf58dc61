//! The rules of the judge by name: what each says, and the situations in which it must have been put to the test.
//!
//! A rule that was never put to the test has not held: over enough seeds every situation listed here must have occurred, and at
//! least one [`Plant`](crate::Plant) must trip each rule.

/// A rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name, which never changes.
    pub name: &'static str,
    /// What it says.
    pub says: &'static str,
    /// What must have occurred for it to mean something.
    pub sometimes: &'static [&'static str],
}

/// All of them.
pub const RULES: [Rule; 27] = [
    Rule {
        name: "one-holder",
        says: "a job or claim changes hands only when its holder is not alive (or by force, for claims)",
        sometimes: &["takeover", "take refused", "claim moved"],
    },
    Rule {
        name: "one-life-per-node",
        says: "of the members of one node at most one is alive",
        sometimes: &["joined again"],
    },
    Rule {
        name: "epochs-grow",
        says: "an epoch grows by one with each holder and by nothing else; an incarnation is never used again",
        sometimes: &["takeover", "claim moved", "joined again"],
    },
    Rule {
        name: "stale-fence-refused",
        says: "no write is accepted from anybody but the current holder under the current epoch, and no word of the dead",
        sometimes: &["stale fence refused", "beat of the dead refused", "orphan refused"],
    },
    Rule {
        name: "one-live-attempt",
        says: "an attempt is over, or told to stop by a fenced member, before the next one is granted",
        sometimes: &["taken over from a member that still moves", "handed back", "cancelled"],
    },
    Rule {
        name: "accepted-once",
        says: "submits with one key are one job",
        sometimes: &["submitted twice, accepted once"],
    },
    Rule {
        name: "published-once",
        says: "a result is published once, by the attempt that holds the job",
        sometimes: &["published", "write to what is over refused"],
    },
    Rule {
        name: "over-is-over",
        says: "a job that is over stays as it is",
        sometimes: &["published", "discarded", "write to what is over refused"],
    },
    Rule {
        name: "nothing-lost",
        says: "what was acknowledged exists, as far as it had come",
        sometimes: &["reply lost", "late request", "failed over", "hung request landed"],
    },
    Rule {
        name: "no-step-done-twice",
        says: "no attempt under a current fence begins at a step that is committed",
        sometimes: &["began after a committed step", "orphan committed"],
    },
    Rule {
        name: "fifo",
        says: "a node starts what stands on its queue in order, the cluster too where it is told to, and no job loses its rank",
        sometimes: &["started in order", "started in the order of the cluster"],
    },
    Rule {
        name: "limits",
        says: "no project and no node runs more than it may",
        sometimes: &["project full", "node full"],
    },
    Rule {
        name: "fairness",
        says: "nothing that may start waits while a slot is free; a full project holds up nobody else",
        sometimes: &["waits because its project is full", "started beside a full project"],
    },
    Rule {
        name: "query-nodes-run-nothing",
        says: "a node of the role query begins nothing",
        sometimes: &["accepted by a query node", "a query node saw a job wait"],
    },
    Rule {
        name: "draining-begins-nothing",
        says: "a node that drains or leaves begins nothing, whatever it is granted",
        sometimes: &["granted while draining"],
    },
    Rule {
        name: "only-capable-nodes-run",
        says: "a node takes and begins only what it is able to run; a failure after the ability was lost is not the job's",
        sometimes: &[
            "took a job that not every node can run",
            "a node that can't run it saw a job wait",
            "waits because no node can run it",
            "lost an ability while a job that requires it ran",
            "failed without the ability and was handed back",
        ],
    },
    Rule {
        name: "trust-ends-early",
        says: "a member that is called silent has stopped to trust itself and what it can't fence, if its clock is within the bound",
        sometimes: &["silent but running", "trust ended"],
    },
    Rule {
        name: "starts-with-trust",
        says: "without trust nothing begins",
        sometimes: &["trust ended", "trust restored"],
    },
    Rule {
        name: "no-false-takeover",
        says: "who is called exited has exited, and who is called silent was silent for long enough while it could be heard",
        sometimes: &[
            "fenced as exited",
            "fenced as silent",
            "fence refused",
            "suspects itself",
            "wall clock jumped",
            "clock leapt",
            "long outage",
        ],
    },
    Rule {
        name: "stops-for-a-reason",
        says: "an attempt is told to stop only if it is not wanted, not its member's any more, or can't be fenced without trust",
        sometimes: &["cancelled", "trust ended", "was fenced"],
    },
    Rule {
        name: "takeover-in-time",
        says: "on a quiet cluster an heir takes what a dead member ran within the time promised for the evidence",
        sometimes: &[
            "takeover in time after an exit",
            "takeover in time after silence",
            "takeover in time after a restart",
            "takeover in time after a hand-over",
        ],
    },
    Rule {
        name: "holder-leads",
        says: "on a quiet cluster there is a leader, who holds a claim does its chores, and nobody else does; no epoch is led twice",
        sometimes: &["led", "resigned", "led after another", "claim put back"],
    },
    Rule {
        name: "balanced",
        says: "no job is placed on a node that has its fair share already",
        sometimes: &["placed among unequal loads"],
    },
    Rule {
        name: "least-movement",
        says: "a job that waits on the queue of a healthy node stays there until it is taken",
        sometimes: &["placed again"],
    },
    Rule {
        name: "zookeeper-is-advice",
        says: "whatever ZooKeeper does, nobody dies of it and nothing stops",
        sometimes: &["zookeeper down", "session expired", "watch lost", "session of the living expired"],
    },
    Rule {
        name: "same-seed-same-run",
        says: "the same setup and acts are the same run, event for event",
        sometimes: &["ran twice"],
    },
    Rule {
        name: "always-goes-on",
        says: "no node panics, spins or stays away, and once all is well everything accepted is over within the promised bound",
        sometimes: &["was fenced", "healed"],
    },
];

impl Rule {
    /// The rule of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.name == name)
    }

    /// The situations of all rules that did not occur.
    pub fn untested(occurred: impl Fn(&str) -> bool) -> Vec<(&'static str, &'static str)> {
        let all = RULES.iter().flat_map(|rule| rule.sometimes.iter().map(|what| (rule.name, *what)));
        all.filter(|(_, what)| !occurred(what)).collect()
    }
}
