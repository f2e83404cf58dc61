//! Quantities that must not grow, however long the attack lasts: memory, descriptors and threads of a node that is spared,
//! connections to the database, sessions and znodes of ZooKeeper, rows, files.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::Context as _;

use super::deployment::Deployment;

/// All tables, with their names in the report.
const TABLES: [(&str, &str); 14] = [
    ("node", "rows of nodes"),
    ("member", "rows of members"),
    ("beat", "rows of beats"),
    ("claim", "rows of claims"),
    ("project", "rows of projects"),
    ("job", "rows of jobs"),
    ("over", "rows of counts"),
    ("step", "rows of steps"),
    ("attempt", "rows of attempts"),
    ("segment", "rows of segments"),
    ("doc", "rows of tables and models"),
    ("catalog", "rows of catalogs"),
    ("setting", "rows of settings"),
    ("history", "rows of history"),
];
/// The tolerated growth from the second third to the last, as a fraction…
const GROWTH_MAX: f64 = 0.10;
/// … or, for small numbers, in absolute terms.
const GROWTH_LEAST: f64 = 8.0;
/// The minimum number of samples.
const SAMPLES_MIN: usize = 12;

/// Numbers over time, by name.
#[derive(Clone, Debug, Default)]
pub struct Samples(BTreeMap<&'static str, Vec<f64>>);

/// One number over time.
#[derive(Clone, Debug)]
pub struct Course {
    /// Its name.
    pub name: &'static str,
    /// The medians of the three thirds.
    pub thirds: [f64; 3],
    /// Whether it grew from the second third to the last. In the first third, caches fill.
    pub grew: bool,
}

impl Samples {
    /// Adds one sample of each quantity. Everything must be up.
    ///
    /// # Errors
    /// If a quantity cannot be read.
    pub fn take(&mut self, cluster: &mut Deployment, survivor: usize) -> anyhow::Result<()> {
        let process = cluster.process(survivor)?.id();
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
            anyhow::Ok(line.trim_start_matches(':').split_whitespace().next().unwrap_or_default().parse::<f64>()?)
        };
        self.add("memory of a node, MiB", number("VmRSS")? / 1024.0);
        self.add("its threads", number("Threads")?);
        self.add("its descriptors", std::fs::read_dir(format!("/proc/{process}/fd"))?.count() as f64);
        self.add("connections to the database", cluster.database_connections()?);
        for (table, name) in TABLES {
            self.add(name, cluster.sql(&format!("SELECT COUNT(*) FROM chaos_{table}"))?.parse()?);
        }
        let (sessions, znodes) = cluster.zookeeper_counts()?;
        self.add("connections to ZooKeeper", sessions);
        self.add("znodes", znodes);
        self.add("files in the working directory", files(&cluster.working_dir) as f64);
        self.add(
            "a node's own files, MiB",
            bytes(&cluster.nodes[survivor].home.join("data")) as f64 / f64::from(1 << 20),
        );
        Ok(())
    }

    fn add(&mut self, name: &'static str, number: f64) {
        self.0.entry(name).or_default().push(number);
    }

    /// The trend of each quantity.
    pub fn courses(&self) -> Vec<Course> {
        self.0.iter().filter(|(_, all)| all.len() >= SAMPLES_MIN).map(|(name, all)| course(name, all)).collect()
    }
}

fn course(name: &'static str, all: &[f64]) -> Course {
    let third = all.len() / 3;
    let thirds = [0, 1, 2].map(|at| {
        let mut part = all[at * third..if at == 2 { all.len() } else { (at + 1) * third }].to_vec();
        part.sort_unstable_by(f64::total_cmp);
        part[part.len() / 2]
    });
    let most = thirds[1] + (thirds[1] * GROWTH_MAX).max(GROWTH_LEAST);
    Course { name, thirds, grew: thirds[2] > most }
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third] = self.thirds;
        write!(f, "{:<34} {first:>10.1} {second:>10.1} {third:>10.1}", self.name)
    }
}

fn files(dir: &Path) -> u64 {
    walk(dir, &|_| 1)
}

fn bytes(dir: &Path) -> u64 {
    walk(dir, &|entry| entry.metadata().map_or(0, |meta| meta.len()))
}

/// Sums over all files below a directory. Files that disappear meanwhile do not count.
fn walk(dir: &Path, of: &dyn Fn(&std::fs::DirEntry) -> u64) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { walk(&entry.path(), of) } else { of(&entry) }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_noticed_and_fluctuation_is_not() {
        let growing: Vec<f64> = (0..60).map(|at| 100.0 + f64::from(at)).collect();
        assert!(course("rows", &growing).grew);
        let swinging: Vec<f64> = (0..60).map(|at| 100.0 + f64::from(at % 7)).collect();
        assert!(!course("rows", &swinging).grew);
        let filling: Vec<f64> = (0..60).map(|at| f64::from(100 * at.min(20))).collect();
        assert!(!course("cache", &filling).grew, "a cache that fills in the first third");
        let few: Vec<f64> = (0..60).map(|at| 3.0 + f64::from(at / 20)).collect();
        assert!(!course("connections", &few).grew, "small fluctuations are not a leak");
    }
}
