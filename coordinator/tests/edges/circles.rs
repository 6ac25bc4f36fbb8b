//! Circles among the modules of a folder: whether a module names itself through others. Knows nothing of rules.

use std::collections::{BTreeMap, BTreeSet};

use crate::paths;

/// A module by its names below the folder; the folder's own `mod.rs` has none.
type Module<'a> = Vec<&'a str>;
type Graph<'a> = BTreeMap<Module<'a>, BTreeSet<Module<'a>>>;

/// Which module of `folder` names which. `root` is the folder's own path, such as `["crate", "scheduler"]`.
pub(crate) fn graph<'a>(folder: &str, root: &[&str], files: &'a [(String, String)]) -> Graph<'a> {
    let modules: BTreeMap<Module<'a>, &str> =
        files.iter().filter_map(|(file, text)| Some((module(folder, file)?, text.as_str()))).collect();
    let edges = |(module, text): (&Module<'a>, &&'a str)| {
        let named = paths::of(text).into_iter().filter_map(|path| {
            let mut target = absolute(module, root, &path.names)?;
            while !modules.contains_key(&target) {
                target.pop()?;
            }
            Some(modules.get_key_value(&target)?.0.clone()).filter(|target| target != module)
        });
        (module.clone(), named.collect())
    };
    modules.iter().map(edges).collect()
}

/// The same of what lies directly in the folder: each file, or folder, as one.
pub(crate) fn components<'a>(graph: &Graph<'a>) -> Graph<'a> {
    let mut components: Graph<'a> = BTreeMap::new();
    let component = |module: &Module<'a>| module.first().map(|first| vec![*first]);
    for (module, targets) in graph {
        let Some(from) = component(module) else { continue };
        let targets = targets.iter().filter_map(component).filter(|target| *target != from).collect::<Vec<_>>();
        components.entry(from).or_default().extend(targets);
    }
    components
}

/// The modules of a circle, the first of them again at the end, if there is one.
pub(crate) fn circle(graph: &Graph<'_>) -> Option<String> {
    let mut done = BTreeSet::new();
    for start in graph.keys() {
        let mut way = vec![(start, graph[start].iter())];
        while let Some((module, targets)) = way.last_mut() {
            let Some(next) = targets.next() else {
                done.insert(*module);
                way.pop();
                continue;
            };
            if let Some(begin) = way.iter().position(|(module, _)| *module == next) {
                let circle = way[begin..].iter().map(|(module, _)| *module).chain([next]);
                return Some(circle.map(|module| module.join("::")).collect::<Vec<_>>().join(" -> "));
            }
            if !done.contains(next)
                && let Some(targets) = graph.get(next)
            {
                way.push((next, targets.iter()));
            }
        }
    }
    None
}

fn module<'a>(folder: &str, file: &'a str) -> Option<Module<'a>> {
    let below = file.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(".rs")?;
    let mut names: Module<'a> = below.split('/').collect();
    names.pop_if(|last| *last == "mod");
    Some(names)
}

/// What a path names, from the folder on, if it is within the folder.
fn absolute<'a>(module: &Module<'a>, root: &[&str], names: &[&'a str]) -> Option<Module<'a>> {
    match names {
        // A visibility.
        names if names == root => None,
        ["crate", ..] if names.starts_with(root) => Some(names[root.len()..].to_vec()),
        ["self" | "super", _, ..] => {
            let mut base = module.clone();
            let mut rest = names;
            while let [first @ ("self" | "super"), after @ ..] = rest {
                if *first == "super" {
                    base.pop()?;
                }
                rest = after;
            }
            base.extend(rest);
            Some(base)
        }
        [_, _, ..] => Some(module.iter().chain(names).copied().collect()),
        // A variable, a type, a child that is declared.
        _ => None,
    }
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let file = |name: &str, text: &str| (format!("src/a/{name}.rs"), text.to_owned());
    let found = |files: &[(String, String)]| circle(&graph("src/a", &["crate", "a"], files));
    let root = file("mod", "mod b; mod c; pub use self::{b::B, c::C};");
    for (b, c) in [
        ("use super::c::C;", "use super::b::B;"),
        ("use crate::a::c::C;", "fn f() -> super::b::B {}"),
        ("use super::{c::{C, D}};", "use crate::{a::b::B, x};"),
    ] {
        assert_eq!(found(&[root.clone(), file("b", b), file("c", c)]).as_deref(), Some("b -> c -> b"), "{b} {c}");
        assert_eq!(found(&[root.clone(), file("b", b), file("c", "pub(in crate::a) struct C;")]), None);
    }
    // By way of what the folder exports.
    let through = [root, file("b", "use super::C;"), file("c", "")];
    assert_eq!(found(&through).as_deref(), Some(" -> b -> "));
    // A child that names its parent's folder, and two folders that name each other through different files.
    let child = [file("b/mod", "mod d; use self::d::D;"), file("b/d", "use super::B;")];
    assert_eq!(found(&child).as_deref(), Some("b -> b::d -> b"));
    let folders =
        [file("b/d", "use crate::a::c::e;"), file("b/f", ""), file("c/e", ""), file("c/g", "use crate::a::b::f;")];
    let graph = graph("src/a", &["crate", "a"], &folders);
    assert_eq!(circle(&graph), None);
    assert_eq!(circle(&components(&graph)).as_deref(), Some("b -> c -> b"));
}
