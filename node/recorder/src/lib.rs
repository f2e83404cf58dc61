//! The flight recorder: writes every event that enters a node's core to Arrow IPC files, so that the same core can replay
//! the node's decisions later.
//!
//! A run is the life of one process. It is recorded in parts. Each part is a self-contained file: the whole state of the
//! core, then one row per event, with digests of the state at intervals. When all parts together exceed the limit, the
//! oldest are deleted.
//!
//! | file | contents |
//! |---|---|
//! | `entry.rs` | the rows and their columns |
//! | `writer.rs` | the recorder: encodes on the caller's thread, writes on its own |
//! | `reader.rs` | reads recordings, also with a torn end |
//! | `replay.rs` | drives a core through a recording and checks the digests |
//! | `digest.rs` | digests and checksums |
//! | `disk.rs` | the calls to the file system; tests replace them |
//!
//! A recorder never blocks its node. If the disk is full or slower than the events, the recorder drops events, records the
//! gap, and continues with a fresh state. Events contain no secrets: the core knows numbers only, no names, texts or SQL.

mod digest;
mod disk;
mod entry;
mod reader;
mod replay;
mod writer;

pub use digest::digest;
pub use entry::{Entry, Head, Row, name};
pub use reader::{Problem, Recording, files};
pub use replay::{Replay, Step};
pub use writer::{Limits, Recorder};

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;

    use kirin_core::ask::{Epoch, JobId, JobRow, Priority, ProjectId};
    use kirin_core::{Event, JobState, Node, Role, Settings, Span, Time};

    use super::*;
    use crate::digest::digest_of;

    /// Drives a core with events that change its state and records them.
    fn recorded(dir: &Path, events: u64, limits: Limits) -> Node {
        let mut core = Node::start(Settings::new(Role::All), 7, Time::ZERO);
        let mut recorder = Recorder::begin(dir, "a", "run", "1.0", limits).expect("it begins");
        for n in 0..events {
            let row = JobRow {
                id: JobId(n),
                project: ProjectId(1),
                priority: Priority(3),
                state: JobState::Ready,
                epoch: Epoch(0),
                holder: None,
                placed: None,
                steps: 0,
                external: false,
                needs: kirin_core::Capabilities::NONE,
            };
            let (at, event) = (Time::from_micros(n * 1000), Event::Told(vec![row]));
            recorder.record(&core, at, 0, &event);
            drop(core.step(at, event));
        }
        core
    }

    fn parts(dir: &Path) -> Vec<Recording> {
        let files = files(&[dir.to_owned()]).expect("a directory");
        files.iter().map(|path| Recording::open(path).expect("a recording")).collect()
    }

    fn replayed(recording: &Recording) -> (Node, u64, u64) {
        let mut replay = Replay::new(recording);
        let mut events = 0;
        while replay.step().expect("no divergence").is_some() {
            events += 1;
        }
        (replay.core().expect("a state").clone(), events, replay.checked())
    }

    #[test]
    fn a_replay_reaches_the_state_of_the_node() {
        let dir = tempfile::tempdir().expect("a directory");
        let core = recorded(dir.path(), 1000, Limits { digest_every: Span::from_millis(100), ..Limits::default() });
        let parts = parts(dir.path());
        assert_eq!(parts.len(), 1);
        assert!(!parts[0].torn);
        let (again, events, checked) = replayed(&parts[0]);
        assert_eq!((events, digest(&again)), (1000, digest(&core)));
        assert!(checked >= 9, "{checked} digests were checked");
    }

    #[test]
    fn each_part_is_self_contained_and_the_oldest_are_deleted() {
        let dir = tempfile::tempdir().expect("a directory");
        let limits = Limits { kept: 1 << 20, digest_every: Span::from_millis(100), ..Limits::default() };
        let core = recorded(dir.path(), 20_000, limits);
        let parts = parts(dir.path());
        assert!(parts.len() > 1 && parts[0].head.part > 0, "{} parts", parts.len());
        let bytes: u64 = parts.iter().map(|part| part.path.metadata().expect("it is there").len()).sum();
        assert!(bytes <= limits.kept * 2, "{bytes} bytes for a limit of {}", limits.kept);
        for pair in parts.windows(2) {
            let end = replayed(&pair[0]).0;
            assert!(matches!(&pair[1].rows[0].entry, Entry::State(state) if digest_of(state) == digest(&end)));
        }
        assert_eq!(digest(&replayed(parts.last().expect("one")).0), digest(&core));
    }

    #[test]
    fn only_a_torn_end_is_dropped() {
        let dir = tempfile::tempdir().expect("a directory");
        recorded(dir.path(), 5_000, Limits::default());
        let whole = &parts(dir.path())[0];
        let bytes = std::fs::read(&whole.path).expect("read");
        let mut last = 0;
        for length in (bytes.len() / 4..bytes.len()).step_by(997) {
            std::fs::File::create(&whole.path).and_then(|mut f| f.write_all(&bytes[..length])).expect("written");
            let torn = Recording::open(&whole.path).expect("a recording");
            assert!(torn.torn);
            assert_eq!(torn.rows[..], whole.rows[..torn.rows.len()]);
            assert!(torn.rows.len() >= last, "a longer file has at least as many rows");
            last = torn.rows.len();
            if !torn.rows.is_empty() {
                replayed(&torn);
            }
        }
        assert!(last > 0);
    }

    #[test]
    fn zeros_in_place_of_data_count_as_a_torn_end_and_not_as_an_end_mark() {
        let dir = tempfile::tempdir().expect("a directory");
        recorded(dir.path(), 500, Limits::default());
        let whole = &parts(dir.path())[0];
        let bytes = std::fs::read(&whole.path).expect("read");
        for from in (2048..bytes.len() - 8).step_by(512) {
            for to in [from + 512, bytes.len()] {
                let mut left = bytes.clone();
                left[from..to.min(bytes.len())].fill(0);
                std::fs::write(&whole.path, left).expect("written");
                let torn = Recording::open(&whole.path).expect("a recording");
                // Bytes that were zero before are not damaged.
                assert!(torn.torn || torn.rows == whole.rows, "{from}..{to}");
                assert_eq!(torn.rows[..], whole.rows[..torn.rows.len()], "{from}..{to}");
            }
        }
    }

    #[test]
    fn a_file_that_is_not_a_recording_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.arrows");
        std::fs::write(&path, "not arrow at all").expect("written");
        let refused = Recording::open(&path).expect_err("it is not a recording").to_string();
        assert!(refused.contains("x.arrows"), "{refused}");
    }

    #[test]
    fn events_that_a_slow_disk_cannot_take_become_a_gap() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut core = Node::start(Settings::new(Role::All), 7, Time::ZERO);
        // Nothing may wait in memory: events that arrive while a row is being written are dropped.
        let limits = Limits { waiting: 0, ..Limits::default() };
        let mut recorder = Recorder::begin(dir.path(), "a", "run", "1.0", limits).expect("it begins");
        let gaps = |dir: &Path| {
            let rows = parts(dir).into_iter().flat_map(|part| part.rows);
            rows.filter(|row| matches!(row.entry, Entry::Gap(_))).count()
        };
        let mut events = 0..100_000_000_u64;
        while gaps(dir.path()) == 0 {
            for n in events.by_ref().take(1000) {
                let at = Time::from_micros(n);
                recorder.record(&core, at, 0, &Event::ListsChanged);
                drop(core.step(at, Event::ListsChanged));
            }
            assert!(!events.is_empty(), "no event was dropped");
        }
        drop(recorder);
        for part in &parts(dir.path()) {
            replayed(part);
        }
    }
}
