//! The plan of the house as its sources draw it: a room is a file of `src/`, an arrow leads from a room to one that it uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Crates of their own below `src/`, and the parts of the house that they are.
pub const CRATES: [(&str, &str); 3] = [("mps_domain", "domain"), ("mps_bills", "bills"), ("mps_notices", "notices")];

/// The top of the work tree.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the work tree")
}

/// All files below a folder with one of these endings, by their paths from the top, in order.
pub fn files(folder: &str, endings: &[&str]) -> Vec<String> {
    let top = top();
    let mut found = Vec::new();
    let mut folders = vec![top.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            let name = entry.file_name().into_string().expect("names are text");
            if path.is_dir() {
                if !["target", "node_modules"].contains(&name.as_str()) && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path.strip_prefix(&top).expect("below it").to_str().expect("text").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// What a file of the work tree holds.
pub fn text(file: &str) -> String {
    fs::read_to_string(top().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// A function, where it begins, and how many lines it has.
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
}

/// A file of `src/`.
pub struct Room {
    pub file: String,
    /// `crate::ledger::cards`, and for a crate of its own, below `src/domain` and so on, `mps_domain::money`.
    pub module: String,
    pub functions: Vec<Function>,
    /// Whether it declares an RPC, a trigger or what SQL parts call.
    pub is_called_from_sql: bool,
    /// Lines that say `unsafe` (blocks, functions, implementations).
    pub is_unsafe_at: Vec<usize>,
    /// Literals, with their lines.
    pub texts: Vec<(usize, String)>,
    /// Lines that no formatter may break: of raw literals, and of those that have several.
    pub verbatim: BTreeSet<usize>,
    /// The paths that it uses, whole.
    uses: BTreeSet<String>,
    children: BTreeSet<String>,
}

impl Room {
    pub fn read(file: &str) -> Room {
        let module = module_of(file);
        let mut room = Room {
            file: file.to_owned(),
            module,
            functions: Vec::new(),
            is_called_from_sql: false,
            is_unsafe_at: Vec::new(),
            texts: Vec::new(),
            verbatim: BTreeSet::new(),
            uses: BTreeSet::new(),
            children: BTreeSet::new(),
        };
        let syntax = syn::parse_file(&text(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        for item in &syntax.items {
            if let syn::Item::Mod(child) = item
                && child.content.is_none()
            {
                room.children.insert(child.ident.to_string());
            }
        }
        room.visit_file(&syntax);
        room
    }

    /// The floor of the house that it is in: `engine`, `kernel`, ...; `lib` is the map.
    pub fn part(&self) -> &str {
        let mut path = self.module.split("::");
        let first = path.next().unwrap_or_default();
        match CRATES.iter().find(|(name, _)| *name == first) {
            Some((_, part)) => part,
            None => path.next().unwrap_or("lib"),
        }
    }

    fn note(&mut self, path: Vec<String>) {
        let mut segments = path.into_iter().peekable();
        let mut base: Vec<String> = self.module.split("::").map(String::from).collect();
        let is_mod = self.file.ends_with("/mod.rs") || self.file.ends_with("/lib.rs");
        match segments.peek().map(String::as_str) {
            Some("crate") => {
                base.truncate(1);
                segments.next();
            }
            Some("self") => {
                segments.next();
            }
            Some("super") => {
                while segments.peek().is_some_and(|s| s == "super") {
                    base.pop();
                    segments.next();
                }
            }
            Some(first) if CRATES.iter().any(|(name, _)| *name == first) => base.clear(),
            Some(child) if is_mod && self.children.contains(child) => {}
            _ => return,
        }
        base.extend(segments);
        self.uses.insert(base.join("::"));
    }

    fn note_tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |ident: &syn::Ident| {
            let mut path = before.to_vec();
            path.push(ident.to_string());
            path
        };
        match tree {
            syn::UseTree::Path(path) => self.note_tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) if name.ident == "self" => self.note(before.to_vec()),
            syn::UseTree::Name(name) => self.note(with(&name.ident)),
            syn::UseTree::Rename(name) => self.note(with(&name.ident)),
            syn::UseTree::Glob(_) => self.note(before.to_vec()),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.note_tree(before, tree)),
        }
    }

    fn note_literal(&mut self, literal: &proc_macro2::Literal) {
        let (source, span) = (literal.to_string(), literal.span());
        let Ok(text) = syn::parse_str::<syn::LitStr>(&source) else { return };
        self.texts.push((span.start().line, text.value()));
        if source.starts_with('r') || span.start().line != span.end().line {
            self.verbatim.extend(span.start().line..=span.end().line);
        }
    }

    fn note_function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (first, last) = (signature.span().start().line, block.span().end().line);
        let name = signature.ident.to_string();
        self.functions.push(Function { name, line: first, lines: last - first + 1 });
    }
}

impl<'ast> Visit<'ast> for Room {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Mod(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        let is_test = |a: &syn::Attribute| a.path().is_ident("cfg") && quoted(a).contains("test");
        if !attributes.iter().any(is_test) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.is_called_from_sql |=
            item.attrs.iter().any(|a| a.path().is_ident("pg_extern") || a.path().is_ident("pg_trigger"));
        self.note_function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.note_function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.note_tree(&[], &item.tree);
    }

    /// `pub(super)` is no use of anything.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.note(path.segments.iter().map(|s| s.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.is_unsafe_at.extend(signature.unsafety.map(|word| word.span().start().line));
        visit::visit_signature(self, signature);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.is_unsafe_at.push(block.span().start().line);
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.is_unsafe_at.extend(item.unsafety.map(|word| word.span().start().line));
        visit::visit_item_impl(self, item);
    }

    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        self.note_literal(&literal.token());
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        // Literals stand in macros as well; what else does is not looked at.
        let mut streams = vec![call.tokens.clone()];
        while let Some(stream) = streams.pop() {
            for token in stream {
                match token {
                    proc_macro2::TokenTree::Group(group) => streams.push(group.stream()),
                    proc_macro2::TokenTree::Literal(literal) => self.note_literal(&literal),
                    _ => {}
                }
            }
        }
    }
}

fn quoted(attribute: &syn::Attribute) -> String {
    attribute.meta.require_list().map(|list| list.tokens.to_string()).unwrap_or_default()
}

fn module_of(file: &str) -> String {
    let path = file.strip_prefix("src/").unwrap_or(file);
    let own = CRATES.iter().find_map(|(name, part)| Some((*name, path.strip_prefix(part)?.strip_prefix('/')?)));
    let (root, path) = own.unwrap_or(("crate", path));
    let path = path.strip_suffix(".rs").expect("a source file");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if path == "lib" { root.to_owned() } else { format!("{root}::{}", path.replace('/', "::")) }
}

/// The files of `src/` but for tests and examples of the crates in it.
fn sources() -> Vec<String> {
    let is_room = |file: &String| !["/tests/", "/examples/"].iter().any(|folder| file.contains(folder));
    files("src", &[".rs"]).into_iter().filter(is_room).collect()
}

/// All rooms and the arrows between them.
pub struct House {
    pub rooms: BTreeMap<String, Room>,
    /// By modules: who uses whom.
    pub arrows: BTreeMap<String, BTreeSet<String>>,
}

impl House {
    pub fn read() -> House {
        let rooms: BTreeMap<String, Room> =
            sources().iter().map(|f| Room::read(f)).map(|r| (r.module.clone(), r)).collect();
        let room_of = |path: &str| {
            let mut path = path;
            while !rooms.contains_key(path) {
                path = path.rsplit_once("::")?.0;
            }
            Some(path.to_owned())
        };
        let arrows = rooms
            .values()
            .map(|room| {
                let to = room.uses.iter().filter_map(|path| room_of(path)).filter(|m| *m != room.module);
                // The map names the others, and its macros are everybody's.
                (room.module.clone(), to.filter(|m| m.contains("::")).collect())
            })
            .collect();
        House { rooms, arrows }
    }

    /// Rooms that use each other in a ring, each ring once, by its first room.
    pub fn circles(&self) -> Vec<Vec<String>> {
        let mut found: BTreeSet<Vec<String>> = BTreeSet::new();
        for start in self.rooms.keys() {
            let reached = self.reached_from(start);
            if reached.contains(start) {
                let ring = reached.into_iter().filter(|m| self.reached_from(m).contains(start));
                found.insert(ring.collect());
            }
        }
        found.into_iter().collect()
    }

    fn reached_from(&self, module: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&String> = self.arrows[module].iter().collect();
        while let Some(module) = next.pop() {
            if reached.insert(module.clone()) {
                next.extend(&self.arrows[module]);
            }
        }
        reached
    }

    /// How many floors the house has, where a room stands above all that it uses. Only where there is no circle.
    pub fn floors(&self) -> usize {
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        while known.len() < self.rooms.len() {
            for (module, uses) in &self.arrows {
                let below: Option<usize> =
                    uses.iter().try_fold(0, |most, m| known.get(m.as_str()).map(|n| most.max(*n)));
                if let Some(below) = below {
                    known.insert(module, below + 1);
                }
            }
        }
        known.into_values().max().unwrap_or(0)
    }
}
