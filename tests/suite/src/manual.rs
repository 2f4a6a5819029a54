//! Documents whose commands are run: reading them, and comparing what comes back.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A command of a document, or several.
#[derive(Default)]
pub struct Block {
    /// The document, by its path from the top.
    pub file: String,
    /// What it stands under.
    pub heading: String,
    pub line: usize,
    pub language: String,
    pub body: String,
    /// What the comment above it says (`<!-- test: ... -->`), each thing for itself.
    pub notes: Vec<String>,
    /// What must come back.
    pub answer: Option<String>,
}

impl Block {
    /// What follows the name of a note; `None` if there is none such.
    pub fn note(&self, name: &str) -> Option<&str> {
        self.notes.iter().find_map(|n| n.strip_prefix(name)).map(str::trim)
    }

    /// Where it stands.
    pub fn at(&self) -> String {
        format!("{}:{} ({})", self.file, self.line, self.heading)
    }
}

/// Where a document is, by its path from the top.
pub fn path_of_document(file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", file].iter().collect()
}

/// The text of a document.
pub fn document(file: &str) -> String {
    fs::read_to_string(path_of_document(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// Every document: what stands at the top, and everything in docs/.
pub fn documents() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![String::new(), "docs/".to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(path_of_document(&folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let name = folder.clone() + entry.file_name().to_str().expect("a name");
            if name.ends_with(".md") {
                found.push(name);
            } else if !folder.is_empty() && entry.file_type().expect("a kind").is_dir() {
                folders.push(name + "/");
            }
        }
    }
    found.sort();
    found
}

/// The blocks of a document, in their order; in a list they are indented.
pub fn commands_of(file: &str) -> Vec<Block> {
    let text = document(file);
    let (mut blocks, mut heading, mut notes) = (Vec::<Block>::new(), String::new(), Vec::new());
    let mut lines = text.lines().enumerate();
    // Where the block before ended, if nothing but empty lines came since: its answer may follow.
    let mut just_ended = false;
    while let Some((number, line)) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim_start();
        if let Some(said) = line.strip_prefix("<!-- test:").and_then(|l| l.strip_suffix("-->")) {
            notes = said.split(',').map(|n| n.trim().to_owned()).collect();
        } else if let Some(language) = line.strip_prefix("```") {
            let mut body = String::new();
            let mut closed = false;
            for (_, line) in lines.by_ref() {
                if line.trim_start() == "```" {
                    closed = true;
                    break;
                }
                body += line.get(indent..).unwrap_or_default();
                body.push('\n');
            }
            assert!(closed, "{file}:{}: a block that does not end", number + 1);
            if language == "text" {
                assert!(just_ended, "{file}:{}: an answer to no command", number + 1);
                blocks.last_mut().expect("there is one").answer = Some(body);
                just_ended = false;
                continue;
            }
            let notes = std::mem::take(&mut notes);
            blocks.push(Block {
                file: file.into(),
                heading: heading.clone(),
                line: number + 1,
                language: language.into(),
                body,
                notes,
                answer: None,
            });
            just_ended = true;
        } else if !line.is_empty() {
            just_ended = false;
            assert!(notes.is_empty(), "{file}:{}: a comment that is above no block", number + 1);
            assert!(!line.starts_with("~~~"), "{file}:{}", number + 1);
            if line.starts_with('#') {
                heading = line.trim_start_matches(['#', ' ']).into();
            }
        }
    }
    blocks
}

/// Runs a program with something on its standard input.
pub fn feed(command: &mut Command, input: &str) -> Output {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("reads its input");
    child.wait_with_output().expect("ends")
}

/// Whether an answer is the one of the document, which may leave out with `…` a part of a line, or lines.
pub fn matches(wanted: &str, found: &str) -> bool {
    let (wanted, found) = (rows(wanted), rows(found));
    fits(&wanted, &found, |w, f| w == "…" || line_fits(w, f), |w| w == "…")
}

fn line_fits(wanted: &str, found: &str) -> bool {
    let (wanted, found): (Vec<char>, Vec<char>) = (wanted.chars().collect(), found.chars().collect());
    fits(&wanted, &found, |w, f| w == f || *w == '…', |w| *w == '…')
}

/// Whether a pattern with parts that stand for any number of items covers all items.
fn fits<T>(wanted: &[T], found: &[T], same: impl Fn(&T, &T) -> bool, any: impl Fn(&T) -> bool) -> bool {
    // From the end: whether the rest of the pattern covers the rest of the items.
    let mut after = vec![false; found.len() + 1];
    after[found.len()] = true;
    for w in wanted.iter().rev() {
        let mut here = vec![false; found.len() + 1];
        for n in (0..=found.len()).rev() {
            let next = n < found.len();
            here[n] =
                if any(w) { after[n] || (next && here[n + 1]) } else { next && same(w, &found[n]) && after[n + 1] };
        }
        after = here;
    }
    after[0]
}

/// The lines of an answer without what depends on the widths of columns.
fn rows(text: &str) -> Vec<String> {
    text.lines()
        .filter(|l| !l.trim().is_empty() && !l.chars().all(|c| "-+ ".contains(c)))
        .map(|l| l.split('|').map(str::trim).collect::<Vec<_>>().join("|"))
        .collect()
}

#[test]
fn an_answer_is_compared_but_for_what_is_left_out() {
    let table = " a | b\n---+---\n 1 | x\n(1 row)\n";
    assert!(matches(table, "  a  | b\n-----+---\n  1  | x \n(1 row)\n\n"));
    assert!(matches(" a | b\n---\n … | x\n(… row)\n", table));
    assert!(matches("…\n(1 row)", table) && matches("…", table) && matches("…", ""));
    for wrong in [" a | b\n 2 | x\n(1 row)\n", " a | b\n 1 | x\n", "…\n(2 rows)", "a | b\n…\n1 | y\n…", ""] {
        assert!(!matches(wrong, table), "{wrong}");
    }
}
