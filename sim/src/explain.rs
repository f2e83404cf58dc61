//! Explains a run: runs it again while a camera watches, and returns a [`Picture`].

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::picture::{Broken, Picture};
use crate::plant::Plant;
use crate::search::Script;
use crate::world::World;

/// The minimum time, in microseconds, that the picture shows after a violation.
const AFTER_US: u64 = 2_000_000;

/// Returns the picture of a run.
pub fn picture(script: &Script, plant: Option<Plant>) -> Picture {
    let mut world = World::new(script.setup.clone(), plant);
    world.film();
    let panicked = catch_unwind(AssertUnwindSafe(|| script.carry_out_in(&mut world))).is_err();
    let (digest, events, nodes) = (world.digest(), world.events(), script.setup.nodes());
    let violation = world.violation().map(|v| Broken { at: v.at, rule: v.rule.to_string(), what: v.what.clone() });
    let now = world.now().micros();
    let violation = violation.or_else(|| {
        let what = "an assertion of the core failed; run the seed without 'explain' to see which".to_owned();
        panicked.then(|| Broken { at: now, rule: "panicked".to_owned(), what })
    });
    let mut picture = world.filmed();
    let (timeout, interval) = (script.setup.timing.timeout(), script.setup.timing.interval());
    picture.title = match plant {
        None => format!("seed {}", script.setup.seed),
        Some(plant) => format!("seed {}, {plant} planted", script.setup.seed),
    };
    picture.facts = vec![
        format!("{nodes} nodes"),
        format!("heart-beat every {interval:?}, silent after {timeout:?}"),
        format!("{} acts", script.acts.len()),
        format!("{events} events"),
        format!("digest {digest:016x}"),
    ];
    if violation.is_some() {
        let after = (picture.end - picture.start) / 40;
        picture.end += after.max(AFTER_US);
    }
    (picture.judged, picture.violation) = (true, violation);
    picture
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Tone;

    fn run(text: &str, plant: Option<&str>) -> Picture {
        let plant = plant.map(|name| Plant::from_name(name).unwrap());
        picture(&Script::parse(text).unwrap(), plant)
    }

    #[test]
    fn a_killed_holder_and_its_heir_are_drawn() {
        let run = run("cluster seed=7 nodes=3\npost a steps=3 step=20s\nrun 30s\nkill n1\nkill n2\nrun 90s\n", None);
        assert_eq!(run.violation, None);
        let bars: Vec<_> = run.lanes.iter().flat_map(|lane| &lane.bars).collect();
        assert_eq!(run.arrows.len() + 1, bars.len(), "each attempt except the first has a predecessor");
        assert!(bars.len() >= 2, "{bars:?}");
        let ends: Vec<_> = bars.iter().map(|bar| bar.end.as_ref().unwrap().tone).collect();
        assert_eq!(ends.iter().filter(|tone| **tone == Tone::Good).count(), 1);
        let steps = bars.iter().flat_map(|bar| &bar.steps).filter(|step| step.tone == Tone::Good).count();
        assert_eq!(steps, 3, "every step is committed once");
        assert!(run.lanes[0].shades.iter().any(|shade| shade.label == "down"));
        assert!(run.lanes[0].lives.iter().any(|life| life.label == "n1.1" && life.hover == "killed"));
        assert!(run.lanes[2].trust.len() == 1 && run.lanes[2].beats.len() > 2);
        assert!(run.lanes.iter().any(|lane| lane.leads.iter().any(|lead| lead.tone == Tone::Lead)));
        assert!(run.acts.iter().any(|act| act.label == "kill n1"));
    }

    #[test]
    fn a_fault_of_a_host_is_shaded_for_its_duration() {
        let text = "cluster seed=7 nodes=2\nrun 10s\nfreeze n1\ncut n1 n2\nrun 5s\nthaw n1\nslow n2 20ms\nrun 5s\n\
                    outage hangs\nrun 7s\noutage over\nrun 10s\n";
        let run = run(text, None);
        let shade = |at: usize, label: &str| {
            let shade = run.lanes[at].shades.iter().find(|shade| shade.label == label).expect(label);
            (shade.from / 1_000_000, shade.until / 1_000_000)
        };
        assert_eq!(shade(0, "frozen"), (10, 15));
        assert_eq!(shade(0, "cut from n2").0, 10);
        assert_eq!(shade(1, "replies take 20ms longer").0, 15);
        assert_eq!(
            run.bands.iter().map(|band| (band.from, band.until)).collect::<Vec<_>>(),
            [(20_000_000, 27_000_000)]
        );
    }

    #[test]
    fn a_drifting_clock_is_a_line_with_few_points() {
        let line = "cluster seed=7 nodes=2 clocks=0us+49000ppm,5us-49000ppm\nrun 200s\n";
        let run = run(line, None);
        let curve = &run.lanes[0].clock[0];
        assert!(curve.len() < 6, "{curve:?}");
        let last = curve.last().unwrap();
        assert!((last.1 - last.0 as i64 * 49 / 1000).abs() < 1_000, "{curve:?}");
    }

    #[test]
    fn the_moment_of_a_violation_is_in_the_picture() {
        let text = "cluster seed=3 nodes=2 in_order\npost j7 steps=1 step=1s\n";
        let run = run(text, Some("take-not-fenced"));
        let broken = run.violation.as_ref().expect("it is planted");
        assert_eq!(broken.rule, "one-holder");
        assert!(run.start <= broken.at && broken.at < run.end);
        assert!(run.html().contains("one-holder"));
    }
}
