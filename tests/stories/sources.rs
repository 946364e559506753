//! The sources of the workspace, read as tokens, for the stories about the structure of the code.
//!
//! Code under `#[cfg(test)]` is left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use tellonce_stack::template::TemplateAlarm;

/// The names from the root of a crate to a module. The root has none.
pub(crate) type ModulePath = Vec<String>;

/// The modules of one crate: a library, a program or a test.
pub(crate) struct CrateSource {
    /// The crate's root file, as `shared/src/lib.rs`.
    pub(crate) root: String,
    pub(crate) modules: BTreeMap<ModulePath, Module>,
}

/// The code of one module, without its child modules.
#[derive(Default)]
pub(crate) struct Module {
    /// Paths in the code, as written. Re-exports are in `imports` only.
    pub(crate) paths: Vec<Vec<String>>,
    /// The names that `use` brings in, each with its path.
    pub(crate) imports: BTreeMap<String, Vec<String>>,
    /// The names in `imports` that other modules see.
    pub(crate) reexports: BTreeSet<String>,
    /// Every name in the code outside `use`.
    pub(crate) names: BTreeSet<String>,
    /// Functions with a body.
    pub(crate) functions: Vec<FunctionSource>,
}

/// A function with a body.
pub(crate) struct FunctionSource {
    pub(crate) name: String,
    /// Lines from `fn` to the closing brace.
    pub(crate) lines: usize,
}

pub(crate) fn workspace_root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The alarms that the template makes for the client of the stories.
pub(crate) fn template_alarms() -> Vec<TemplateAlarm> {
    let parameters = BTreeMap::from([("Client".to_owned(), "story".to_owned())]);
    TemplateAlarm::read_all(&workspace_root().join("template.yaml"), &parameters).unwrap()
}

/// The folders of all packages, from `members` in the workspace's `Cargo.toml`.
pub(crate) fn package_folders() -> Vec<String> {
    let manifest = fs::read_to_string(workspace_root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    let mut folders = Vec::new();
    for member in members.iter().map(|member| member.as_str().unwrap()) {
        match member.strip_suffix("/*") {
            None => folders.push(member.to_owned()),
            Some(parent) => {
                let entries = fs::read_dir(workspace_root().join(parent)).unwrap();
                let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
                folders.extend(names.map(|name| format!("{parent}/{name}")));
            }
        }
    }
    folders.sort();
    folders
}

/// All Rust files below a folder.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            files.push(path);
        }
    }
    files
}

/// Path and text of every Rust file of the workspace.
pub(crate) fn source_texts() -> BTreeMap<String, String> {
    let files = package_folders().into_iter().flat_map(|folder| rust_files(&workspace_root().join(folder)));
    let texts = files.map(|file| {
        let path = file.strip_prefix(workspace_root()).unwrap().display().to_string();
        (path, fs::read_to_string(file).unwrap())
    });
    texts.collect()
}

/// The code of a file, without comments and tests.
pub(crate) fn code_without_tests(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let tests = test_item_lines(text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    let code = (1..).zip(text.lines()).filter(|(line, _)| !tests.iter().any(|test| test.contains(line)));
    code.map(|(_, line)| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The lines of each item under `#[cfg(test)]`, from the attribute to the item's end.
pub(crate) fn test_item_lines(code: TokenStream) -> Vec<RangeInclusive<usize>> {
    let tokens: Vec<TokenTree> = code.into_iter().collect();
    let mut lines = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let rest = &tokens[at..];
        at += if is_test_attribute(rest) {
            let length = 2 + item_length(&rest[2..]);
            lines.push(rest[0].span().start().line..=rest[length - 1].span().end().line);
            length
        } else {
            if let TokenTree::Group(group) = &rest[0] {
                lines.extend(test_item_lines(group.stream()));
            }
            1
        };
    }
    lines
}

/// Every crate of the workspace.
pub(crate) fn read_crates() -> Vec<CrateSource> {
    let mut crates = Vec::new();
    for folder in package_folders() {
        let mut roots = vec![format!("{folder}/src/lib.rs"), format!("{folder}/src/main.rs")];
        roots.push(format!("{folder}/stories/main.rs"));
        if let Ok(tests) = fs::read_dir(workspace_root().join(&folder).join("tests")) {
            let names = tests.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            roots.extend(names.map(|name| format!("{folder}/tests/{name}")));
        }
        roots.retain(|root| {
            let file = workspace_root().join(root);
            file.is_file() && file.extension().is_some_and(|kind| kind == "rs")
        });
        assert!(!roots.is_empty(), "{folder} has no crate");
        crates.extend(roots.into_iter().map(CrateSource::read));
    }
    crates
}

impl CrateSource {
    pub(crate) fn read(root: String) -> Self {
        let file = workspace_root().join(&root);
        let mut source = Self { root, modules: BTreeMap::new() };
        source.add_file(&file, file.parent().unwrap(), Vec::new());
        source
    }

    /// Adds the module in `file` and its children, whose files are in `folder`.
    fn add_file(&mut self, file: &Path, folder: &Path, path: ModulePath) {
        let text = fs::read_to_string(file).unwrap();
        let code = text.parse().unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        self.add_module(code, folder, path);
    }

    fn add_module(&mut self, code: TokenStream, folder: &Path, path: ModulePath) {
        let mut module = Module::default();
        for (name, code) in module.read_tokens(code) {
            let mut child = path.clone();
            child.push(name.clone());
            let child_folder = folder.join(&name);
            match code {
                Some(code) => self.add_module(code, &child_folder, child),
                None if child_folder.join("mod.rs").is_file() => {
                    self.add_file(&child_folder.join("mod.rs"), &child_folder, child);
                }
                None => self.add_file(&child_folder.with_extension("rs"), &child_folder, child),
            }
        }
        self.modules.insert(path, module);
    }

    /// The module that defines what a path in the code of `module` stands for. `None` is another
    /// crate.
    pub(crate) fn resolve_path(&self, module: &ModulePath, path: &[String]) -> Option<ModulePath> {
        let mut found = module.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => found.clear(),
            "self" => {}
            "super" => drop(found.pop()?),
            child if self.is_module(&found, child) => found.push(child.to_owned()),
            _ => return None,
        }
        rest = &rest[1..];
        while let Some((name, after)) = rest.split_first() {
            if name == "super" {
                found.pop()?;
            } else if self.is_module(&found, name) {
                found.push(name.clone());
            } else if let Some(target) = self.modules[&found].imports.get(name) {
                return self.resolve_path(&found, &[target, after].concat());
            } else {
                break;
            }
            rest = after;
        }
        Some(found)
    }

    fn is_module(&self, parent: &ModulePath, name: &str) -> bool {
        let mut path = parent.clone();
        path.push(name.to_owned());
        self.modules.contains_key(&path)
    }
}

impl Module {
    /// Reads code into this module. Returns its child modules, with their code if it is here.
    fn read_tokens(&mut self, code: TokenStream) -> Vec<(String, Option<TokenStream>)> {
        let tokens: Vec<TokenTree> = code.into_iter().collect();
        let mut children = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let rest = &tokens[at..];
            at += match rest {
                _ if is_test_attribute(rest) => 2 + item_length(&rest[2..]),
                // A visibility uses nothing.
                [word, TokenTree::Group(scope), ..] if is_word(word, &["pub"]) && begins_with_in(scope.stream()) => 2,
                [TokenTree::Group(group), ..] => {
                    children.extend(self.read_tokens(group.stream()));
                    1
                }
                [TokenTree::Ident(word), TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Group(_), ..]
                    if word == "use" && !is_punct(rest, 1, '<') =>
                {
                    let length = rest.iter().position(|token| is(token, ';')).unwrap();
                    let is_public = at > 0 && !is(&tokens[at - 1], ';') && before_is_pub(&tokens[..at]);
                    self.read_use(&rest[1..length], &[], is_public);
                    length
                }
                [TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Punct(end), ..]
                    if word == "mod" && end.as_char() == ';' =>
                {
                    children.push((name.to_string(), None));
                    3
                }
                [TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Group(body), ..] if word == "mod" => {
                    children.push((name.to_string(), Some(body.stream())));
                    3
                }
                [TokenTree::Ident(word), TokenTree::Ident(name), ..] if word == "fn" => {
                    self.names.insert(name.to_string());
                    self.functions.extend(read_function(rest));
                    2
                }
                [TokenTree::Ident(_), ..] => {
                    let path = read_path(rest);
                    self.names.insert(path[0].clone());
                    let length = path.len() * 3 - 2;
                    if path.len() > 1 {
                        self.paths.push(path);
                    }
                    length
                }
                _ => 1,
            };
        }
        children
    }

    /// Reads the tree of a `use` below a path.
    fn read_use(&mut self, tree: &[TokenTree], above: &[String], is_public: bool) {
        let mut path = above.to_vec();
        for token in tree {
            match token {
                TokenTree::Ident(word) if word == "as" => break,
                TokenTree::Ident(name) if name == "self" && !path.is_empty() => {}
                TokenTree::Ident(name) => path.push(name.to_string()),
                TokenTree::Punct(star) if star.as_char() == '*' => return self.paths.push(path),
                TokenTree::Group(list) => {
                    let list: Vec<TokenTree> = list.stream().into_iter().collect();
                    for tree in list.split(|token| is(token, ',')) {
                        self.read_use(tree, &path, is_public);
                    }
                    return;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
        if let (Some(last), false) = (tree.last(), path.is_empty()) {
            let name = match last {
                TokenTree::Ident(name) if name != "self" => name.to_string(),
                _ => path[path.len() - 1].clone(),
            };
            if is_public {
                self.reexports.insert(name.clone());
            } else {
                self.paths.push(path.clone());
            }
            self.imports.insert(name, path);
        }
    }
}

fn is(token: &TokenTree, c: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == c)
}

fn is_punct(tokens: &[TokenTree], at: usize, c: char) -> bool {
    tokens.get(at).is_some_and(|token| is(token, c))
}

fn is_word(token: &TokenTree, words: &[&str]) -> bool {
    matches!(token, TokenTree::Ident(word) if words.iter().any(|wanted| word == wanted))
}

/// Whether the tokens end in `pub` or `pub(…)`.
fn before_is_pub(tokens: &[TokenTree]) -> bool {
    match tokens {
        [.., last] if is_word(last, &["pub"]) => true,
        [.., word, TokenTree::Group(scope)] => scope.delimiter() == Delimiter::Parenthesis && is_word(word, &["pub"]),
        _ => false,
    }
}

fn begins_with_in(code: TokenStream) -> bool {
    code.into_iter().next().is_some_and(|token| is_word(&token, &["in"]))
}

/// The names of a path, `a::b::c`, at the start of the tokens.
fn read_path(tokens: &[TokenTree]) -> Vec<String> {
    let mut path = Vec::new();
    let mut rest = tokens;
    while let [TokenTree::Ident(name), after @ ..] = rest {
        path.push(name.to_string());
        rest = match after {
            [first, second, after @ ..] if is(first, ':') && is(second, ':') => after,
            _ => break,
        };
    }
    path
}

/// Whether the tokens start with `#[cfg(test)]`.
fn is_test_attribute(tokens: &[TokenTree]) -> bool {
    match tokens {
        [hash, TokenTree::Group(attribute), ..] => {
            is(hash, '#') && attribute.stream().to_string().replace(' ', "") == "cfg(test)"
        }
        _ => false,
    }
}

/// The number of tokens of the item or statement at the start, its further attributes included.
fn item_length(tokens: &[TokenTree]) -> usize {
    let ends_in_semicolon = tokens.iter().find_map(|token| match token {
        word if is_word(word, &["use", "static", "type", "let"]) => Some(true),
        word if is_word(word, &["fn", "mod", "impl", "struct", "enum", "trait", "macro_rules"]) => Some(false),
        _ => None,
    });
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(body) => body.delimiter() == Delimiter::Brace && ends_in_semicolon == Some(false),
        token => is(token, ';'),
    };
    tokens.iter().position(ends).map_or(tokens.len(), |end| end + 1)
}

/// The function at the start of the tokens, if it has a body.
fn read_function(tokens: &[TokenTree]) -> Option<FunctionSource> {
    let body = tokens.iter().take_while(|token| !is(token, ';')).find_map(|token| match token {
        TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => Some(body),
        _ => None,
    })?;
    let lines = body.span_close().end().line - tokens[0].span().start().line + 1;
    Some(FunctionSource { name: tokens[1].to_string(), lines })
}
