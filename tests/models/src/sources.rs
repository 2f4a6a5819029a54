//! Which locks an RPC takes, in which order, by its source: what `src/` calls, from the wrapper of the RPC down to the functions that
//! lock, and the same for what is written in SQL. What a branch locks may be left out by a model; what is locked in a loop is `many`.

use mps_tidy::{files, text};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use syn::visit::{self, Visit};

/// What is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Key,
    /// A gateway's trade number that is claimed; the row of one that is claimed, and goes to somebody else.
    Trade,
    TradeRow,
    Order,
    Month,
    /// Keys of before, which only `app.expire_keys()` takes away: it does not see those that are being taken.
    OldKeys,
    Settings,
    Member,
    Merchant,
    Tx,
    Suspense,
    /// A refund number of a withdrawal.
    Refund,
    /// An account at a payment gateway, with its keys.
    GatewayAccount,
    GatewayTally,
    Card,
    /// Cards that are passed by where somebody has them.
    FreeCards,
    Binding,
    /// Who is in a closed month: what two who write into one may both insert.
    Lines,
    ClosedMonths,
    SealCut,
    /// The mode of operation: only who changes it.
    Mode,
    /// All of the log: who writes the books from it.
    Log,
    JobRun,
}

/// A lock that is asked for: one of a kind, or many of them in the order of their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lock {
    pub kind: Kind,
    pub many: bool,
}

/// What a function that works on rows itself waits for.
enum Takes {
    One(Kind),
    /// In the order of their ids, which its statement says.
    Many(Kind),
    /// Only rows that it made or that its caller has locked, for the reason given.
    Nothing(#[expect(dead_code, reason = "for who reads it")] &'static str),
}

use Takes::{Many, Nothing, One};

/// Every function of `src/` above the engine that locks or writes rows of a table by itself. One that is missing here fails the test
/// below, and so does one that is no more.
const LEAVES: &[(&str, Takes)] = &[
    ("kernel::keys::claim_key", One(Kind::Key)),
    ("kernel::keys::claim_order", One(Kind::Order)),
    ("kernel::keys::repoint_key", Nothing("the caller has just claimed it")),
    ("kernel::keys::repoint_order", One(Kind::Order)),
    ("kernel::keys::forget_keys", Many(Kind::OldKeys)),
    ("kernel::months::ensure", One(Kind::Month)),
    ("kernel::settings::lock", One(Kind::Settings)),
    ("kernel::settings::pin", One(Kind::Settings)),
    ("kernel::settings::update", Nothing("locked")),
    ("kernel::days::follow_settings", Nothing("called by who has locked the settings")),
    ("kernel::members::lock", One(Kind::Member)),
    ("kernel::members::create", One(Kind::Member)),
    ("kernel::members::set_status", Nothing("locked")),
    ("kernel::members::lock_binding", One(Kind::Binding)),
    ("kernel::members::bind", Nothing("bindings change under the lock of their card")),
    ("kernel::members::unbind", Nothing("bindings change under the lock of their card")),
    ("kernel::members::set_code", Nothing("locked")),
    ("kernel::merchants::lock", One(Kind::Merchant)),
    ("kernel::merchants::pin", One(Kind::Merchant)),
    ("kernel::merchants::create", One(Kind::Merchant)),
    ("kernel::merchants::set_active", Nothing("locked")),
    ("kernel::merchants::touch", Nothing("locked")),
    ("kernel::merchants::set_role", Nothing("operators change under the lock of their merchant")),
    ("kernel::merchants::remove_user", Nothing("operators change under the lock of their merchant")),
    ("kernel::batch::note_run", One(Kind::JobRun)),
    ("ledger::cards::lock", One(Kind::Card)),
    ("ledger::cards::write", One(Kind::Card)),
    ("ledger::cards::touch", Nothing("locked")),
    ("ledger::cards::create_personal", Nothing("a new row, of a member that is locked or new")),
    ("ledger::cards::create_enterprise", Nothing("a new row")),
    ("ledger::transactions::lock", One(Kind::Tx)),
    ("ledger::transactions::write", Nothing("locked")),
    ("ledger::transactions::insert_pending", Nothing("a new row")),
    ("ledger::transactions::no_longer_pending", Nothing("its transaction is locked")),
    ("ledger::history::note_writer", One(Kind::Lines)),
    ("features::gateways::account::lock", One(Kind::GatewayAccount)),
    ("features::gateways::account::create", One(Kind::GatewayAccount)),
    ("features::gateways::account::replace", Nothing("locked")),
    ("features::gateways::events::tally", One(Kind::GatewayTally)),
    ("features::recharges::suspense::lock", One(Kind::Suspense)),
    ("features::recharges::suspense::insert", Nothing("a new row")),
    ("features::recharges::suspense::resolve", Nothing("locked")),
    ("features::recharges::suspense::reduce", Nothing("locked")),
    ("features::reconciliation::bills::keep", Nothing("the account is locked")),
    ("features::reconciliation::comparing::compare", Nothing("the account is locked")),
    ("features::reconciliation::days::close", Nothing("the account is locked")),
    ("features::reconciliation::days::has_new_bill", Nothing("the account is locked")),
    ("features::reconciliation::days::make", Nothing("the account is locked")),
    ("features::reconciliation::days::reopen", Nothing("the account is locked")),
    ("features::reconciliation::items::lock", Nothing("the account is locked")),
    ("features::reconciliation::items::resolve", Nothing("locked")),
    ("features::withdrawals::parts::lock", One(Kind::Refund)),
    ("features::withdrawals::parts::update", Nothing("locked")),
    ("features::cards::expire_cards::expire_cards", Many(Kind::Card)),
    ("features::cards::expire_qrcodes::forget_personal_codes", Many(Kind::FreeCards)),
    ("features::cards::expire_qrcodes::forget_binding_codes", Many(Kind::FreeCards)),
    ("features::cards::recompute_levels::lock_levels", Many(Kind::Card)),
    ("features::cards::recompute_levels::set_level", Nothing("locked")),
    ("features::receipts::alone", One(Kind::SealCut)),
];

/// What of the engine locks or writes.
const RAW: &[&str] =
    &["lock", "insert_or_nothing", "insert_some", "insert_some_or_nothing", "update_seen", "update_locked"];
const STATEMENTS: &[&str] = &[
    "FOR NO KEY UPDATE",
    "FOR UPDATE",
    "FOR SHARE",
    "INSERT INTO app.",
    "UPDATE app.",
    "DELETE FROM app.",
    "LOCK TABLE",
];
/// Functions of SQL that lock or write.
const OF_SQL: &[&str] = &["sec.make_month(", "sec.change_settings("];

/// What locks and writes, or says `None` and has done neither: a charge of a card that is another version by now.
const WRITES_OR_NONE: &[&str] = &["pay"];

struct Function {
    module: String,
    name: String,
    is_method: bool,
    parameters: Vec<String>,
    body: Rc<syn::Block>,
    words: BTreeSet<String>,
    texts: Vec<String>,
}

impl Function {
    fn path(&self) -> String {
        format!("{}::{}", self.module, self.name)
    }

    fn is_raw(&self) -> bool {
        let has = |patterns: &[&str]| self.texts.iter().any(|text| patterns.iter().any(|p| text.contains(p)));
        let calls_lock = |word: &String| RAW.contains(&word.strip_prefix('.').unwrap_or("-"));
        self.words.iter().any(calls_lock) || has(STATEMENTS) || has(OF_SQL)
    }
}

/// All functions above the engine.
pub struct Sources {
    functions: Vec<Function>,
    /// By module: what its `use` lines call what.
    names: BTreeMap<String, BTreeMap<String, String>>,
}

impl Sources {
    pub fn read() -> Sources {
        let mut sources = Sources { functions: vec![], names: BTreeMap::new() };
        for file in files("src", &[".rs"]) {
            let parts = ["src/kernel/", "src/ledger/", "src/features/"];
            if !parts.iter().any(|part| file.starts_with(part)) {
                continue;
            }
            let path = file.strip_prefix("src/").and_then(|f| f.strip_suffix(".rs")).expect("a source file");
            let module = path.strip_suffix("/mod").unwrap_or(path).replace('/', "::");
            let parsed = syn::parse_file(&text(&file)).expect("it compiles");
            sources.names.entry(module.clone()).or_default();
            sources.take_in(&module, &parsed.items);
        }
        sources
    }

    fn take_in(&mut self, module: &str, items: &[syn::Item]) {
        for item in items {
            match item {
                syn::Item::Use(item) => {
                    let names = self.names.get_mut(module).expect("was entered");
                    note_names(&item.tree, String::new(), module, names);
                }
                syn::Item::Fn(item) => self.note(module, &item.sig, &item.block, false),
                syn::Item::Impl(item) => {
                    for part in &item.items {
                        if let syn::ImplItem::Fn(function) = part {
                            self.note(module, &function.sig, &function.block, true);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn note(&mut self, module: &str, signature: &syn::Signature, body: &syn::Block, is_method: bool) {
        let mut inside = Inside::default();
        inside.visit_block(body);
        let parameters = signature.inputs.iter().filter_map(|input| match input {
            syn::FnArg::Typed(typed) => match &*typed.pat {
                syn::Pat::Ident(name) => Some(name.ident.to_string()),
                _ => Some(String::new()),
            },
            syn::FnArg::Receiver(_) => None,
        });
        self.functions.push(Function {
            module: module.to_owned(),
            name: signature.ident.to_string(),
            is_method,
            parameters: parameters.collect(),
            body: Rc::new(body.clone()),
            words: inside.words,
            texts: inside.texts,
        });
    }

    /// The locks of a function of the features by its name.
    pub fn locks(&self, name: &str) -> Option<Locks> {
        let root = self.functions.iter().find(|f| f.module.starts_with("features::") && f.name == name)?;
        let mut walk = Walk { sources: self, found: Locks::default(), within: vec![], returned: vec![] };
        walk.found.ways.insert(vec![]);
        walk.enter(root, &[], 0);
        Some(walk.found)
    }

    /// Functions that lock or write by themselves, by their paths.
    pub fn raw(&self) -> BTreeSet<String> {
        self.functions.iter().filter(|f| f.is_raw()).map(Function::path).collect()
    }

    /// Where many are locked by one statement that does not say in which order, or in a loop over what nobody has sorted.
    pub fn unsorted(&self) -> Vec<String> {
        let sorts = |text: &String| match text.find("FOR NO KEY UPDATE") {
            // By its key, or of a table with one row.
            Some(at) => {
                ["ORDER BY", "id = $1", "a.code = $1", "FROM app.settings s "].iter().any(|s| text[..at].contains(s))
            }
            None => true,
        };
        self.functions.iter().filter(|f| !f.texts.iter().all(sorts)).map(Function::path).collect()
    }

    fn resolve(&self, module: &str, path: &syn::Path) -> Option<&Function> {
        let segments: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        let (name, before) = segments.split_last()?;
        let names = &self.names[module];
        let home = match before {
            [] => match names.get(name) {
                Some(full) => return self.by_path(full),
                None => module.to_owned(),
            },
            [first, rest @ ..] => {
                let base = match first.as_str() {
                    "crate" => String::new(),
                    "super" => module.rsplit_once("::")?.0.to_owned(),
                    "self" | "Self" => module.to_owned(),
                    first => names.get(first).cloned().unwrap_or_else(|| format!("{module}::{first}")),
                };
                [vec![base], rest.to_vec()].concat().join("::").trim_start_matches("::").to_owned()
            }
        };
        self.by_path(&format!("{home}::{name}"))
    }

    fn by_path(&self, path: &str) -> Option<&Function> {
        self.functions.iter().find(|f| f.path() == path)
    }
}

/// What a `use` line calls what, as paths below `src`.
fn note_names(tree: &syn::UseTree, before: String, module: &str, names: &mut BTreeMap<String, String>) {
    let below = |name: String| match name.as_str() {
        "crate" => String::new(),
        "super" => module.rsplit_once("::").map(|(parent, _)| parent.to_owned()).unwrap_or_default(),
        "self" => before.clone(),
        _ if before.is_empty() => name.clone(),
        _ => format!("{before}::{name}"),
    };
    match tree {
        syn::UseTree::Path(path) => note_names(&path.tree, below(path.ident.to_string()), module, names),
        syn::UseTree::Group(group) => group.items.iter().for_each(|t| note_names(t, before.clone(), module, names)),
        syn::UseTree::Name(name) if name.ident == "self" => {
            names.insert(before.rsplit("::").next().unwrap_or_default().to_owned(), before);
        }
        syn::UseTree::Name(name) => _ = names.insert(name.ident.to_string(), below(name.ident.to_string())),
        syn::UseTree::Rename(name) => _ = names.insert(name.rename.to_string(), below(name.ident.to_string())),
        syn::UseTree::Glob(_) => {}
    }
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
}

/// Closures by the names of the parameters that they were given as.
#[derive(Clone, Default)]
struct Env(BTreeMap<String, Rc<Closure>>);

/// A closure, and where it stands: the module, the function and its words, the closures that this was given.
struct Closure {
    body: syn::Expr,
    module: String,
    home: String,
    words: BTreeSet<String>,
    env: Env,
}

/// What a function comes to lock.
#[derive(Debug, Default)]
pub struct Locks {
    /// Each way through its branches.
    pub ways: BTreeSet<Vec<Lock>>,
    /// The functions that it may call.
    pub reached: BTreeSet<String>,
    /// Those of them that lock in a loop.
    pub looping: BTreeSet<String>,
}

struct Walk<'s> {
    sources: &'s Sources,
    found: Locks,
    within: Vec<String>,
    /// Of each function and closure that is gone into: the ways that have left it.
    returned: Vec<BTreeSet<Vec<Lock>>>,
}

impl Walk<'_> {
    fn enter(&mut self, function: &Function, closures: &[(usize, Rc<Closure>)], loops: usize) {
        let path = function.path();
        self.found.reached.insert(path.clone());
        if self.within.contains(&path) {
            return;
        }
        let mut env = Env::default();
        for (at, closure) in closures {
            if let Some(name) = function.parameters.get(*at) {
                env.0.insert(name.clone(), closure.clone());
            }
        }
        self.within.push(path.clone());
        let (module, words) = (&function.module, &function.words);
        let mut inside = InBody { walk: self, module, home: &path, words, env: &env, loops };
        inside.until_it_returns(|body| body.visit_block(&function.body));
        self.within.pop();
    }

    /// With the function that calls, whose words say whose order ids are meant.
    fn lock(&mut self, path: &str, (home, words): (&str, &BTreeSet<String>), loops: usize) -> bool {
        let Some((_, takes)) = LEAVES.iter().find(|(leaf, _)| *leaf == path) else { return false };
        self.found.reached.insert(path.to_owned());
        let is_trade = words.contains("gateway_trade");
        let lock = match takes {
            One(Kind::Order) if is_trade && path.ends_with("repoint_order") => {
                Lock { kind: Kind::TradeRow, many: false }
            }
            One(Kind::Order) if is_trade => Lock { kind: Kind::Trade, many: false },
            // One order id, tried again.
            One(kind @ (Kind::Order | Kind::Key)) => Lock { kind: *kind, many: false },
            One(kind) => Lock { kind: *kind, many: loops > 0 },
            Many(kind) => Lock { kind: *kind, many: true },
            Nothing(_) => return true,
        };
        if lock.many && loops > 0 {
            self.found.looping.insert(home.to_owned());
        }
        let longer = |mut way: Vec<Lock>| {
            if way.last() != Some(&lock) {
                way.push(lock);
            }
            way
        };
        self.found.ways = std::mem::take(&mut self.found.ways).into_iter().map(longer).collect();
        true
    }
}

struct InBody<'w, 's, 'a> {
    walk: &'w mut Walk<'s>,
    module: &'a str,
    /// The function whose text it is.
    home: &'a str,
    words: &'a BTreeSet<String>,
    env: &'a Env,
    loops: usize,
}

impl InBody<'_, '_, '_> {
    /// What is called, with its arguments evaluated before it, and closures where it calls them, or after it.
    fn call(
        &mut self,
        function: Option<&Function>,
        arguments: &syn::punctuated::Punctuated<syn::Expr, syn::Token![,]>,
    ) {
        let mut closures = vec![];
        for (at, argument) in arguments.iter().enumerate() {
            match argument {
                syn::Expr::Closure(closure) => {
                    let (module, home) = (self.module.to_owned(), self.home.to_owned());
                    let (words, env) = (self.words.clone(), self.env.clone());
                    closures.push((at, Rc::new(Closure { body: *closure.body.clone(), module, home, words, env })));
                }
                syn::Expr::Path(path) => match path.path.get_ident().and_then(|name| self.env.0.get(&name.to_string()))
                {
                    Some(closure) => closures.push((at, closure.clone())),
                    None => self.visit_expr(argument),
                },
                _ => self.visit_expr(argument),
            }
        }
        match function {
            Some(function) if self.walk.lock(&function.path(), (self.home, self.words), self.loops) => {}
            Some(function) => self.walk.enter(function, &closures, self.loops),
            None => closures.iter().for_each(|(_, closure)| self.run(closure)),
        }
    }

    fn run(&mut self, closure: &Closure) {
        let Closure { body, module, home, words, env } = closure;
        let mut inside = InBody { walk: self.walk, module, home, words, env, loops: self.loops };
        inside.until_it_returns(|inside| inside.visit_expr(body));
    }

    fn until_it_returns(&mut self, visit: impl FnOnce(&mut Self)) {
        self.walk.returned.push(BTreeSet::new());
        visit(self);
        let mut returned = self.walk.returned.pop().expect("was pushed");
        self.walk.found.ways.append(&mut returned);
    }
}

impl<'ast> Visit<'ast> for InBody<'_, '_, '_> {
    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        let syn::Expr::Path(path) = &*call.func else { return visit::visit_expr_call(self, call) };
        if let Some(closure) = path.path.get_ident().and_then(|name| self.env.0.get(&name.to_string())).cloned() {
            call.args.iter().for_each(|argument| self.visit_expr(argument));
            return self.run(&closure);
        }
        let function = self.walk.sources.resolve(self.module, &path.path);
        self.call(function, &call.args);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.visit_expr(&call.receiver);
        let name = call.method.to_string();
        // Of the same name: any that is a method of ours, of the same module first.
        let ours = |f: &&Function| f.is_method && f.name == name;
        let functions = &self.walk.sources.functions;
        let near = functions.iter().filter(|f| f.module == self.module).find(ours);
        let function = near.or_else(|| functions.iter().find(ours));
        self.call(function, &call.args);
    }

    fn visit_expr_match(&mut self, it: &'ast syn::ExprMatch) {
        let before = self.walk.found.ways.clone();
        self.visit_expr(&it.expr);
        let after = self.walk.found.ways.clone();
        let mut ended = BTreeSet::new();
        for arm in &it.arms {
            let is_none = matches!(&arm.pat, syn::Pat::Ident(name) if name.ident == "None");
            let wrote_nothing = is_none && called(&it.expr).is_some_and(|name| WRITES_OR_NONE.contains(&name.as_str()));
            self.walk.found.ways = if wrote_nothing { before.clone() } else { after.clone() };
            self.visit_expr(&arm.body);
            ended.append(&mut self.walk.found.ways);
        }
        self.walk.found.ways = ended;
    }

    fn visit_expr_if(&mut self, it: &'ast syn::ExprIf) {
        self.visit_expr(&it.cond);
        let before = self.walk.found.ways.clone();
        self.visit_block(&it.then_branch);
        let mut then = std::mem::replace(&mut self.walk.found.ways, before);
        if let Some((_, otherwise)) = &it.else_branch {
            self.visit_expr(otherwise);
        }
        self.walk.found.ways.append(&mut then);
    }

    fn visit_expr_return(&mut self, it: &'ast syn::ExprReturn) {
        visit::visit_expr_return(self, it);
        let ways = std::mem::take(&mut self.walk.found.ways);
        self.walk.returned.last_mut().expect("in a function").extend(ways);
    }

    fn visit_expr_for_loop(&mut self, it: &'ast syn::ExprForLoop) {
        self.visit_expr(&it.expr);
        self.loops += 1;
        self.visit_block(&it.body);
        self.loops -= 1;
    }

    fn visit_expr_while(&mut self, it: &'ast syn::ExprWhile) {
        self.loops += 1;
        visit::visit_expr_while(self, it);
        self.loops -= 1;
    }

    fn visit_expr_loop(&mut self, it: &'ast syn::ExprLoop) {
        self.loops += 1;
        visit::visit_expr_loop(self, it);
        self.loops -= 1;
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        self.visit_expr(&closure.body);
    }
}

/// The function that an expression calls, if it is one.
fn called(expr: &syn::Expr) -> Option<String> {
    match expr {
        syn::Expr::Try(inner) => called(&inner.expr),
        syn::Expr::Call(call) => match &*call.func {
            syn::Expr::Path(path) => path.path.get_ident().map(ToString::to_string),
            _ => None,
        },
        _ => None,
    }
}

/// What is a leaf, for who compares it with what there is.
pub fn leaves() -> BTreeSet<String> {
    LEAVES.iter().map(|(path, _)| (*path).to_owned()).collect()
}

/// Those of them that wait.
pub fn waiting_leaves() -> BTreeSet<String> {
    LEAVES.iter().filter(|(_, takes)| !matches!(takes, Nothing(_))).map(|(path, _)| (*path).to_owned()).collect()
}

/// What functions of SQL lock, by what their texts say, in the order in which they say it.
const OF_TEXTS: &[(&str, Lock)] = &[
    ("LOCK TABLE app.archived_months", Lock { kind: Kind::Month, many: false }),
    ("LOCK TABLE app.closed_months", Lock { kind: Kind::ClosedMonths, many: false }),
    ("LOCK TABLE audit.event_log", Lock { kind: Kind::Log, many: false }),
    ("LOCK TABLE app.operating_mode", Lock { kind: Kind::Mode, many: false }),
    ("LOCK TABLE audit.seal_cut", Lock { kind: Kind::SealCut, many: false }),
    ("INTO app.merchant_months", Lock { kind: Kind::Lines, many: true }),
    ("INTO app.member_months", Lock { kind: Kind::Lines, many: true }),
    ("INTO app.job_runs", Lock { kind: Kind::JobRun, many: false }),
];

/// Tables that only grants, upgrades and the end of all lock, which are a superuser's.
const OF_SUPERUSERS: &[&str] = &["sec.api_grants", "app.settings", "app.external_orders", "app.transactions"];

/// The functions that SQL declares: of those of the library the symbol, of the others what they do.
pub struct Declared {
    pub symbols: BTreeMap<String, String>,
    bodies: BTreeMap<String, String>,
}

impl Declared {
    pub fn read() -> Declared {
        let mut declared = Declared { symbols: BTreeMap::new(), bodies: BTreeMap::new() };
        let is_source = |file: &String| !file.starts_with("sql/released/") && !file.starts_with("sql/mps--");
        for file in files("sql", &[".sql"]).into_iter().filter(is_source) {
            let text = text(&file);
            for part in text.split("\nCREATE ").skip(1) {
                // A procedure commits on its way: its batches are what has locks at once.
                let Some(rest) = part.strip_prefix("FUNCTION ") else { continue };
                let name = rest.split('(').next().expect("a name").to_owned();
                let symbol = rest.split_once("AS 'MODULE_PATHNAME', '").and_then(|(_, s)| s.split('\'').next());
                // Up to its comment: the body, which other functions are named in, too.
                let body = rest.split("\nCOMMENT ON").next().expect("a body");
                let body =
                    body.lines().filter(|line| !line.trim_start().starts_with("--")).collect::<Vec<_>>().join("\n");
                match symbol {
                    Some(symbol) => declared.symbols.insert(name, symbol.trim_end_matches("_wrapper").to_owned()),
                    None => declared.bodies.insert(name, body),
                };
            }
        }
        declared
    }

    /// What a function of SQL locks; `None` where there is none of that name.
    pub fn locks(&self, name: &str) -> Option<Vec<Lock>> {
        let mut locks = vec![];
        self.walk(name, &mut vec![], &mut locks)?;
        locks.dedup();
        Some(locks)
    }

    fn walk(&self, name: &str, within: &mut Vec<String>, locks: &mut Vec<Lock>) -> Option<()> {
        let body = self.bodies.get(name)?;
        if within.iter().any(|w| w == name) {
            return Some(());
        }
        within.push(name.to_owned());
        for (at, _) in body.char_indices().skip(name.len() + 1) {
            let rest = &body[at..];
            locks.extend(OF_TEXTS.iter().filter(|(text, _)| rest.starts_with(text)).map(|(_, lock)| *lock));
            if ["sec.", "app.", "audit."].iter().any(|schema| rest.starts_with(schema)) {
                let called = rest.split('(').next().expect("a name");
                self.walk(called, within, locks);
            }
        }
        within.pop();
        Some(())
    }

    /// Tables that are locked somewhere and that are in neither list.
    pub fn unknown_tables(&self) -> Vec<String> {
        let known = |table: &&str| {
            OF_TEXTS.iter().any(|(text, _)| *text == format!("LOCK TABLE {table}")) || OF_SUPERUSERS.contains(table)
        };
        let tables = self.bodies.values().flat_map(|body| body.split("LOCK TABLE ").skip(1));
        let named = tables
            .filter_map(|rest| rest.split([' ', ';', '\'']).next())
            .filter(|t| t.contains('.') && !t.contains('%'));
        named.filter(|table| !known(table)).map(String::from).collect()
    }
}
