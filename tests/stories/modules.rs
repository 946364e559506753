//! Modules use each other in one direction, in every crate, as docs/architecture.md describes.
//!
//! Each folder is checked by itself. Its nodes are its child modules, each with all that is below
//! it, and `mod.rs` (in a crate's root, `lib.rs` or `main.rs`). Only re-exports may point from
//! there to a child that uses it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
};

use crate::sources::{CrateSource, ModulePath, read_crates, workspace_root};

/// Which nodes of a folder use which others.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The node of a folder's own file.
const FOLDER_FILE: &str = "mod.rs";

/// The folders of kinds: `mod.rs` has the enum and the type of its facts, and the file of each kind
/// fills both in. They use each other on purpose, so that a new kind is one file.
const KIND_FOLDERS: [(&str, &str); 7] = [
    ("functions/conversation-sync/src/lib.rs", "crm"),
    ("functions/conversation-sync/src/lib.rs", "target"),
    ("shared/src/lib.rs", "client_config::calendars"),
    ("shared/src/lib.rs", "client_config::crms"),
    ("shared/src/lib.rs", "client_config::forms"),
    ("shared/src/lib.rs", "client_config::stores"),
    ("shared/src/lib.rs", "client_config::targets"),
];

/// The arrows within each folder of a crate.
fn arrows_of(source: &CrateSource) -> BTreeMap<ModulePath, Arrows> {
    let mut arrows: BTreeMap<ModulePath, Arrows> = BTreeMap::new();
    for (path, module) in &source.modules {
        let mut targets: Vec<ModulePath> =
            module.paths.iter().filter_map(|used| source.resolve_path(path, used)).collect();
        for name in &module.reexports {
            let target = source.resolve_path(path, &module.imports[name]);
            targets.extend(target.filter(|target| !target.starts_with(path) || module.names.contains(name)));
        }
        if let Some((_, folder)) = path.split_last() {
            arrows.entry(folder.to_vec()).or_default().entry(node_of(path, folder.len())).or_default();
        }
        for target in targets.iter().filter(|target| *target != path) {
            let depth = path.iter().zip(target).take_while(|(from, to)| from == to).count();
            let nodes = arrows.entry(path[..depth].to_vec()).or_default();
            nodes.entry(node_of(path, depth)).or_default().insert(node_of(target, depth));
        }
    }
    arrows
}

/// The node of a module in the folder that is `depth` names from the root.
fn node_of(module: &ModulePath, depth: usize) -> String {
    module.get(depth).map_or_else(|| FOLDER_FILE.to_owned(), Clone::clone)
}

/// The nodes that reach themselves.
fn nodes_in_circles(arrows: &Arrows) -> Vec<&str> {
    let reaches_itself = |node: &String| {
        let mut reached = BTreeSet::new();
        let mut open = vec![node];
        while let Some(next) = open.pop() {
            let fresh = arrows.get(next).into_iter().flatten().filter(|used| reached.insert(*used));
            open.extend(fresh);
        }
        reached.contains(node)
    };
    arrows.keys().filter(|node| reaches_itself(node)).map(String::as_str).collect()
}

#[test]
fn no_two_modules_use_each_other_in_a_circle() {
    let mut report = String::new();
    for source in read_crates() {
        for (folder, arrows) in arrows_of(&source) {
            let folder = folder.join("::");
            if KIND_FOLDERS.contains(&(source.root.as_str(), folder.as_str())) {
                continue;
            }
            for node in nodes_in_circles(&arrows) {
                writeln!(report, "{} {folder}: {node} uses {:?}", source.root, arrows[node]).unwrap();
            }
        }
    }
    assert!(report.is_empty(), "modules use each other in circles:\n{report}");
}

#[test]
fn modules_of_shared_use_only_the_modules_that_the_architecture_lists() {
    let plan = fs::read_to_string(workspace_root().join("docs/architecture.md")).unwrap();
    let listed: Arrows = plan
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | uses: "))
        .map(|(module, uses)| {
            let uses = uses.split(" |").next().unwrap_or_default();
            let uses = uses.split(',').map(|name| name.trim().trim_matches('`').to_owned());
            (module.to_owned(), uses.filter(|name| !name.is_empty() && name != "nothing").collect())
        })
        .collect();
    let shared = CrateSource::read("shared/src/lib.rs".to_owned());
    let mut found = arrows_of(&shared).remove(&Vec::new()).unwrap();
    found.remove(FOLDER_FILE);
    assert_eq!(found, listed, "docs/architecture.md lists which module of `shared` uses which");
}
