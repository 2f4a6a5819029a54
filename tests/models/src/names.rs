//! What a name in a source of the library means: its modules with what they declare and `use`, so that a path leads to the function that
//! it names, over renamings and re-exports; and of what type a value is, as far as declarations and signatures say so.

use mps_tidy::{files, text};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use syn::visit::{self, Visit};

/// The parts of the library that are read. What else is named is of other crates, which take no locks of ours.
const PARTS: [&str; 4] = ["src/engine/", "src/kernel/", "src/ledger/", "src/features/"];

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Declared in the library, by its path.
    Ours(String),
    /// What there may be one of: an `Option` or a `Result`.
    Maybe(Box<Type>),
    /// What there may be many of.
    Many(Box<Type>),
    /// Of another crate.
    Foreign,
    Unknown,
}

impl Type {
    /// What is in a container, or the type itself.
    pub fn inner(&self) -> Type {
        match self {
            Type::Maybe(inner) | Type::Many(inner) => (**inner).clone(),
            other => other.clone(),
        }
    }
}

/// A function with a body.
pub struct Function {
    /// With the type that it is of: `kernel::call::Call::audit`.
    pub path: String,
    pub module: String,
    pub name: String,
    /// The type whose `impl` it is in, or the trait that declares it.
    pub of: Option<Type>,
    /// The trait that is implemented or that has it as its own, and whether that is the library's.
    pub of_trait: Option<(String, bool)>,
    pub takes_self: bool,
    pub parameters: Vec<(String, Type)>,
    pub returns: Type,
    pub returns_option: bool,
    pub body: Rc<syn::Block>,
    pub words: BTreeSet<String>,
    pub texts: Vec<String>,
}

impl Function {
    /// What a trait has for who does not say otherwise.
    pub fn is_default(&self) -> bool {
        matches!((&self.of, &self.of_trait), (Some(Type::Ours(of)), Some((name, true))) if of.rsplit("::").next() == Some(name))
    }

    pub fn is_of_engine(&self) -> bool {
        self.module.starts_with("engine")
    }
}

#[derive(Default)]
struct Module {
    functions: BTreeMap<String, usize>,
    types: BTreeSet<String>,
    aliases: BTreeMap<String, syn::Type>,
    /// Statics, constants and macros.
    others: BTreeSet<String>,
    uses: Vec<(String, Vec<String>)>,
    globs: Vec<Vec<String>>,
}

/// What a path can mean: one name may be a module, a type and a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meaning {
    pub function: Option<usize>,
    pub of_type: Option<String>,
    module: Option<String>,
    /// Something that is there and takes no locks when it is named: a static, a variant, what a macro of the engine makes.
    pub is_other: bool,
    /// Of another crate, or of the language.
    pub is_foreign: bool,
}

impl Meaning {
    pub fn is_nothing(&self) -> bool {
        *self == Meaning::default()
    }

    fn or(self, other: Meaning) -> Meaning {
        Meaning {
            function: self.function.or(other.function),
            of_type: self.of_type.or(other.of_type),
            module: self.module.or(other.module),
            is_other: self.is_other || other.is_other,
            is_foreign: self.is_foreign || other.is_foreign,
        }
    }
}

#[derive(Default)]
pub struct Names {
    pub functions: Vec<Function>,
    modules: BTreeMap<String, Module>,
    /// Methods of a type, by both.
    methods: BTreeMap<(String, String), Vec<usize>>,
    by_name: BTreeMap<String, Vec<usize>>,
    fields: BTreeMap<(String, String), Type>,
    derefs: BTreeMap<String, Type>,
    variants: BTreeSet<(String, String)>,
    /// Crates that the library is made with, as paths name them.
    crates: BTreeSet<String>,
    /// What macros that stand between functions call or name, by modules.
    pub beside: Vec<(String, BTreeSet<String>)>,
    /// What statics and constants are made of.
    pub fixed: Vec<(String, syn::Expr)>,
}

impl Names {
    pub fn read() -> Names {
        let is_part = |file: &String| PARTS.iter().any(|part| file.starts_with(part)) || file == "src/lib.rs";
        let sources = files("src", &[".rs"]).into_iter().filter(is_part).map(|file| {
            let source = text(&file);
            (file, source)
        });
        Names::of(sources.collect(), &text("Cargo.toml"))
    }

    /// Of these files of `src/`, with their texts.
    pub fn of(sources: Vec<(String, String)>, manifest: &str) -> Names {
        let mut names = Names { crates: crates_of(manifest), ..Names::default() };
        let mut parsed = vec![];
        for (file, text) in &sources {
            let path = file.strip_prefix("src/").and_then(|f| f.strip_suffix(".rs")).expect("a source file");
            let module = if path == "lib" { "" } else { path.strip_suffix("/mod").unwrap_or(path) };
            let read = syn::parse_file(text).unwrap_or_else(|e| panic!("{file}: {e}"));
            with_modules(module.replace('/', "::"), read.items, &mut parsed);
        }
        for (module, items) in &parsed {
            names.modules.entry(module.clone()).or_default();
            items.iter().for_each(|item| names.declare(module, item));
        }
        // Once it is known what all names mean.
        for (module, items) in &parsed {
            items.iter().for_each(|item| names.take_in(module, item));
        }
        for (at, function) in names.functions.iter().enumerate() {
            names.by_name.entry(function.name.clone()).or_default().push(at);
            if let Some(Type::Ours(of)) = &function.of {
                names.methods.entry((of.clone(), function.name.clone())).or_default().push(at);
            }
        }
        names
    }

    fn declare(&mut self, module: &str, item: &syn::Item) {
        let scope = self.modules.get_mut(module).expect("was entered");
        match item {
            syn::Item::Use(item) => note_names(&item.tree, &[], scope),
            syn::Item::Struct(item) => _ = scope.types.insert(item.ident.to_string()),
            syn::Item::Trait(item) => _ = scope.types.insert(item.ident.to_string()),
            syn::Item::Enum(item) => {
                scope.types.insert(item.ident.to_string());
                let path = below(module, &item.ident.to_string());
                let variants = item.variants.iter().map(|variant| (path.clone(), variant.ident.to_string()));
                self.variants.extend(variants);
            }
            syn::Item::Type(item) => _ = scope.aliases.insert(item.ident.to_string(), (*item.ty).clone()),
            syn::Item::Static(item) => _ = scope.others.insert(item.ident.to_string()),
            syn::Item::Const(item) => _ = scope.others.insert(item.ident.to_string()),
            // What `record!` declares: structs, statics, and functions that read or list columns.
            syn::Item::Macro(item) => {
                let words = flat(item.mac.tokens.clone());
                for (before, name) in words.iter().zip(words.iter().skip(1)) {
                    match before.as_str() {
                        "struct" => _ = scope.types.insert(name.clone()),
                        "static" | "by" => _ = scope.others.insert(name.clone()),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn take_in(&mut self, module: &str, item: &syn::Item) {
        match item {
            syn::Item::Fn(item) => {
                let at = self.note(module, &item.sig, &item.block, None, None);
                self.modules.get_mut(module).expect("was entered").functions.insert(item.sig.ident.to_string(), at);
            }
            syn::Item::Impl(item) => {
                let generics = names_of(&item.generics);
                let of = self.type_of(module, &item.self_ty, &generics, None);
                let of_trait = item.trait_.as_ref().map(|(_, path, _)| {
                    let name = path.segments.last().map(|s| s.ident.to_string()).unwrap_or_default();
                    (name, self.meaning(module, path, None).of_type.is_some())
                });
                for part in &item.items {
                    match part {
                        syn::ImplItem::Fn(function) => {
                            let (signature, body) = (&function.sig, &function.block);
                            self.note(module, signature, body, Some((of.clone(), generics.clone())), of_trait.clone());
                        }
                        syn::ImplItem::Type(target) if target.ident == "Target" => {
                            if let Type::Ours(path) = &of {
                                let target = self.type_of(module, &target.ty, &generics, Some(&of));
                                self.derefs.insert(path.clone(), target);
                            }
                        }
                        _ => {}
                    }
                }
            }
            syn::Item::Trait(item) => {
                let (of, generics) = (Type::Ours(below(module, &item.ident.to_string())), names_of(&item.generics));
                for part in &item.items {
                    if let syn::TraitItem::Fn(syn::TraitItemFn { sig, default: Some(body), .. }) = part {
                        let of_trait = Some((item.ident.to_string(), true));
                        self.note(module, sig, body, Some((of.clone(), generics.clone())), of_trait);
                    }
                }
            }
            syn::Item::Struct(item) => {
                let (path, generics) = (below(module, &item.ident.to_string()), names_of(&item.generics));
                for (at, field) in item.fields.iter().enumerate() {
                    let name = field.ident.as_ref().map_or_else(|| at.to_string(), ToString::to_string);
                    let of = self.type_of(module, &field.ty, &generics, None);
                    self.fields.insert((path.clone(), name), of);
                }
            }
            syn::Item::Macro(item) => self.beside.push((module.to_owned(), called_in(item.mac.tokens.clone()))),
            syn::Item::Static(item) => self.fixed.push((below(module, &item.ident.to_string()), (*item.expr).clone())),
            syn::Item::Const(item) => self.fixed.push((below(module, &item.ident.to_string()), (*item.expr).clone())),
            _ => {}
        }
    }

    fn note(
        &mut self,
        module: &str,
        signature: &syn::Signature,
        body: &syn::Block,
        of: Option<(Type, BTreeSet<String>)>,
        of_trait: Option<(String, bool)>,
    ) -> usize {
        let (of, mut generics) = of.map_or((None, BTreeSet::new()), |(of, generics)| (Some(of), generics));
        generics.append(&mut names_of(&signature.generics));
        let mut inside = Inside::default();
        inside.visit_block(body);
        let parameters = signature.inputs.iter().filter_map(|input| match input {
            syn::FnArg::Typed(typed) => {
                let name = if let syn::Pat::Ident(name) = &*typed.pat { name.ident.to_string() } else { String::new() };
                Some((name, self.type_of(module, &typed.ty, &generics, of.as_ref())))
            }
            syn::FnArg::Receiver(_) => None,
        });
        let parameters = parameters.collect();
        let returns = match &signature.output {
            syn::ReturnType::Default => Type::Foreign,
            syn::ReturnType::Type(_, of_it) => self.type_of(module, of_it, &generics, of.as_ref()),
        };
        let name = signature.ident.to_string();
        let path = match &of {
            Some(Type::Ours(of)) => below(of, &name),
            Some(_) => format!("{module}::<>::{name}"),
            None => below(module, &name),
        };
        self.functions.push(Function {
            path,
            module: module.to_owned(),
            name,
            of,
            of_trait,
            takes_self: signature.receiver().is_some(),
            parameters,
            returns,
            returns_option: matches!(&signature.output, syn::ReturnType::Type(_, of) if is_option(of)),
            body: Rc::new(body.clone()),
            words: inside.words,
            texts: inside.texts,
        });
        self.functions.len() - 1
    }

    /// All functions and methods of a name.
    pub fn named(&self, name: &str) -> Vec<usize> {
        self.by_name.get(name).cloned().unwrap_or_default()
    }

    /// All that some module calls by a name.
    pub fn called(&self, name: &str) -> Vec<usize> {
        let uses = self.modules.values().flat_map(|scope| &scope.uses).filter(|(used, _)| used == name);
        let names: BTreeSet<&str> = uses.filter_map(|(_, of)| of.last().map(String::as_str)).chain([name]).collect();
        names.into_iter().flat_map(|name| self.named(name)).collect()
    }

    pub fn by_path(&self, path: &str) -> Option<usize> {
        self.functions.iter().position(|f| f.path == path)
    }

    /// The methods that a call by this name on a value of this type may be: more than one where that cannot be told.
    pub fn methods(&self, of: &Type, name: &str) -> Vec<usize> {
        let is_method = |at: &usize| self.functions[*at].takes_self;
        let all = || self.named(name).into_iter().filter(is_method).collect();
        match of {
            Type::Unknown => all(),
            // Traits of the library, for types that are not.
            Type::Foreign | Type::Maybe(_) | Type::Many(_) => {
                let is_trait = |at: &usize| self.functions[*at].of_trait.as_ref().is_some_and(|(_, ours)| *ours);
                self.named(name).into_iter().filter(is_method).filter(is_trait).collect()
            }
            Type::Ours(path) => match (self.methods.get(&(path.clone(), name.to_owned())), self.derefs.get(path)) {
                (Some(methods), _) => methods.clone(),
                (None, Some(target)) => self.methods(target, name),
                // Of a trait, or derived.
                (None, None) => all(),
            },
        }
    }

    pub fn field(&self, of: &Type, name: &str) -> Type {
        let Type::Ours(path) = of else { return Type::Unknown };
        match (self.fields.get(&(path.clone(), name.to_owned())), self.derefs.get(path)) {
            (Some(field), _) => field.clone(),
            (None, Some(target)) => self.field(target, name),
            (None, None) => Type::Unknown,
        }
    }

    /// What a path means in a module, and in the `impl` of a type.
    pub fn meaning(&self, module: &str, path: &syn::Path, within: Option<&Type>) -> Meaning {
        let segments: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        match (segments.first().map(String::as_str), within) {
            (Some("Self"), Some(Type::Ours(of))) => self.along(of, &segments[1..], true, 0),
            // Of a type that is not the library's.
            (Some("Self"), _) => Meaning { is_other: segments.len() == 1, ..Meaning::default() },
            _ => self.follow(module, &segments, 0),
        }
    }

    fn follow(&self, module: &str, segments: &[String], depth: usize) -> Meaning {
        let Some((first, rest)) = segments.split_first() else { return Meaning::default() };
        // Of a `use` that leads to itself.
        if depth > 16 {
            return Meaning::default();
        }
        match first.as_str() {
            "crate" => return self.along("", rest, false, depth),
            "self" => return self.along(module, rest, false, depth),
            "super" => {
                let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
                return match rest.first().map(String::as_str) {
                    Some("super") => self.follow(parent, rest, depth),
                    _ => self.along(parent, rest, false, depth),
                };
            }
            _ => {}
        }
        let here = self.local(module, first, depth);
        if rest.is_empty() {
            let is_foreign = here.is_nothing() && is_of_the_language(first);
            return Meaning { is_foreign: here.is_foreign || is_foreign, ..here };
        }
        if here.is_nothing() {
            let is_foreign = self.crates.contains(first) || is_of_the_language(first);
            return Meaning { is_foreign, ..Meaning::default() };
        }
        let by_module = here.module.map(|module| self.along(&module, rest, false, depth)).unwrap_or_default();
        let by_type = here.of_type.map(|of| self.along(&of, rest, true, depth)).unwrap_or_default();
        let is_foreign = here.is_foreign;
        let found = by_module.or(by_type);
        Meaning { is_foreign: found.is_foreign || is_foreign, ..found }
    }

    /// What stands at the end of a path from a module or a type.
    fn along(&self, base: &str, segments: &[String], is_type: bool, depth: usize) -> Meaning {
        let Some((first, rest)) = segments.split_first() else {
            let base = Some(base.to_owned());
            return match is_type {
                true => Meaning { of_type: base, ..Meaning::default() },
                false => Meaning { module: base, ..Meaning::default() },
            };
        };
        if is_type {
            let methods = self.methods.get(&(base.to_owned(), first.clone()));
            let function = methods.and_then(|methods| methods.first().copied());
            let is_variant = self.variants.contains(&(base.to_owned(), first.clone()));
            let module = base.rsplit_once("::").map_or("", |(module, _)| module);
            // `Card::personal`, of a `record!`.
            let is_made = self.modules.get(module).is_some_and(|scope| scope.others.contains(first));
            // A constant, or what is derived: nothing that somebody wrote.
            let is_other = function.is_none() && (is_variant || is_made || self.named(first).is_empty());
            return Meaning { function, is_other, ..Meaning::default() };
        }
        let here = self.local(base, first, depth + 1);
        if rest.is_empty() {
            return here;
        }
        let by_module = here.module.map(|module| self.along(&module, rest, false, depth + 1)).unwrap_or_default();
        let by_type = here.of_type.map(|of| self.along(&of, rest, true, depth + 1)).unwrap_or_default();
        let found = by_module.or(by_type);
        Meaning { is_foreign: found.is_foreign || here.is_foreign, ..found }
    }

    /// What a module calls by a name.
    fn local(&self, module: &str, name: &str, depth: usize) -> Meaning {
        let Some(scope) = self.modules.get(module) else { return Meaning::default() };
        let path = below(module, name);
        let mut found = Meaning {
            function: scope.functions.get(name).copied(),
            of_type: scope.types.contains(name).then(|| path.clone()),
            module: self.modules.contains_key(&path).then_some(path),
            is_other: scope.others.contains(name) || scope.aliases.contains_key(name),
            is_foreign: false,
        };
        let mut used: Vec<Vec<String>> =
            scope.uses.iter().filter(|(used, _)| used == name).map(|(_, target)| target.clone()).collect();
        used.extend(scope.globs.iter().map(|glob| [glob.clone(), vec![name.to_owned()]].concat()));
        for target in used {
            // `use order::{Order, by_id}` of a child, `use pgrx::prelude::*` of a crate.
            let is_glob = scope.globs.iter().any(|glob| glob.len() + 1 == target.len() && target.starts_with(glob));
            let itself = target.len() == 1 && target[0] == name;
            let meaning = if itself { Meaning::default() } else { self.follow(module, &target, depth + 1) };
            // What a glob of another crate brings is not known: it is no answer to what a name is.
            if !(is_glob && meaning.is_foreign) {
                found = found.or(meaning);
            }
        }
        found
    }

    /// What a type in a signature is.
    pub fn type_of(&self, module: &str, of: &syn::Type, generics: &BTreeSet<String>, within: Option<&Type>) -> Type {
        match of {
            syn::Type::Reference(of) => self.type_of(module, &of.elem, generics, within),
            syn::Type::Paren(of) => self.type_of(module, &of.elem, generics, within),
            syn::Type::Slice(of) => Type::Many(Box::new(self.type_of(module, &of.elem, generics, within))),
            syn::Type::Array(of) => Type::Many(Box::new(self.type_of(module, &of.elem, generics, within))),
            syn::Type::Path(of) if of.qself.is_none() => {
                let last = of.path.segments.last().expect("a name");
                let inner = |at: usize| match &last.arguments {
                    syn::PathArguments::AngleBracketed(all) => {
                        let types = all.args.iter().filter_map(|argument| match argument {
                            syn::GenericArgument::Type(of) => Some(self.type_of(module, of, generics, within)),
                            _ => None,
                        });
                        types.clone().nth(at).unwrap_or(Type::Unknown)
                    }
                    _ => Type::Unknown,
                };
                if let Some(name) = of.path.get_ident() {
                    if generics.contains(&name.to_string()) {
                        return Type::Unknown;
                    }
                    if name == "Self" {
                        return within.cloned().unwrap_or(Type::Unknown);
                    }
                    if let Some(alias) = self.modules.get(module).and_then(|m| m.aliases.get(&name.to_string())) {
                        return self.type_of(module, alias, generics, within);
                    }
                }
                if let Some(path) = self.meaning(module, &of.path, within).of_type {
                    return Type::Ours(path);
                }
                match last.ident.to_string().as_str() {
                    "Option" | "Result" => Type::Maybe(Box::new(inner(0))),
                    "Vec" | "VecDeque" | "HashSet" | "BTreeSet" => Type::Many(Box::new(inner(0))),
                    "Box" | "Rc" | "Arc" | "Ref" | "RefMut" | "Cow" => inner(0),
                    _ => Type::Foreign,
                }
            }
            syn::Type::Never(_) => Type::Foreign,
            _ => Type::Unknown,
        }
    }
}

fn below(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") }
}

fn is_option(of: &syn::Type) -> bool {
    matches!(of, syn::Type::Path(of) if of.path.segments.last().is_some_and(|last| last.ident == "Option"))
}

fn names_of(generics: &syn::Generics) -> BTreeSet<String> {
    generics.type_params().map(|parameter| parameter.ident.to_string()).collect()
}

/// Items of a module, and of those that stand in it.
fn with_modules(module: String, items: Vec<syn::Item>, parsed: &mut Vec<(String, Vec<syn::Item>)>) {
    for item in &items {
        if let syn::Item::Mod(syn::ItemMod { ident, content: Some((_, inside)), .. }) = item {
            with_modules(below(&module, &ident.to_string()), inside.clone(), parsed);
        }
    }
    parsed.push((module, items));
}

/// The crates of a manifest's dependencies.
fn crates_of(manifest: &str) -> BTreeSet<String> {
    let lines = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let names = lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once(" = "));
    names.map(|(name, _)| name.replace('-', "_")).collect()
}

/// What nobody has to `use`: types, traits and macros of the language, and its crates.
fn is_of_the_language(name: &str) -> bool {
    const NAMES: &str = "std core alloc Some None Ok Err Option Result Box Vec String Default From Into TryFrom TryInto Iterator \
                         IntoIterator ToString ToOwned Clone AsRef AsMut FromIterator Drop Extend drop str char bool u8 u16 u32 u64 \
                         u128 usize i8 i16 i32 i64 i128 isize f32 f64";
    NAMES.split_whitespace().any(|known| known == name)
}

/// What a `use` line calls what.
fn note_names(tree: &syn::UseTree, before: &[String], scope: &mut Module) {
    let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
    match tree {
        syn::UseTree::Path(path) => note_names(&path.tree, &with(&path.ident), scope),
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| note_names(tree, before, scope)),
        syn::UseTree::Name(name) if name.ident == "self" => {
            scope.uses.push((before.last().cloned().unwrap_or_default(), before.to_vec()));
        }
        syn::UseTree::Name(name) => scope.uses.push((name.ident.to_string(), with(&name.ident))),
        syn::UseTree::Rename(name) if name.ident == "self" => {
            scope.uses.push((name.rename.to_string(), before.to_vec()));
        }
        syn::UseTree::Rename(name) => scope.uses.push((name.rename.to_string(), with(&name.ident))),
        syn::UseTree::Glob(_) => scope.globs.push(before.to_vec()),
    }
}

/// All identifiers of tokens, in their order.
fn flat(tokens: proc_macro2::TokenStream) -> Vec<String> {
    let words = tokens.into_iter().map(|token| match token {
        proc_macro2::TokenTree::Group(group) => flat(group.stream()),
        proc_macro2::TokenTree::Ident(name) => vec![name.to_string()],
        _ => vec![],
    });
    words.flatten().collect()
}

/// What tokens may call or name as a function: what stands before parentheses, or after two colons.
pub fn called_in(tokens: proc_macro2::TokenStream) -> BTreeSet<String> {
    use proc_macro2::{Delimiter::Parenthesis, TokenTree};
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut called = BTreeSet::new();
    for (at, token) in tokens.iter().enumerate() {
        let is_after_colon = at
            .checked_sub(1)
            .is_some_and(|before| matches!(&tokens[before], TokenTree::Punct(p) if p.as_char() == ':'));
        let is_path = is_after_colon && at > 1 && matches!(&tokens[at - 2], TokenTree::Punct(p) if p.as_char() == ':');
        let is_call = matches!(tokens.get(at + 1), Some(TokenTree::Group(group)) if group.delimiter() == Parenthesis);
        match token {
            TokenTree::Group(group) => called.append(&mut called_in(group.stream())),
            TokenTree::Ident(name) if is_path || is_call => _ = called.insert(name.to_string()),
            _ => {}
        }
    }
    called
}

/// What a macro is given, where that is expressions with commas between them, or one before a pattern (`matches!`).
pub fn expressions(given: &syn::Macro) -> Option<Vec<syn::Expr>> {
    type Listed = syn::punctuated::Punctuated<syn::Expr, syn::Token![,]>;
    let one_of_them = |input: syn::parse::ParseStream| {
        let first: syn::Expr = input.parse()?;
        input.parse::<proc_macro2::TokenStream>()?;
        Ok(vec![first])
    };
    if given.path.is_ident("matches") {
        return given.parse_body_with(one_of_them).ok();
    }
    given.parse_body_with(Listed::parse_terminated).ok().map(|listed| listed.into_iter().collect())
}

/// What stands in a body: methods with a dot before them, names, texts.
#[derive(Default)]
struct Inside {
    words: BTreeSet<String>,
    texts: Vec<String>,
}

impl<'ast> Visit<'ast> for Inside {
    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.words.insert(format!(".{}", call.method));
        visit::visit_expr_method_call(self, call);
    }

    fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
        self.words.insert(segment.ident.to_string());
        visit::visit_path_segment(self, segment);
    }

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        self.texts.push(text.value());
    }

    fn visit_macro(&mut self, given: &'ast syn::Macro) {
        match expressions(given) {
            Some(listed) => listed.iter().for_each(|expression| self.visit_expr(expression)),
            None => self.note_tokens(given.tokens.clone()),
        }
    }
}

impl Inside {
    fn note_tokens(&mut self, tokens: proc_macro2::TokenStream) {
        let mut after_dot = false;
        for token in tokens {
            match &token {
                proc_macro2::TokenTree::Group(group) => self.note_tokens(group.stream()),
                proc_macro2::TokenTree::Ident(name) if after_dot => _ = self.words.insert(format!(".{name}")),
                proc_macro2::TokenTree::Ident(name) => _ = self.words.insert(name.to_string()),
                proc_macro2::TokenTree::Literal(literal) => {
                    if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                        self.texts.push(text.value());
                    }
                }
                proc_macro2::TokenTree::Punct(_) => {}
            }
            after_dot = matches!(&token, proc_macro2::TokenTree::Punct(dot) if dot.as_char() == '.');
        }
    }
}
