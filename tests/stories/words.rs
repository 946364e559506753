//! The words of the project: nothing that a person reads uses a banned word of docs/style.md.
//!
//! The test checks Markdown files, error texts, log lines, the output and help of the command line,
//! the findings of `check`, the console's page and the names of tests. The lists of words are
//! fenced blocks in docs/style.md.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    iter::Peekable,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    vec::IntoIter,
};

use crate::sources::{source_texts, test_item_lines, workspace_root};

/// The doc comments in this folder are the help of the command line.
const CLI_SOURCES: &str = "cli/src/";
/// The literals in these folders are output of the command line and of the console.
const OUTPUT_SOURCES: [&str; 3] = [CLI_SOURCES, "cli/check/src/", "local/console/src/"];
const CONSOLE_PAGE: &str = "local/console/src/page";
const LOG_MACROS: [&str; 5] = ["error!", "warn!", "info!", "debug!", "trace!"];
/// Folders at any depth that hold no files of the project.
const SKIPPED_FOLDERS: [&str; 4] = [".git", "target", ".aws-sam", "node_modules"];

/// The lines of a block of docs/style.md that is fenced as `text <name>`.
fn style_list(name: &str) -> Vec<String> {
    let style = fs::read_to_string(workspace_root().join("docs/style.md")).unwrap();
    let (_, rest) = style.split_once(&format!("```text {name}\n")).unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    block.lines().map(str::to_owned).collect()
}

fn collect_documents(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !SKIPPED_FOLDERS.contains(&name) {
                collect_documents(&path, files);
            }
        } else if path.extension().is_some_and(|kind| kind == "md") {
            files.push(path);
        }
    }
}

/// Characters with their line numbers, counted from 1.
type Characters = Peekable<IntoIter<(char, usize)>>;

fn numbered_characters(text: &str) -> Characters {
    let mut line = 1;
    let numbered = text.chars().map(|c| {
        let at = line;
        line += usize::from(c == '\n');
        (c, at)
    });
    numbered.collect::<Vec<_>>().into_iter().peekable()
}

fn next_is(characters: &mut Characters, expected: char) -> bool {
    characters.peek().is_some_and(|(c, _)| *c == expected)
}

/// A text in lower case, with single spaces and the line of each byte.
#[derive(Default)]
struct Passage {
    text: String,
    lines: Vec<usize>,
}

impl Passage {
    fn push(&mut self, c: char, line: usize) {
        let c = if c.is_whitespace() { ' ' } else { c.to_ascii_lowercase() };
        if c != ' ' || !self.text.ends_with(' ') {
            self.text.push(c);
            self.lines.resize(self.text.len(), line);
        }
    }

    fn from_text(text: &str, line: usize) -> Self {
        let mut passage = Self::default();
        text.chars().for_each(|c| passage.push(c, line));
        passage
    }

    /// Hides allowed phrases. Each keeps its length, so that the lines stay correct.
    fn hide(&mut self, allowed: &[String]) {
        for phrase in allowed {
            self.text = self.text.replace(phrase, &"#".repeat(phrase.len()));
        }
    }

    /// The lines that contain a phrase as whole words.
    fn lines_with<'a>(&'a self, phrase: &'a str) -> impl Iterator<Item = usize> + 'a {
        let in_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        self.text.match_indices(phrase).filter_map(move |(at, _)| {
            let (before, after) = (&self.text[..at], &self.text[at + phrase.len()..]);
            let whole = !in_word(before.chars().next_back()) && !in_word(after.chars().next());
            whole.then(|| self.lines[at])
        })
    }
}

/// Reads a string up to its closing quote. An escaped character counts as itself, a line break as a
/// space.
fn read_string(characters: &mut Characters, quote: char) -> Passage {
    let mut passage = Passage::default();
    while let Some((c, line)) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some(('n' | 't' | 'r', line)) => passage.push(' ', line),
                Some((c, line)) => passage.push(c, line),
                None => break,
            },
            c if c == quote => break,
            c => passage.push(c, line),
        }
    }
    passage
}

/// Reads the rest of a raw string such as `r#"…"#`.
fn read_raw_string(characters: &mut Characters, hashes: usize) -> Passage {
    let mut passage = Passage::default();
    while let Some((c, line)) = characters.next() {
        if c == '"' {
            let mut found = 0;
            while found < hashes && next_is(characters, '#') {
                characters.next();
                found += 1;
            }
            if found == hashes {
                break;
            }
        }
        passage.push(c, line);
    }
    passage
}

fn read_line(characters: &mut Characters) -> Passage {
    let mut passage = Passage::default();
    while let Some((c, line)) = characters.next_if(|(c, _)| *c != '\n') {
        passage.push(c, line);
    }
    passage
}

fn skip_block_comment(characters: &mut Characters) {
    while let Some((c, _)) = characters.next() {
        if c == '*' && next_is(characters, '/') {
            characters.next();
            return;
        }
    }
}

/// What a pair of parentheses holds.
#[derive(Clone, Copy, PartialEq)]
enum Context {
    Code,
    /// The arguments of `#[error(…)]` or of a log macro.
    Message,
}

/// Finds the error texts, log lines and test names of a Rust file.
#[derive(Default)]
struct RustReader {
    /// The code so far, without comments and contents of strings.
    code: String,
    /// One entry for each open parenthesis.
    contexts: Vec<Context>,
    /// An attribute announced a test function.
    test_follows: bool,
    /// The lines of the items under `#[cfg(test)]`.
    test_items: Vec<RangeInclusive<usize>>,
    has_help: bool,
    has_output: bool,
    passages: Vec<Passage>,
}

impl RustReader {
    fn read(file: &str, source: &str) -> Vec<Passage> {
        let is_tests = file.contains("/tests/") || file.ends_with("/tests.rs");
        let has_output = OUTPUT_SOURCES.iter().any(|folder| file.starts_with(folder)) && !is_tests;
        let test_items = test_item_lines(source.parse().unwrap_or_else(|e| panic!("{file}: {e}")));
        let has_help = file.starts_with(CLI_SOURCES);
        let mut reader = Self { test_items, has_help, has_output, ..Self::default() };
        let mut characters = numbered_characters(source);
        while let Some((c, line)) = characters.next() {
            match c {
                '/' if next_is(&mut characters, '/') => {
                    let comment = read_line(&mut characters);
                    if comment.text.starts_with("//") && reader.has_help && !reader.is_in_tests(line) {
                        reader.passages.push(comment);
                    }
                }
                '/' if next_is(&mut characters, '*') => skip_block_comment(&mut characters),
                '"' => {
                    let literal = read_string(&mut characters, '"');
                    reader.add_literal(literal, line);
                }
                'r' if !reader.in_identifier() => reader.read_after_r(&mut characters, line),
                '\'' => skip_character(&mut characters),
                c => reader.add_code(c, line),
            }
        }
        reader.passages
    }

    fn in_identifier(&self) -> bool {
        let code = self.code.strip_suffix('b').unwrap_or(&self.code);
        code.ends_with(|c: char| c.is_alphanumeric() || c == '_')
    }

    /// Reads a raw string, or only the letter if none follows.
    fn read_after_r(&mut self, characters: &mut Characters, line: usize) {
        self.code.push('r');
        let mut hashes = 0;
        while next_is(characters, '#') {
            characters.next();
            hashes += 1;
        }
        if next_is(characters, '"') {
            characters.next();
            let literal = read_raw_string(characters, hashes);
            self.add_literal(literal, line);
        }
    }

    fn add_code(&mut self, c: char, line: usize) {
        match c {
            '(' => {
                self.add_test_name(line);
                let is_message = self.code.ends_with("#[error") || LOG_MACROS.iter().any(|it| self.code.ends_with(it));
                let outer = self.contexts.last().copied().unwrap_or(Context::Code);
                self.contexts.push(if is_message { Context::Message } else { outer });
            }
            ')' => {
                self.contexts.pop();
            }
            _ => {}
        }
        self.code.push(if c.is_whitespace() { ' ' } else { c });
        self.test_follows |= self.code.ends_with("#[test]") || self.code.ends_with("#[tokio::test");
    }

    fn add_test_name(&mut self, line: usize) {
        let mut words = self.code.rsplit(' ');
        if let (Some(name), Some("fn")) = (words.next(), words.next())
            && self.test_follows
        {
            self.passages.push(Passage::from_text(&name.replace('_', " "), line));
            self.test_follows = false;
        }
    }

    fn add_literal(&mut self, literal: Passage, line: usize) {
        self.code.push_str("\"\"");
        if self.contexts.last() == Some(&Context::Message) || (self.has_output && !self.is_in_tests(line)) {
            self.passages.push(literal);
        }
    }

    fn is_in_tests(&self, line: usize) -> bool {
        self.test_items.iter().any(|lines| lines.contains(&line))
    }
}

/// Skips a character literal. A lifetime has no closing quote, and only its first letter is
/// skipped.
fn skip_character(characters: &mut Characters) {
    if let Some(('\\', _)) = characters.next() {
        characters.next();
        while characters.next_if(|(c, _)| *c != '\'' && *c != '\n').is_some() {}
    }
    characters.next_if(|(c, _)| *c == '\'');
}

/// What people read of a file of the page: its HTML, or the strings of its script.
fn page_passages(file: &str, text: &str) -> Vec<Passage> {
    let mut passages = Vec::new();
    match Path::new(file).extension().and_then(|extension| extension.to_str()) {
        Some("html") => passages.push(page_text(text, 1)),
        Some("js") => read_script(&mut numbered_characters(text), &mut passages),
        _ => {}
    }
    passages
}

fn page_text(html: &str, line: usize) -> Passage {
    let mut passage = Passage::default();
    for (c, at) in numbered_characters(html) {
        passage.push(c, line + at - 1);
    }
    passage
}

/// Collects the strings of a script, up to the brace that ends a `${…}`.
fn read_script(characters: &mut Characters, passages: &mut Vec<Passage>) {
    let mut depth = 0;
    while let Some((c, _)) = characters.next() {
        match c {
            '/' if next_is(characters, '/') => {
                read_line(characters);
            }
            '/' if next_is(characters, '*') => skip_block_comment(characters),
            '"' | '\'' => passages.push(read_string(characters, c)),
            '`' => read_template(characters, passages),
            '{' => depth += 1,
            '}' if depth == 0 => return,
            '}' => depth -= 1,
            _ => {}
        }
    }
}

fn read_template(characters: &mut Characters, passages: &mut Vec<Passage>) {
    let mut passage = Passage::default();
    while let Some((c, line)) = characters.next() {
        match c {
            '`' => break,
            '$' if next_is(characters, '{') => {
                characters.next();
                passage.push('…', line);
                read_script(characters, passages);
            }
            c => passage.push(c, line),
        }
    }
    passages.push(passage);
}

/// Every passage that a person reads, with its file.
fn all_passages() -> Vec<(String, Passage)> {
    let root = workspace_root();
    let exempt = style_list("exempt");
    let read = |path: &Path| {
        let file = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        (file, fs::read_to_string(path).unwrap())
    };
    let mut passages = Vec::new();
    let mut documents = Vec::new();
    collect_documents(&root, &mut documents);
    for (file, text) in documents.iter().map(|path| read(path)) {
        if !exempt.contains(&file) {
            passages.push((file, page_text(&text, 1)));
        }
    }
    for (file, text) in source_texts() {
        passages.extend(RustReader::read(&file, &text).into_iter().map(|passage| (file.clone(), passage)));
    }
    for entry in fs::read_dir(root.join(CONSOLE_PAGE)).unwrap() {
        let (file, text) = read(&entry.unwrap().path());
        passages.extend(page_passages(&file, &text).into_iter().map(|passage| (file.clone(), passage)));
    }
    passages
}

#[test]
fn no_text_uses_a_banned_word() {
    let allowed = style_list("allowed");
    let banned = style_list("banned");
    let banned: Vec<(&str, &str)> = banned.iter().map(|line| line.split_once(" = ").unwrap()).collect();
    assert!(banned.len() > 10 && !allowed.is_empty(), "docs/style.md lists too few words");
    let mut hits = Vec::new();
    for (file, mut passage) in all_passages() {
        passage.hide(&allowed);
        for (word, replacement) in &banned {
            let lines = passage.lines_with(word);
            hits.extend(lines.map(|line| (file.clone(), line, format!("`{word}`, use: {replacement}"))));
        }
    }
    hits.sort();
    let mut report = String::new();
    let mut per_folder: BTreeMap<&str, usize> = BTreeMap::new();
    for (file, line, what) in &hits {
        writeln!(report, "{file}:{line}: {what}").unwrap();
        *per_folder.entry(file.split_once('/').map_or(".", |(folder, _)| folder)).or_default() += 1;
    }
    assert!(hits.is_empty(), "{report}{} banned words: {per_folder:?}", hits.len());
}

#[test]
fn the_reader_finds_errors_log_lines_and_test_names_and_nothing_else() {
    let source = r##"
        // comment
        /// doc comment
        #[error("first {}, {0}", name.map(|it| format!("second")).unwrap_or('"'))]
        fn code<'a>(text: &'a str) { tracing::warn!(field = %text, "third \"quoted\" \
            and more"); call("not this"); println!(r#"nor " this"#); }
        #[tokio::test(flavor = "multi_thread")]
        async fn a_test_name() {}
    "##;
    let texts = |file: &str| -> Vec<String> {
        RustReader::read(file, source).into_iter().map(|passage| passage.text).collect()
    };
    assert_eq!(texts("shared/src/lib.rs"), ["first {}, {0}", "second", "third \"quoted\" and more", "a test name"],);
    let cli = texts("cli/src/main.rs");
    assert!(cli.contains(&"nor \" this".to_owned()) && cli.contains(&"// doc comment".to_owned()), "{cli:?}");
    let source = r#"
        #[cfg(test)]
        const SKIPPED: [&str; 1] = ["constant"];
        fn first() { call("after a constant"); }
        #[cfg(test)]
        mod skipped {
            fn inner() { call("module"); }
        }
        fn second() {
            call("after a module");
            #[cfg(test)]
            call("statement");
        }
    "#;
    let console: Vec<String> =
        RustReader::read("local/console/src/lib.rs", source).into_iter().map(|passage| passage.text).collect();
    assert_eq!(console, ["after a constant", "after a module"]);
    let script = "a = `two ${b('three')} four`; // no\n";
    let files = [("page.html", "<p>One</p>"), ("page.js", script), ("style.css", "told")];
    let page = files.into_iter().flat_map(|(file, text)| page_passages(file, text));
    assert_eq!(page.map(|passage| passage.text).collect::<Vec<_>>(), ["<p>one</p>", "three", "two … four"]);
    let passage = Passage::from_text("News is told\nonce, newspapers are not", 7);
    assert_eq!(passage.lines_with("news").collect::<Vec<_>>(), [7]);
}
