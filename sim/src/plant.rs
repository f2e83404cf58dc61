//! Planted bugs: rules broken on purpose, each of which must trip one named rule of the judge. They test the judge.
//!
//! Most of them are bugs that occurred in practice: in one of Kylin's four cluster designs, or in a rival. Some remove
//! one safeguard of our own design. The numbers refer to the issue trackers.

use core::fmt;

pub use kirin_core::plant::Plant as CorePlant;

use crate::draw::Profile;

/// A broken rule, in the core or around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plant {
    /// The metastore grants a job regardless of its epoch and holder.
    TakeNotFenced,
    /// The metastore accepts the result of a step from any member.
    CommitNotFenced,
    /// The metastore accepts the end of an attempt from any member.
    FinishNotFenced,
    /// The metastore grants a claim regardless of its epoch and holder.
    ClaimNotFenced,
    /// The metastore accepts the beat of a member that is not alive.
    BeatNotScoped,
    /// The metastore fences a member for silence although it beat meanwhile.
    FenceIgnoresBeat,
    /// The metastore reports unchanged lists without computing the census.
    CensusNotTaken,
    /// The metastore accepts evidence from a member that is not alive.
    FenceByTheDead,
    /// A takeover keeps the epoch.
    EpochKept,
    /// A node that rejoins gets the same incarnation.
    IncarnationReused,
    /// A node that rejoins leaves its earlier incarnation alive.
    ReplacedStaysAlive,
    /// A repeated key creates another job.
    SubmitNotIdempotent,
    /// A step is committed regardless of the number of committed steps.
    StepNotCounted,
    /// The end of an attempt is accepted in every state of the job, if the epoch matches.
    LateFinishRevives,
    /// A result is published again when its attempt reports its end twice.
    PublishedAgain,
    /// A job that is handed back waits again, regardless of its state.
    LateReleaseRevives,
    /// A job that is handed back loses its priority.
    PriorityForgotten,
    /// The metastore grants a job to a member that cannot run it.
    GrantedToIncapable,
    /// The metastore ignores the limits of projects.
    LimitIgnored,
    /// A job that is handed back keeps its place in its project.
    PlacesLeak,
    /// An ended job keeps a dead holder.
    DiscardedKept,
    /// The metastore ignores the order of jobs.
    OrderIgnored,
    /// The metastore fails over to a lagging replica.
    FailoverLosesCommits,
    /// Executors report that they stopped, but continue.
    CancelIgnored,
    /// Executors rely on the process that started them to stop them.
    WorkersHaveNoDeadline,
    /// A probe reports a host that does not answer as a refused connection.
    SilenceIsRefusal,
    /// A submit is acknowledged before its commit.
    AcknowledgedEarly,
    /// Members compare wall clocks.
    FastClockSteals,
    /// The end of a ZooKeeper session counts as evidence of death.
    SessionIsLife,
    /// A process that loses its ZooKeeper session ends.
    SessionLossStopsNode,
    /// A run depends on what ran before it in the same process.
    AmbientChance,
    /// A rule of the core.
    Core(CorePlant),
}

/// A planted bug: what it is called, where it comes from, what must notice it.
#[derive(Clone, Copy, Debug)]
pub struct Planting {
    /// Its name.
    pub name: &'static str,
    /// What is broken.
    pub plant: Plant,
    /// A description of what is broken.
    pub breaks: &'static str,
    /// The rule that must trip.
    pub rule: &'static str,
    /// Where it occurred.
    pub history: &'static str,
}

const fn planting(
    name: &'static str,
    plant: Plant,
    breaks: &'static str,
    rule: &'static str,
    history: &'static str,
) -> Planting {
    Planting { name, plant, breaks, rule, history }
}

impl Planting {
    /// In which runs it is looked for.
    pub const fn profile(&self) -> Profile {
        match self.plant {
            // What only large clusters do.
            Plant::CensusNotTaken => Profile::Crowd,
            _ => Profile::Swarm,
        }
    }
}

impl Plant {
    /// All of them.
    pub const ALL: [Planting; 69] = [
        // --- the metastore's statements ---
        planting(
            "take-not-fenced",
            Self::TakeNotFenced,
            "the metastore grants a job regardless of its epoch and holder",
            "one-holder",
            "KYLIN-5857: RESUME stole a job that was alive on another node; xxl-job#1886, airflow#69336",
        ),
        planting(
            "claim-not-fenced",
            Self::ClaimNotFenced,
            "the metastore grants a claim regardless of its epoch and holder",
            "one-holder",
            "chronos#411, kubernetes#44887: two leaders for a window of time",
        ),
        planting(
            "commit-not-fenced",
            Self::CommitNotFenced,
            "the metastore accepts the result of a step from any member",
            "stale-fence-refused",
            "KE-24110: a stale owner writes the job's status; camunda#57335: no fencing token",
        ),
        planting(
            "finish-not-fenced",
            Self::FinishNotFenced,
            "the metastore accepts the end of an attempt from any member",
            "stale-fence-refused",
            "KYLIN-4826: the runner writes the final state after it lost the job's lock; PowerJob#1104",
        ),
        planting(
            "beat-not-scoped",
            Self::BeatNotScoped,
            "the metastore accepts the beat of a member that is not alive",
            "stale-fence-refused",
            "River's renewal matched every row; Oban had a false leader for 19 days",
        ),
        planting(
            "fence-by-the-dead",
            Self::FenceByTheDead,
            "the metastore accepts evidence from a member that is not alive",
            "stale-fence-refused",
            "dolphinscheduler#16825: a server that returns fails others over",
        ),
        planting(
            "fence-ignores-beat",
            Self::FenceIgnoresBeat,
            "the metastore fences a member for silence although it beat meanwhile",
            "no-false-takeover",
            "quartz#847, quartznet#2817: a peer is recovered before its own check-in, check-then-act",
        ),
        planting(
            "census-not-taken",
            Self::CensusNotTaken,
            "the metastore reports unchanged lists without computing the census",
            "holder-leads",
            "our own shortened beats; Eureka's clients compare a hash code of the whole registry with each delta",
        ),
        planting(
            "epoch-kept",
            Self::EpochKept,
            "a takeover keeps the epoch",
            "epochs-grow",
            "kylin.md §8.1: the rescuer keeps the dead owner's epoch; hatchet#552",
        ),
        planting(
            "incarnation-reused",
            Self::IncarnationReused,
            "a node that rejoins gets the same incarnation",
            "epochs-grow",
            "kylin.md §8.59: kill -9 and instant restart inherits the old lock; oban#862: a name is not an incarnation",
        ),
        planting(
            "replaced-stays-alive",
            Self::ReplacedStaysAlive,
            "a node that rejoins leaves its earlier incarnation alive",
            "one-life-per-node",
            "dolphinscheduler#17342: start times are compared instead of identities",
        ),
        planting(
            "submit-not-idempotent",
            Self::SubmitNotIdempotent,
            "a repeated key creates another job",
            "accepted-once",
            "xxl-job#370, #1262: a retried trigger is a second job; dolphinscheduler#2231",
        ),
        planting(
            "step-not-counted",
            Self::StepNotCounted,
            "a step is committed regardless of the number of committed steps",
            "no-step-done-twice",
            "KYLIN-3554: an unfinished step is skipped; KYLIN-5434: callbacks arrive twice and late",
        ),
        planting(
            "late-finish-revives",
            Self::LateFinishRevives,
            "the end of an attempt is accepted in every state of the job, if the epoch matches",
            "over-is-over",
            "KYLIN-5434, KYLIN-5437: a late callback revives a discarded job; PowerJob#1104",
        ),
        planting(
            "published-again",
            Self::PublishedAgain,
            "a result is published again when its attempt reports its end twice",
            "published-once",
            "xxl-job#370: a payment made twice; dolphinscheduler#8110: data doubled; elasticjob#671",
        ),
        planting(
            "late-release-revives",
            Self::LateReleaseRevives,
            "a job that is handed back waits again, regardless of its state",
            "over-is-over",
            "KYLIN-5434: a paused or discarded job runs again because its old attempt reports late",
        ),
        planting(
            "priority-forgotten",
            Self::PriorityForgotten,
            "a job that is handed back loses its priority",
            "fifo",
            "KYLIN-5852: the priority is not copied when a job is queued again",
        ),
        planting(
            "order-ignored",
            Self::OrderIgnored,
            "the metastore ignores the order of jobs",
            "fifo",
            "KYLIN-6011: the slave's order lacks the creation time",
        ),
        planting(
            "granted-to-incapable",
            Self::GrantedToIncapable,
            "the metastore grants a job to a member that cannot run it",
            "only-capable-nodes-run",
            "a build taken by a node whose working directory had just become read-only",
        ),
        planting(
            "limit-ignored",
            Self::LimitIgnored,
            "the metastore ignores the limits of projects",
            "limits",
            "KYLIN-5349: concurrency per project is ignored; KE-43049: PENDING is not counted",
        ),
        planting(
            "places-leak",
            Self::PlacesLeak,
            "a job that is handed back keeps its place in its project",
            "fairness",
            "KE-41352: stale locks count as running, the limit is reached with nothing running",
        ),
        planting(
            "discarded-kept",
            Self::DiscardedKept,
            "an ended job keeps a dead holder",
            "always-goes-on",
            "KE-41169: the lock of a discarded job is never released; graphile/worker#449",
        ),
        planting(
            "failover-loses-commits",
            Self::FailoverLosesCommits,
            "the metastore fails over to a lagging replica",
            "nothing-lost",
            "dbos-py#716: a restart of the database loses acknowledged work",
        ),
        // --- the shell and its surroundings ---
        planting(
            "cancel-ignored",
            Self::CancelIgnored,
            "executors report that they stopped, but continue",
            "one-live-attempt",
            "KYLIN-3106: shutdown instead of shutdownNow; KYLIN-4449: Spark runs on after a pause; KYLIN-5292",
        ),
        planting(
            "workers-have-no-deadline",
            Self::WorkersHaveNoDeadline,
            "executors rely on the process that started them to stop them",
            "one-live-attempt",
            "our own node under SIGSTOP: its command continued for seconds beside that of its heir",
        ),
        planting(
            "silence-is-refusal",
            Self::SilenceIsRefusal,
            "a probe reports a host that does not answer as a refused connection",
            "no-false-takeover",
            "dolphinscheduler#8110: a starved worker fakes its death; airflow#16573",
        ),
        planting(
            "acknowledged-early",
            Self::AcknowledgedEarly,
            "a submit is acknowledged before its commit",
            "nothing-lost",
            "PowerJob#741: ten seconds of jobs are lost with a server; KYLIN-2176: a submit that failed half-way",
        ),
        planting(
            "fast-clock-steals",
            Self::FastClockSteals,
            "members compare wall clocks",
            "no-false-takeover",
            "kylin.md §8.30: a clock that is 90 s fast steals every lease; trino#3730, dolphinscheduler#12170",
        ),
        planting(
            "session-is-life",
            Self::SessionIsLife,
            "the end of a ZooKeeper session counts as evidence of death",
            "no-false-takeover",
            "elasticjob#507, dolphinscheduler#16759: a master that lost ZooKeeper continues together with its heir",
        ),
        planting(
            "session-loss-stops-node",
            Self::SessionLossStopsNode,
            "a process that loses its ZooKeeper session ends",
            "zookeeper-is-advice",
            "dolphinscheduler#2065, FLINK-10052: jitter of ZooKeeper ends masters; elasticjob#1857",
        ),
        planting(
            "ambient-chance",
            Self::AmbientChance,
            "a run depends on what ran before it in the same process",
            "same-seed-same-run",
            "common in simulators that use hash maps or the real clock",
        ),
        // --- trust ---
        planting(
            "lease-from-answer",
            Self::Core(CorePlant::LeaseFromAnswer),
            "trust counts from the answer of a beat instead of from the request",
            "trust-ends-early",
            "Gray and Cheriton, 1989, read carelessly: a slow answer extends the lease",
        ),
        planting(
            "no-trust-margin",
            Self::Core(CorePlant::NoTrustMargin),
            "trust lasts for the whole heart-beat timeout",
            "trust-ends-early",
            "quartznet#435, db-scheduler#364: \"do clocks matter?\"",
        ),
        planting(
            "trust-never-ends",
            Self::Core(CorePlant::TrustNeverEnds),
            "the end of trust stops nothing",
            "trust-ends-early",
            "kylin.md §8.56: the lock's loss is ignored; airflow#7925: a task that can't beat must kill itself",
        ),
        planting(
            "starts-without-trust",
            Self::Core(CorePlant::StartsWithoutTrust),
            "a member that does not trust itself begins attempts",
            "starts-with-trust",
            "elasticjob#491: a node that is cut off continues to trigger",
        ),
        planting(
            "renewal-gives-up",
            Self::Core(CorePlant::RenewalGivesUp),
            "a failed beat is not retried",
            "always-goes-on",
            "KYLIN-5308: the renewal hangs for ever; KYLIN-5406: one exception ends the fetcher silently",
        ),
        planting(
            "one-failure-stops-work",
            Self::Core(CorePlant::OneFailureStopsWork),
            "a failed beat stops all attempts",
            "stops-for-a-reason",
            "kylin.md §8.29: one failed renewal kills all local jobs; nomad#5876",
        ),
        planting(
            "list-failure-stops-work",
            Self::Core(CorePlant::ListFailureStopsWork),
            "a failed read of the list of jobs stops all attempts",
            "stops-for-a-reason",
            "KYLIN-4607: a failed fetch kills running jobs",
        ),
        // --- life and death ---
        planting(
            "join-before-ended",
            Self::Core(CorePlant::JoinBeforeEnded),
            "a fenced member joins again while its former attempts still run",
            "one-live-attempt",
            "dolphinscheduler#4840: a quick restart while old work still runs",
        ),
        planting(
            "never-joins-again",
            Self::Core(CorePlant::NeverJoinsAgain),
            "a fenced member never joins again",
            "always-goes-on",
            "KYLIN-4017: the engine can't get its lock again until it is restarted; elasticjob#1857, helix#641",
        ),
        planting(
            "release-before-ended",
            Self::Core(CorePlant::ReleaseBeforeEnded),
            "a job is handed back while its attempt still runs",
            "one-live-attempt",
            "Kylin's schedulers reset a job before they kill it (kylin.md §1.4); KYLIN-5368",
        ),
        planting(
            "leaves-while-running",
            Self::Core(CorePlant::LeavesWhileRunning),
            "a draining member leaves while its attempts still run",
            "one-live-attempt",
            "KYLIN-5368: applications survive the node's stop; dolphinscheduler#5812",
        ),
        planting(
            "alive-by-node",
            Self::Core(CorePlant::AliveByNode),
            "a holder counts as alive if any incarnation of its node is",
            "always-goes-on",
            "oban#862: a reused name, whose orphans are never rescued",
        ),
        planting(
            "exit-ignored",
            Self::Core(CorePlant::ExitIgnored),
            "a broken link does not cause a probe",
            "takeover-in-time",
            "temporalio#1012, PowerJob#727: a dead worker is detected only by its timeout; kylin.md §8.57: 260 s",
        ),
        planting(
            "nobody-watches",
            Self::Core(CorePlant::NobodyWatches),
            "no member is watched",
            "takeover-in-time",
            "river#1258: jobs of dead clients run for 91 days; dolphinscheduler#13355: a master dies during a failover",
        ),
        planting(
            "link-is-life",
            Self::Core(CorePlant::LinkIsLife),
            "a broken link is evidence of death",
            "no-false-takeover",
            "dolphinscheduler#13283, nomad#3840: network jitter fails a healthy worker over",
        ),
        planting(
            "blind-counts",
            Self::Core(CorePlant::BlindCounts),
            "silence counts even while the observer could not read",
            "no-false-takeover",
            "river#682; an observer that slept wakes up and declares all others dead: nomad#10953",
        ),
        planting(
            "unknown-is-done",
            Self::Core(CorePlant::UnknownIsDone),
            "a commit with an unknown outcome counts as done",
            "no-step-done-twice",
            "KE-14248: the update's timeout is too short, the state is unknown afterwards",
        ),
        planting(
            "restarts-from-zero",
            Self::Core(CorePlant::RestartsFromZero),
            "a takeover starts from the job's first step",
            "no-step-done-twice",
            "elasticjob#671, dolphinscheduler#13283: a failover repeats completed work",
        ),
        // --- the queue ---
        planting(
            "newest-first",
            Self::Core(CorePlant::NewestFirst),
            "the waiting job that was heard of last starts first",
            "fifo",
            "KYLIN-6011: strict order inside project and priority was not kept",
        ),
        planting(
            "starts-uninformed",
            Self::Core(CorePlant::StartsUninformed),
            "a node that has just joined starts the jobs that it hears of before it has read the list",
            "fifo",
            "our own: after a restart of all nodes, jobs began before earlier ones of the same queue",
        ),
        planting(
            "head-of-line",
            Self::Core(CorePlant::HeadOfLine),
            "a full project blocks the others on its queue",
            "fairness",
            "KYLIN-5874: one project uses up the limit and starves the others",
        ),
        planting(
            "edges-only",
            Self::Core(CorePlant::EdgesOnly),
            "the list of jobs is read only once, and other queues are never checked: only nudges move jobs",
            "fairness",
            "KYLIN-2858, KYLIN-5652: lost or swapped events leave a scheduler dead; airflow#13542",
        ),
        planting(
            "hoards",
            Self::Core(CorePlant::Hoards),
            "a node begins more attempts than it has slots",
            "limits",
            "KYLIN-2389: each node grabs locks for more jobs than it can run",
        ),
        planting(
            "incapable-takes",
            Self::Core(CorePlant::IncapableTakes),
            "a node takes jobs that it cannot run",
            "only-capable-nodes-run",
            "a node without kirin.command.enabled took command jobs and failed each of them",
        ),
        planting(
            "begins-while-draining",
            Self::Core(CorePlant::BeginsWhileDraining),
            "a draining node begins the attempts that it is granted",
            "draining-begins-nothing",
            "our own: one of twelve small mutations, noticed only by unit tests",
        ),
        planting(
            "query-takes",
            Self::Core(CorePlant::QueryTakes),
            "a node with the role query takes jobs",
            "query-nodes-run-nothing",
            "KYLIN-5862: the slave picks jobs that it must not run; river#336",
        ),
        planting(
            "ignores-load",
            Self::Core(CorePlant::IgnoresLoad),
            "jobs are placed by score alone, regardless of the loads",
            "balanced",
            "a hash ring of 160 points: the busiest node has 1.41 times the mean",
        ),
        planting(
            "not-sticky",
            Self::Core(CorePlant::NotSticky),
            "waiting jobs are placed again whenever they are seen",
            "least-movement",
            "nomad#2453: one change reallocates everything",
        ),
        // --- leadership ---
        planting(
            "leader-idle",
            Self::Core(CorePlant::LeaderIdle),
            "a member that is granted another member's claim does not start its duties",
            "holder-leads",
            "KYLIN-3834: a leader is elected and no scheduler runs on it; river#1161, dkron#998",
        ),
        planting(
            "believes-without-row",
            Self::Core(CorePlant::BelievesWithoutRow),
            "a member keeps believing in a claim whose row is gone",
            "holder-leads",
            "our own: the leader's row was deleted by hand, and there was no leader until a node joined",
        ),
        planting(
            "claim-goes-back",
            Self::Core(CorePlant::ClaimGoesBack),
            "an older list makes a member believe in an earlier holder of a claim",
            "holder-leads",
            "our own: one of twelve small mutations, noticed by no test",
        ),
        planting(
            "leads-for-ever",
            Self::Core(CorePlant::LeadsForEver),
            "a member continues its duties after it has lost the claim",
            "holder-leads",
            "KYLIN-3106: leadership is lost and the jobs continue; client-go#595",
        ),
        // --- what only unit tests noticed ---
        planting(
            "list-removes-newer",
            Self::Core(CorePlant::ListRemovesNewer),
            "a list makes a member forget the jobs that it heard of after it asked for the list",
            "knowledge-grows",
            "our own: one of twelve small mutations, noticed only by unit tests",
        ),
        planting(
            "older-epoch-believed",
            Self::Core(CorePlant::OlderEpochBelieved),
            "a row of an older epoch is believed",
            "knowledge-grows",
            "our own: one of twelve small mutations, noticed only by unit tests",
        ),
        planting(
            "fences-beside-list",
            Self::Core(CorePlant::FencesBesideList),
            "a node requests a fence while a list that may show the death is in flight",
            "no-needless-fence",
            "our own: one of twelve small mutations, noticed only by unit tests",
        ),
        planting(
            "silence-outlives-beat",
            Self::Core(CorePlant::SilenceOutlivesBeat),
            "evidence of silence is kept after the next beat",
            "no-needless-fence",
            "our own: a request to fence that failed left the evidence for the rest of the member's life",
        ),
        planting(
            "looks-up-at-once",
            Self::Core(CorePlant::LooksUpAtOnce),
            "a write of unknown outcome is looked up, and repeated, without a pause",
            "always-goes-on",
            "our own: one of twelve small mutations, noticed only by unit tests",
        ),
        planting(
            "suspicions-stay",
            Self::Core(CorePlant::SuspicionsStay),
            "suspicions outlive the member",
            "takeover-in-time",
            "our own: one of twelve small mutations, noticed only by unit tests",
        ),
    ];

    /// The plant of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|planting| planting.name == name).map(|planting| planting.plant)
    }
}

impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|planting| planting.plant == *self).map_or("?", |planting| planting.name);
        f.write_str(name)
    }
}

/// The names of all plants.
pub fn names() -> impl Iterator<Item = &'static str> {
    Plant::ALL.iter().map(|planting| planting.name)
}
