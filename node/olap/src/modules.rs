//! The modules of this crate have layers and no cycle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Names of modules (`star`, `measure/count`) with the modules that each uses.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// The code of each module, without `lib.rs`.
fn read(dir: &Path, prefix: &str, modules: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_string();
        if path.is_dir() {
            read(&path, &format!("{stem}/"), modules);
        } else if stem == "mod" {
            modules.insert(prefix.trim_end_matches('/').into(), std::fs::read_to_string(&path).unwrap());
        } else if !prefix.is_empty() || !["lib", "modules"].contains(&stem.as_str()) {
            modules.insert(format!("{prefix}{stem}"), std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// The graph of `use`d and otherwise named modules; tests may use anything.
fn graph(modules: &BTreeMap<String, String>) -> Graph {
    let used = |module: &String, code: &String| {
        let mut used: BTreeSet<String> =
            modules.keys().filter(|m| m.starts_with(&format!("{module}/"))).cloned().collect();
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for (root, base) in [("crate::", ""), ("super::", module.rsplit_once('/').map_or("", |(dir, _)| dir))] {
                for named in line.split(root).skip(1) {
                    let end = named.find(|c: char| !c.is_alphanumeric() && !"_:".contains(c)).unwrap_or(named.len());
                    let path = format!("{base}/{}", named[..end].replace("::", "/"));
                    let path = path.trim_start_matches('/');
                    // The longest prefix that is a module.
                    let ends = path.match_indices('/').map(|(i, _)| i).chain([path.len()]).collect::<Vec<_>>();
                    let found = ends.iter().rev().map(|end| &path[..*end]).find(|p| modules.contains_key(*p));
                    let found =
                        found.unwrap_or_else(|| panic!("{module} names {root}{named}; name its module instead"));
                    used.insert(found.to_string());
                }
            }
        }
        used.remove(module);
        used
    };
    modules.iter().map(|(module, code)| (module.clone(), used(module, code))).collect()
}

/// A cycle as text.
fn cycle(graph: &Graph) -> Option<String> {
    fn visit<'g>(
        module: &'g str,
        graph: &'g Graph,
        path: &mut Vec<&'g str>,
        done: &mut BTreeSet<&'g str>,
    ) -> Option<String> {
        if let Some(start) = path.iter().position(|m| *m == module) {
            return Some(format!("{} → {module}", path[start..].join(" → ")));
        }
        if done.contains(module) {
            return None;
        }
        path.push(module);
        let found = graph.get(module).into_iter().flatten().find_map(|used| visit(used, graph, path, done));
        path.pop();
        done.insert(module);
        found
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|module| visit(module, graph, &mut vec![], &mut done))
}

/// The layer of each module, from the table in `lib.rs`.
fn layers(text: &str) -> BTreeMap<String, usize> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | "));
    let modules = rows.map(|row| row.split('|').nth(1).unwrap_or_default());
    let named = modules
        .enumerate()
        .flat_map(|(layer, cell)| cell.split('`').skip(1).step_by(2).map(move |m| (m.into(), layer)));
    named.collect()
}

/// What uses a module of a lower layer, or has no layer.
fn misplaced(graph: &Graph, layers: &BTreeMap<String, usize>) -> Vec<String> {
    let layer = |module: &str| layers.get(module.split('/').next().unwrap_or_default());
    let mut found = vec![];
    for (module, used) in graph {
        let Some(own) = layer(module) else {
            found.push(format!("{module} has no layer"));
            continue;
        };
        let below = used.iter().filter(|other| layer(other).is_some_and(|layer| layer > own));
        found.extend(below.map(|other| format!("{module} uses {other}, which is of a lower layer")));
    }
    found
}

#[test]
fn modules_have_no_cycle_and_use_only_their_own_layer_and_those_above() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules = BTreeMap::new();
    read(&src, "", &mut modules);
    let graph = graph(&modules);
    assert!(graph.len() > 30 && graph["snapshot"].contains("rewrite"), "{graph:?}");
    assert_eq!(cycle(&graph), None);
    let layers = layers(&std::fs::read_to_string(src.join("lib.rs")).unwrap());
    assert_eq!(misplaced(&graph, &layers), Vec::<String>::new());
    let gone: Vec<_> = layers.keys().filter(|module| !graph.contains_key(*module)).collect();
    assert!(gone.is_empty(), "the table in lib.rs names {gone:?}, which are not modules");
}

#[test]
fn a_cycle_is_named_and_so_is_a_module_in_the_wrong_layer() {
    let code = [
        ("a", "use crate::b::X;\n// crate::c is only a comment\n"),
        ("b", "fn f() { crate::c::d::g() }"),
        ("c", "mod d;"),
        ("c/d", "use super::e::Y;\n#[cfg(test)]\nuse crate::b::X;"),
        ("c/e", "use crate::a::Z;"),
    ];
    let mut modules: BTreeMap<String, String> = code.into_iter().map(|(m, c)| (m.into(), c.into())).collect();
    assert_eq!(cycle(&graph(&modules)).as_deref(), Some("a → b → c/d → c/e → a"));
    modules.insert("c/e".into(), String::new());
    let graph = graph(&modules);
    assert_eq!(cycle(&graph), None);
    let layers = layers("//! | layer | modules |\n//! | one | `b` | x |\n//! | two | `a`, `c` | y |");
    assert_eq!(misplaced(&graph, &layers), ["b uses c/d, which is of a lower layer"]);
}
