//! Through the bodies of functions in the order in which they run: branches, loops, closures where they are called, what comes back with
//! `None`. What is locked on the way is put together in [`Locks`].

use crate::leaves::Takes::{Many, Nothing, One};
use crate::leaves::{Kind, Lock, WRITES_OR_NONE};
use crate::names::{Type, called_in, expressions};
use crate::sources::{Locks, Sources, longer, with};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use syn::visit::{self, Visit};

/// A local name: the closure that it stands for, if any, and its type.
#[derive(Clone)]
pub struct Local {
    pub closure: Option<Rc<Closure>>,
    pub of: Type,
    /// A parameter of the function that is read: who calls it may give a closure that is not known here.
    pub is_given: bool,
}

impl Default for Local {
    fn default() -> Local {
        Local { closure: None, of: Type::Unknown, is_given: false }
    }
}

#[derive(Clone, Default)]
pub struct Env(pub BTreeMap<String, Local>);

impl Env {
    fn closure(&self, expression: &syn::Expr) -> Option<Rc<Closure>> {
        let syn::Expr::Path(path) = expression else { return None };
        self.0.get(&path.path.get_ident()?.to_string())?.closure.clone()
    }
}

/// What is called by a local name: a closure, with where it stands; or functions that were given by their names.
pub enum Closure {
    Body(Box<Standing>),
    Functions(Vec<usize>),
}

pub struct Standing {
    pub closure: syn::ExprClosure,
    pub module: String,
    pub path: String,
    pub of: Option<Type>,
    pub words: BTreeSet<String>,
    pub env: Env,
}

/// The function whose text it is.
#[derive(Clone, Copy)]
pub struct Home<'a> {
    pub module: &'a str,
    pub path: &'a str,
    pub of: Option<&'a Type>,
    pub words: &'a BTreeSet<String>,
}

pub struct InBody<'s, 'a> {
    pub sources: &'s Sources,
    pub found: Locks,
    /// The ways that have left it.
    pub left: Vec<(Answer, BTreeSet<Vec<Lock>>)>,
    pub within: &'a mut Vec<usize>,
    pub home: Home<'a>,
    pub env: Env,
    pub loops: usize,
    /// Whether `?` comes back with `None`.
    pub returns_option: bool,
}

/// What a function comes back with, as far as it says so where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Something,
    Nothing,
    Unknown,
}

impl Answer {
    fn of(expression: &syn::Expr) -> Answer {
        match expression {
            syn::Expr::Paren(of) => Answer::of(&of.expr),
            syn::Expr::Path(path) if path.path.is_ident("None") => Answer::Nothing,
            syn::Expr::Call(call) => match &*call.func {
                syn::Expr::Path(path) if path.path.is_ident("Some") => Answer::Something,
                syn::Expr::Path(path) if path.path.is_ident("Ok") => {
                    call.args.first().map_or(Answer::Unknown, Answer::of)
                }
                _ => Answer::Unknown,
            },
            _ => Answer::Unknown,
        }
    }
}

type Arguments = syn::punctuated::Punctuated<syn::Expr, syn::Token![,]>;

impl InBody<'_, '_> {
    pub fn problem(&mut self, what: impl std::fmt::Display) {
        self.found.problems.insert(format!("{}: {what}", self.home.path));
    }

    /// Arguments are evaluated before the call; those that are closures, or functions by their names, are for who is called.
    fn arguments(&mut self, arguments: &Arguments) -> Vec<(usize, Rc<Closure>)> {
        let mut closures = vec![];
        for (at, argument) in arguments.iter().enumerate() {
            match self.closure(argument) {
                Some(closure) => closures.push((at, closure)),
                None => self.visit_expr(argument),
            }
        }
        closures
    }

    fn closure(&self, argument: &syn::Expr) -> Option<Rc<Closure>> {
        match argument {
            syn::Expr::Reference(of) => self.closure(&of.expr),
            syn::Expr::Paren(of) => self.closure(&of.expr),
            syn::Expr::Closure(closure) => {
                let (module, path, of) =
                    (self.home.module.to_owned(), self.home.path.to_owned(), self.home.of.cloned());
                let (words, env) = (self.home.words.clone(), self.env.clone());
                let closure = closure.clone();
                Some(Rc::new(Closure::Body(Box::new(Standing { closure, module, path, of, words, env }))))
            }
            syn::Expr::Path(path) => match path.path.get_ident().and_then(|name| self.env.0.get(&name.to_string())) {
                Some(local) => local.closure.clone(),
                None => {
                    let functions = self.functions(path);
                    (!functions.is_empty()).then(|| Rc::new(Closure::Functions(functions)))
                }
            },
            _ => None,
        }
    }

    /// The functions that a path may mean.
    fn functions(&self, path: &syn::ExprPath) -> Vec<usize> {
        let names = &self.sources.names;
        let name = path.path.segments.last().expect("a name").ident.to_string();
        let meaning = names.meaning(self.home.module, &path.path, self.home.of);
        let is_default = meaning.function.is_some_and(|at| names.functions[at].is_default());
        if is_default {
            return names.named(&name).into_iter().filter(|at| names.functions[*at].of.is_some()).collect();
        }
        if path.qself.is_none() && (meaning.function.is_some() || meaning.is_foreign || meaning.is_other) {
            return meaning.function.into_iter().collect();
        }
        // Of a type that is not known here: a generic one, or a trait's.
        let is_of_a_type = path.qself.is_some() || path.path.segments.len() > 1;
        let methods = names.named(&name).into_iter().filter(|at| names.functions[*at].of.is_some());
        if is_of_a_type && !meaning.is_foreign { methods.collect() } else { vec![] }
    }

    /// What comes of a call to one of these functions: those that lock are ways, the others one together.
    fn call(&mut self, functions: &[usize], closures: &[(usize, Rc<Closure>)], by_path: bool) {
        let before = self.found.ways.clone();
        let mut after = BTreeSet::new();
        let mut others = functions.is_empty();
        for at in functions {
            let function = &self.sources.names.functions[*at];
            self.found.ways = before.clone();
            if function.is_of_engine() {
                others = true;
                continue;
            }
            // Where one alone can be meant it is that; else the others make no difference.
            if functions.len() > 1 && closures.is_empty() && !self.sources.takes_locks(*at) {
                self.found.reached.insert(function.path.clone());
                others = true;
                continue;
            }
            self.call_one(*at, closures, by_path);
            after.append(&mut self.found.ways);
        }
        self.found.ways = before;
        if others {
            closures.iter().for_each(|(_, closure)| self.run(closure, &[]));
            after.append(&mut self.found.ways);
        }
        self.found.ways = after;
    }

    fn call_one(&mut self, at: usize, closures: &[(usize, Rc<Closure>)], by_path: bool) {
        let function = &self.sources.names.functions[at];
        self.lock(&function.path);
        // And what a leaf calls beside.
        let found = self.locks_of(at, closures, by_path);
        self.found.and_then(&found);
    }

    fn locks_of(&mut self, at: usize, closures: &[(usize, Rc<Closure>)], by_path: bool) -> Rc<Locks> {
        if closures.is_empty() {
            return self.sources.of_function(at, self.loops > 0, self.within);
        }
        let function = &self.sources.names.functions[at];
        let skipped = usize::from(by_path && function.takes_self);
        let mut env = Env::default();
        for (at, closure) in closures {
            if let Some((name, _)) = at.checked_sub(skipped).and_then(|at| function.parameters.get(at)) {
                env.0.insert(name.clone(), Local { closure: Some(closure.clone()), ..Local::default() });
            }
        }
        Rc::new(self.sources.walk(at, env, self.loops > 0, self.within))
    }

    /// With the function that calls, whose words say whose order ids are meant.
    fn lock(&mut self, path: &str) {
        let Some(takes) = self.sources.leaves.get(path) else { return };
        self.found.reached.insert(path.to_owned());
        let is_trade = self.home.words.contains("gateway_trade");
        let lock = match takes {
            One(Kind::Order) if is_trade && path.ends_with("repoint_order") => {
                Lock { kind: Kind::TradeRow, many: false }
            }
            One(Kind::Order) if is_trade => Lock { kind: Kind::Trade, many: false },
            // One order id, tried again.
            One(kind @ (Kind::Order | Kind::Key)) => Lock { kind: *kind, many: false },
            One(kind) => Lock { kind: *kind, many: self.loops > 0 && !kind.is_one() },
            Many(kind) => Lock { kind: *kind, many: true },
            Nothing(_) => return,
        };
        if lock.many && self.loops > 0 {
            self.found.looping.insert(self.home.path.to_owned());
        }
        self.found.ways = std::mem::take(&mut self.found.ways).into_iter().map(|way| with(way, lock)).collect();
    }

    fn run(&mut self, closure: &Closure, arguments: &[(usize, Rc<Closure>)]) {
        match closure {
            Closure::Functions(functions) => self.call(functions, arguments, true),
            Closure::Body(standing) => {
                let Standing { closure, module, path, of, words, env } = &**standing;
                let found = std::mem::take(&mut self.found);
                let home = Home { module, path, of: of.as_ref(), words };
                let (sources, loops) = (self.sources, self.loops);
                let (within, env, returns_option) = (&mut *self.within, env.clone(), false);
                let mut inside = InBody { sources, found, left: vec![], within, home, env, loops, returns_option };
                inside.bind_parameters(closure, arguments);
                inside.until_it_returns(|inside| inside.visit_expr(&closure.body));
                self.found = inside.found;
            }
        }
    }

    fn bind_parameters(&mut self, closure: &syn::ExprClosure, arguments: &[(usize, Rc<Closure>)]) {
        for (at, parameter) in closure.inputs.iter().enumerate() {
            self.bind(parameter, Type::Unknown);
            let given = arguments.iter().find(|(place, _)| *place == at).map(|(_, closure)| closure.clone());
            if let (Some(given), syn::Pat::Ident(name)) = (given, parameter) {
                self.env.0.entry(name.ident.to_string()).or_default().closure = Some(given);
            }
        }
    }

    /// Whether it locks, wherever it may be called.
    fn closure_locks(&mut self, closure: &Closure) -> bool {
        let before = std::mem::replace(&mut self.found, Locks::nothing());
        self.run(closure, &[]);
        let found = std::mem::replace(&mut self.found, before);
        !found.is_nothing()
    }

    /// A closure, or a function by its name, that is kept for somebody who is not seen here.
    fn keep(&mut self, closure: &Closure) {
        if self.closure_locks(closure) {
            self.problem("keeps a closure or a function that locks: who calls it is not followed. Call it here, or give it as an argument");
        }
    }

    /// What no expressions can be made of.
    fn tokens(&mut self, given: &syn::Macro) {
        for word in called_in(given.tokens.clone()).iter().filter(|word| self.sources.any_takes_locks(word)) {
            self.problem(format!("{word}, which locks, stands in a macro whose arguments are no expressions"));
        }
    }

    pub fn until_it_returns(&mut self, visit: impl FnOnce(&mut Self)) {
        visit(self);
        self.leave(Answer::Unknown);
        for (answer, ways) in std::mem::take(&mut self.left) {
            if answer != Answer::Nothing {
                self.found.some.extend(ways.iter().cloned());
            }
            if answer != Answer::Something {
                self.found.none.extend(ways.iter().cloned());
            }
            self.found.ways.extend(ways);
        }
    }

    fn leave(&mut self, answer: Answer) {
        let ways = std::mem::take(&mut self.found.ways);
        self.left.push((answer, ways));
    }

    /// Goes into an expression; the last one of a function leaves it, each branch by itself.
    fn expression(&mut self, expression: &syn::Expr, is_last: bool) {
        match expression {
            syn::Expr::If(it) => self.branch(it, is_last),
            syn::Expr::Match(it) => self.arms(it, is_last),
            syn::Expr::Block(it) => self.block(&it.block, is_last),
            _ => {
                self.visit_expr(expression);
                if is_last {
                    self.leave(Answer::of(expression));
                }
            }
        }
    }

    pub fn block(&mut self, block: &syn::Block, is_last: bool) {
        let env = self.env.clone();
        let end = block.stmts.len().saturating_sub(1);
        for (at, statement) in block.stmts.iter().enumerate() {
            match statement {
                syn::Stmt::Expr(expression, None) => self.expression(expression, is_last && at == end),
                _ => self.visit_stmt(statement),
            }
        }
        self.env = env;
    }

    /// Goes into an expression of which it matters whether there is something: the ways where there is are gone on with, the others
    /// come back.
    fn something(&mut self, expression: &syn::Expr) -> BTreeSet<Vec<Lock>> {
        let called = match expression {
            // Of a `Result`: of an `Option` it would be the answer.
            syn::Expr::Try(of) if !self.returns_option => &*of.expr,
            other => other,
        };
        let (functions, arguments, by_path) = match called {
            syn::Expr::Call(call) => match &*call.func {
                syn::Expr::Path(path) if self.is_unknown_local(path).is_none() => {
                    (self.functions(path), &call.args, true)
                }
                _ => (vec![], &call.args, true),
            },
            syn::Expr::MethodCall(call) => {
                let of = self.type_of(&call.receiver);
                (self.sources.names.methods(&of, &call.method.to_string()), &call.args, false)
            }
            _ => {
                self.visit_expr(expression);
                return self.found.ways.clone();
            }
        };
        let is_leaf = |at: usize| self.sources.leaves.contains_key(self.sources.names.functions[at].path.as_str());
        match functions[..] {
            [at] if !self.sources.names.functions[at].is_of_engine() && !is_leaf(at) => {
                if let syn::Expr::MethodCall(call) = called {
                    self.visit_expr(&call.receiver);
                }
                let closures = self.arguments(arguments);
                let before = self.found.ways.clone();
                let found = self.locks_of(at, &closures, by_path);
                self.found.note(&found);
                self.found.ways = longer(&before, &found.some);
                longer(&before, &found.none)
            }
            _ => {
                self.visit_expr(expression);
                self.found.ways.clone()
            }
        }
    }

    /// Goes into a condition; the ways where it does not hold come back.
    fn condition(&mut self, condition: &syn::Expr) -> BTreeSet<Vec<Lock>> {
        match condition {
            syn::Expr::Binary(both) if matches!(both.op, syn::BinOp::And(_)) => {
                let mut not = self.condition(&both.left);
                not.append(&mut self.condition(&both.right));
                not
            }
            syn::Expr::Let(it) if is_some(&it.pat) => {
                let not = self.something(&it.expr);
                let of = self.type_of(&it.expr);
                self.bind(&it.pat, of);
                not
            }
            _ => {
                self.visit_expr(condition);
                self.found.ways.clone()
            }
        }
    }

    fn branch(&mut self, it: &syn::ExprIf, is_last: bool) {
        let env = self.env.clone();
        let not = self.condition(&it.cond);
        self.block(&it.then_branch, is_last);
        self.env = env;
        let mut then = std::mem::replace(&mut self.found.ways, not);
        if let Some((_, otherwise)) = &it.else_branch {
            self.expression(otherwise, is_last);
        }
        self.found.ways.append(&mut then);
    }

    fn arms(&mut self, it: &syn::ExprMatch, is_last: bool) {
        let before = self.found.ways.clone();
        let asks = it.arms.iter().any(|arm| is_some(&arm.pat)) && it.arms.iter().any(|arm| is_none(&arm.pat));
        let none = if asks { self.something(&it.expr) } else { BTreeSet::new() };
        if !asks {
            self.visit_expr(&it.expr);
        }
        let after = self.found.ways.clone();
        let of = self.type_of(&it.expr);
        let wrote_nothing = called(&it.expr).is_some_and(|name| WRITES_OR_NONE.contains(&name.as_str()));
        let (mut ended, env) = (BTreeSet::new(), self.env.clone());
        for arm in &it.arms {
            let ways = match is_none(&arm.pat) {
                true if wrote_nothing => &before,
                true if asks => &none,
                _ => &after,
            };
            (self.found.ways, self.env) = (ways.clone(), env.clone());
            self.bind(&arm.pat, of.clone());
            if let Some((_, condition)) = &arm.guard {
                self.visit_expr(condition);
            }
            self.expression(&arm.body, is_last);
            ended.append(&mut self.found.ways);
        }
        (self.found.ways, self.env) = (ended, env);
    }

    /// Names that a pattern gives to a value of this type.
    fn bind(&mut self, pattern: &syn::Pat, of: Type) {
        match pattern {
            syn::Pat::Ident(name) => {
                // `None` and constants are no names of anything new.
                if !name.ident.to_string().starts_with(char::is_uppercase) {
                    self.env.0.insert(name.ident.to_string(), Local { of, ..Local::default() });
                }
                if let Some((_, pattern)) = &name.subpat {
                    self.bind(pattern, Type::Unknown);
                }
            }
            syn::Pat::Type(typed) => {
                let generics = BTreeSet::new();
                let of = self.sources.names.type_of(self.home.module, &typed.ty, &generics, self.home.of);
                self.bind(&typed.pat, of);
            }
            syn::Pat::Reference(of_it) => self.bind(&of_it.pat, of),
            syn::Pat::Paren(of_it) => self.bind(&of_it.pat, of),
            syn::Pat::TupleStruct(parts) => {
                let is_one = ["Some", "Ok"].iter().any(|name| parts.path.is_ident(name));
                let inner = if is_one { of.inner() } else { Type::Unknown };
                parts.elems.iter().for_each(|part| self.bind(part, inner.clone()));
            }
            syn::Pat::Tuple(parts) => parts.elems.iter().for_each(|part| self.bind(part, Type::Unknown)),
            syn::Pat::Slice(parts) => parts.elems.iter().for_each(|part| self.bind(part, of.inner())),
            syn::Pat::Struct(parts) => parts.fields.iter().for_each(|part| self.bind(&part.pat, Type::Unknown)),
            syn::Pat::Or(parts) => parts.cases.iter().for_each(|part| self.bind(part, Type::Unknown)),
            _ => {}
        }
    }

    /// The type of an expression, as far as it can be told.
    fn type_of(&self, expression: &syn::Expr) -> Type {
        let names = &self.sources.names;
        match expression {
            syn::Expr::Reference(of) => self.type_of(&of.expr),
            syn::Expr::Paren(of) => self.type_of(&of.expr),
            syn::Expr::Unary(of) if matches!(of.op, syn::UnOp::Deref(_)) => self.type_of(&of.expr),
            syn::Expr::Try(of) => self.type_of(&of.expr).inner(),
            syn::Expr::Field(field) => {
                let name = match &field.member {
                    syn::Member::Named(name) => name.to_string(),
                    syn::Member::Unnamed(at) => at.index.to_string(),
                };
                names.field(&self.type_of(&field.base), &name)
            }
            syn::Expr::Path(path) => match path.path.get_ident().map(ToString::to_string) {
                Some(name) if name == "self" => self.home.of.cloned().unwrap_or(Type::Unknown),
                Some(name) => self.env.0.get(&name).map_or(Type::Unknown, |local| local.of.clone()),
                None => Type::Unknown,
            },
            syn::Expr::Struct(of) => {
                let meaning = names.meaning(self.home.module, &of.path, self.home.of);
                meaning.of_type.map_or(Type::Unknown, Type::Ours)
            }
            syn::Expr::Lit(_) => Type::Foreign,
            syn::Expr::Call(call) => match &*call.func {
                syn::Expr::Path(path) => match self.functions(path)[..] {
                    [function] => names.functions[function].returns.clone(),
                    _ => Type::Unknown,
                },
                _ => Type::Unknown,
            },
            syn::Expr::MethodCall(call) => {
                let (of, name) = (self.type_of(&call.receiver), call.method.to_string());
                match (&of, name.as_str()) {
                    (
                        Type::Maybe(inner),
                        "unwrap" | "expect" | "unwrap_or" | "unwrap_or_default" | "unwrap_or_else",
                    ) => (**inner).clone(),
                    (
                        Type::Maybe(_),
                        "ok_or" | "ok_or_else" | "map_err" | "filter" | "as_ref" | "as_mut" | "take" | "ok" | "or_else",
                    ) => of,
                    (Type::Maybe(_), "map" | "and_then" | "copied" | "cloned" | "transpose" | "zip") => {
                        Type::Maybe(Box::new(Type::Unknown))
                    }
                    (_, "clone" | "borrow" | "as_ref" | "as_mut" | "to_owned") => of,
                    _ => match names.methods(&of, &name)[..] {
                        [function] if matches!(of, Type::Ours(_)) => names.functions[function].returns.clone(),
                        _ => Type::Unknown,
                    },
                }
            }
            _ => Type::Unknown,
        }
    }

    /// Whether a method of the language calls its closure for each of many.
    fn is_for_each(&self, call: &syn::ExprMethodCall) -> bool {
        const CHAINED: [&str; 9] =
            ["iter", "iter_mut", "into_iter", "drain", "chars", "bytes", "split", "lines", "windows"];
        let mut from = &*call.receiver;
        let mut is_many = false;
        loop {
            match from {
                syn::Expr::MethodCall(call) => {
                    is_many |= CHAINED.iter().any(|name| call.method == name);
                    from = &call.receiver;
                    // `maybe.into_iter().for_each()`
                    if is_many && matches!(self.type_of(from), Type::Maybe(_)) {
                        return false;
                    }
                }
                syn::Expr::Paren(of) => from = &of.expr,
                syn::Expr::Reference(of) => from = &of.expr,
                syn::Expr::Range(_) => return true,
                _ => return is_many,
            }
        }
    }

    fn twice(&mut self, body: impl Fn(&mut Self)) {
        self.loops += 1;
        body(self);
        // What comes in the second round after what came last in the first.
        body(self);
        self.loops -= 1;
    }

    /// The name of what a local name is called as, where no closure is known for it.
    fn is_unknown_local(&self, path: &syn::ExprPath) -> Option<(String, bool)> {
        let name = path.path.get_ident()?.to_string();
        let local = self.env.0.get(&name)?;
        Some((name, local.is_given))
    }

    fn call_path(&mut self, path: &syn::ExprPath, arguments: &Arguments) {
        let closures = self.arguments(arguments);
        if let Some(closure) = self.env.closure(&syn::Expr::Path(path.clone())) {
            return self.run(&closure, &closures);
        }
        if let Some((name, is_given)) = self.is_unknown_local(path) {
            let what = format!("{}: calls {name}, and the reader does not know what that is", self.home.path);
            _ = if is_given { self.found.unseen.insert(what) } else { self.found.problems.insert(what) };
            return closures.iter().for_each(|(_, closure)| self.run(closure, &[]));
        }
        let functions = self.functions(path);
        let name = path.path.segments.last().expect("a name").ident.to_string();
        let meaning = self.sources.names.meaning(self.home.module, &path.path, self.home.of);
        let is_found = !functions.is_empty() || meaning.is_foreign || meaning.is_other || meaning.of_type.is_some();
        if !is_found && self.sources.is_a_name(&name) {
            let segments: Vec<String> = path.path.segments.iter().map(|s| s.ident.to_string()).collect();
            self.problem(format!(
                "calls {}, which cannot be found, and src/ has a function of that name",
                segments.join("::")
            ));
        }
        self.call(&functions, &closures, true);
    }
}

impl<'ast> Visit<'ast> for InBody<'_, '_> {
    fn visit_block(&mut self, block: &'ast syn::Block) {
        self.block(block, false);
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        let Some(begins) = &local.init else { return self.bind(&local.pat, Type::Unknown) };
        let named = if let syn::Pat::Ident(name) = &local.pat { Some(name.ident.to_string()) } else { None };
        if let (Some(name), Some(closure)) = (named, self.closure(&begins.expr)) {
            self.env.0.insert(name, Local { closure: Some(closure), ..Local::default() });
            return;
        }
        match &begins.diverge {
            Some((_, otherwise)) => {
                let mut none = self.found.ways.clone();
                match is_some(&local.pat) {
                    true => none = self.something(&begins.expr),
                    false => {
                        self.visit_expr(&begins.expr);
                        none.clone_from(&self.found.ways);
                    }
                }
                let there = std::mem::replace(&mut self.found.ways, none);
                self.visit_expr(otherwise);
                // It has left by then, or goes on with the next round of a loop.
                self.found.ways.extend(there);
            }
            None => self.visit_expr(&begins.expr),
        }
        let of = self.type_of(&begins.expr);
        self.bind(&local.pat, of);
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        match &*call.func {
            syn::Expr::Path(path) => self.call_path(path, &call.args),
            function => {
                let closures = self.arguments(&call.args);
                match self.closure(function) {
                    Some(closure) => self.run(&closure, &closures),
                    None => {
                        self.visit_expr(function);
                        closures.iter().for_each(|(_, closure)| self.run(closure, &[]));
                    }
                }
            }
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.visit_expr(&call.receiver);
        let name = call.method.to_string();
        let of = self.type_of(&call.receiver);
        let functions = self.sources.names.methods(&of, &name);
        let closures = self.arguments(&call.args);
        if functions.is_empty() && self.is_for_each(call) {
            return self.twice(|body| body.call(&[], &closures, false));
        }
        self.call(&functions, &closures, false);
    }

    fn visit_expr_match(&mut self, it: &'ast syn::ExprMatch) {
        self.arms(it, false);
    }

    fn visit_expr_let(&mut self, it: &'ast syn::ExprLet) {
        self.visit_expr(&it.expr);
        let of = self.type_of(&it.expr);
        self.bind(&it.pat, of);
    }

    fn visit_expr_if(&mut self, it: &'ast syn::ExprIf) {
        self.branch(it, false);
    }

    fn visit_expr_return(&mut self, it: &'ast syn::ExprReturn) {
        visit::visit_expr_return(self, it);
        self.leave(it.expr.as_deref().map_or(Answer::Unknown, Answer::of));
    }

    fn visit_expr_try(&mut self, it: &'ast syn::ExprTry) {
        self.visit_expr(&it.expr);
        // Of an `Option`: that is an answer. After an error nothing more is locked.
        if self.returns_option {
            let ways = self.found.ways.clone();
            self.left.push((Answer::Nothing, ways));
        }
    }

    fn visit_expr_for_loop(&mut self, it: &'ast syn::ExprForLoop) {
        self.visit_expr(&it.expr);
        let (env, of) = (self.env.clone(), self.type_of(&it.expr).inner());
        self.bind(&it.pat, of);
        self.twice(|body| body.visit_block(&it.body));
        self.env = env;
    }

    fn visit_expr_while(&mut self, it: &'ast syn::ExprWhile) {
        let env = self.env.clone();
        self.twice(|body| {
            body.visit_expr(&it.cond);
            body.visit_block(&it.body);
        });
        self.env = env;
    }

    fn visit_expr_loop(&mut self, it: &'ast syn::ExprLoop) {
        self.twice(|body| body.visit_block(&it.body));
    }

    /// One that is neither an argument nor named.
    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        if let Some(closure) = self.closure(&syn::Expr::Closure(closure.clone())) {
            self.keep(&closure);
        }
    }

    /// A name that is no call.
    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        if let Some(closure) = self.closure(&syn::Expr::Path(path.clone())) {
            self.keep(&closure);
        }
    }

    fn visit_macro(&mut self, given: &'ast syn::Macro) {
        if let Some(listed) = expressions(given) {
            return listed.iter().for_each(|expression| self.visit_expr(expression));
        }
        self.tokens(given);
    }

    fn visit_item(&mut self, item: &'ast syn::Item) {
        match item {
            syn::Item::Fn(_) | syn::Item::Impl(_) => {
                self.problem("declares a function within a function, which is not followed");
            }
            syn::Item::Macro(item) => self.tokens(&item.mac),
            _ => visit::visit_item(self, item),
        }
    }
}

fn is_some(pattern: &syn::Pat) -> bool {
    matches!(pattern, syn::Pat::TupleStruct(parts) if parts.path.is_ident("Some"))
}

fn is_none(pattern: &syn::Pat) -> bool {
    matches!(pattern, syn::Pat::Ident(name) if name.ident == "None")
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
