//! The rules of the judge by name: what each one says, and the situations in which it must have been tested.
//!
//! A rule that was never tested has not held. Over enough seeds, every situation listed here must occur, and at least
//! one [`Plant`](crate::Plant) must trip each rule.

/// A rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name, which never changes.
    pub name: &'static str,
    /// What it demands.
    pub says: &'static str,
    /// The situations that must occur for the rule to count as tested.
    pub sometimes: &'static [&'static str],
}

/// All rules.
pub const RULES: [Rule; 29] = [
    Rule {
        name: "one-holder",
        says: "a job or claim changes hands only when its holder is not alive (or by force, for claims)",
        sometimes: &["takeover", "take refused", "claim moved"],
    },
    Rule { name: "one-life-per-node", says: "at most one member of each node is alive", sometimes: &["joined again"] },
    Rule {
        name: "epochs-grow",
        says: "an epoch grows by one with each holder and never otherwise; an incarnation is never reused",
        sometimes: &["takeover", "claim moved", "joined again"],
    },
    Rule {
        name: "stale-fence-refused",
        says: "only the current holder may write, under the current epoch; dead members are not heard",
        sometimes: &["stale fence refused", "beat of a dead member refused", "orphan refused"],
    },
    Rule {
        name: "one-live-attempt",
        says: "an attempt has ended, or its fenced member was told to stop it, before the next one is granted",
        sometimes: &["taken over from a member that still runs", "handed back", "cancelled"],
    },
    Rule {
        name: "accepted-once",
        says: "submits with the same key create one job",
        sometimes: &["submitted twice, accepted once"],
    },
    Rule {
        name: "published-once",
        says: "a result is published once, by the attempt that holds the job",
        sometimes: &["published", "write to an ended job refused"],
    },
    Rule {
        name: "over-is-over",
        says: "an ended job never changes",
        sometimes: &["published", "discarded", "write to an ended job refused"],
    },
    Rule {
        name: "nothing-lost",
        says: "acknowledged jobs exist and keep their progress",
        sometimes: &["reply lost", "late request", "failed over", "hung request landed", "result refused for certain"],
    },
    Rule {
        name: "no-step-done-twice",
        says: "no attempt under a current fence begins at a step that is committed",
        sometimes: &["began after a committed step", "orphan committed"],
    },
    Rule {
        name: "fifo",
        says: "a node starts the jobs on its queue in order, once it has read them; the cluster too if configured; and no job loses its rank",
        sometimes: &["started in order", "started in the order of the cluster"],
    },
    Rule {
        name: "limits",
        says: "no project and no node exceeds its limit",
        sometimes: &["project full", "node full"],
    },
    Rule {
        name: "fairness",
        says: "no job that may start waits while a slot is free; a full project blocks no other",
        sometimes: &["waits because its project is full", "started beside a full project"],
    },
    Rule {
        name: "query-nodes-run-nothing",
        says: "a node with the role query begins no attempts",
        sometimes: &["accepted by a query node", "a query node saw a job wait"],
    },
    Rule {
        name: "draining-begins-nothing",
        says: "a draining or leaving node begins no attempts, even if it is granted some",
        sometimes: &["granted while draining"],
    },
    Rule {
        name: "only-capable-nodes-run",
        says: "a node takes and begins only jobs that it can run; a failure after a lost capability is not the job's",
        sometimes: &[
            "took a job that not every node can run",
            "a node that can't run it saw a job wait",
            "waits because no node can run it",
            "lost a capability while a job that requires it ran",
            "failed without the capability and was handed back",
        ],
    },
    Rule {
        name: "trust-ends-early",
        says: "a member that is declared silent has lost trust and stopped what cannot be fenced, if its clock is within the bound",
        sometimes: &["silent but running", "trust ended"],
    },
    Rule {
        name: "starts-with-trust",
        says: "no attempt begins without trust",
        sometimes: &["trust ended", "trust restored"],
    },
    Rule {
        name: "no-false-takeover",
        says: "a member declared exited has exited; one declared silent was silent long enough while beats could be heard",
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
        name: "no-needless-fence",
        says: "a node requests no fence while a list that may show the death is in flight, nor for silence from before the last beat",
        sometimes: &["an exit was seen beside the list that tells of it", "fence refused", "fenced as silent"],
    },
    Rule {
        name: "knowledge-grows",
        says: "no node believes a row of an older epoch, and no list makes it forget a job that has not ended",
        sometimes: &["an older row arrived", "a list was older than a row"],
    },
    Rule {
        name: "stops-for-a-reason",
        says: "an attempt is stopped only if it is not wanted, if its member has lost the job, or if trust ended and it cannot be fenced",
        sometimes: &["cancelled", "trust ended", "was fenced"],
    },
    Rule {
        name: "takeover-in-time",
        says: "on a quiet cluster, an heir takes a dead member's jobs within the time promised for the evidence",
        sometimes: &[
            "takeover in time after an exit",
            "takeover in time after silence",
            "takeover in time after a restart",
            "takeover in time after a hand-over",
        ],
    },
    Rule {
        name: "holder-leads",
        says: "on a quiet cluster, there is a leader, and exactly the holder of a claim performs its duties; no epoch is led twice",
        sometimes: &["led", "resigned", "led after another member", "claim recreated"],
    },
    Rule {
        name: "balanced",
        says: "no job is placed on a node that already has its fair share",
        sometimes: &["placed among unequal loads"],
    },
    Rule {
        name: "least-movement",
        says: "a job that waits on the queue of a healthy node stays there until it is taken",
        sometimes: &["placed again"],
    },
    Rule {
        name: "zookeeper-is-advice",
        says: "faults of ZooKeeper alone cause no fence and stop nothing",
        sometimes: &["zookeeper down", "session expired", "watch lost", "session of a living member expired"],
    },
    Rule {
        name: "same-seed-same-run",
        says: "the same setup and acts give the same run, event for event",
        sometimes: &["ran twice"],
    },
    Rule {
        name: "always-goes-on",
        says: "no node panics, spins or stays away; after healing, all accepted jobs end within the promised bound",
        sometimes: &["was fenced", "healed", "connection broke under a write"],
    },
];

impl Rule {
    /// The rule with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.name == name)
    }

    /// The rules whose situations did not all occur, with the missing situations.
    pub fn untested(occurred: impl Fn(&str) -> bool) -> Vec<(&'static str, &'static str)> {
        let all = RULES.iter().flat_map(|rule| rule.sometimes.iter().map(|what| (rule.name, *what)));
        all.filter(|(_, what)| !occurred(what)).collect()
    }
}
