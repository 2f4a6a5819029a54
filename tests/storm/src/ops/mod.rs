//! The clients and what they do. Each operation draws from a stream of its own, seeded by (seed, client, number of the
//! operation): with the same seed a client plans the same operations with the same numbers, whatever became of the ones
//! before. How the clients interleave is the machine's.

mod bills;
mod coupons;
mod look;
mod money;
mod races;
mod state;
mod withdrawals;

use crate::db::{Asked, Isolation, Link, Refusal, Who};
use crate::model::{Account, CardKind, Numbered};
use crate::request::{Answer, Code, Request, What};
use crate::world::{Own, Payment, Waiting, World, pool};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use uuid::Uuid;

/// Operations and how often each is drawn. The names are those of the summary.
type Operation = fn(&mut Client);
const OPERATIONS: &[(u32, Operation)] = &[
    (300, money::charge),
    (140, money::recharge),
    (70, money::ask_recharge),
    (60, races::settle_recharge),
    (20, races::resolve_suspense),
    (12, bills::a_bill),
    (120, money::refund),
    (60, races::refunds_at_once),
    (40, money::cancel),
    (30, races::cancelled_at_once),
    (90, money::replay),
    (60, money::replay_changed),
    (40, races::same_request_twice),
    (30, races::one_code_twice),
    (10, races::one_order_two_recharges),
    (10, races::close_against_recharge),
    (10, races::recharge_outlives_cards),
    (40, money::points),
    (40, money::compensate),
    (30, withdrawals::withdraw),
    (40, withdrawals::settle),
    (60, coupons::get),
    (10, coupons::revoke),
    (3, coupons::pause),
    (5, coupons::more_budget),
    (20, coupons::one_coupon_twice),
    (20, state::freeze),
    (20, state::own_card_refusals),
    (10, state::replace),
    (20, state::rebind),
    (15, state::suspend),
    (10, state::levels),
    (10, state::campaigns),
    (5, state::rename_campaign),
    (3, state::month),
    (6, state::jobs),
    (3, state::settings),
    (5, state::merchant_pause),
    (5, state::expiry),
    (5, state::staff),
    (2, state::read_only),
    (20, money::recharge_together),
    (150, look::read),
    (20, look::receipt),
];

/// Names of operations in the summary.
pub const CHARGE: &str = "charge";
pub const REFUND: &str = "refund";
pub const CANCEL: &str = "cancel";
pub const RECHARGE: &str = "recharge";
pub const COMPENSATE: &str = "compensate";
pub const POINTS: &str = "points";
pub const WITHDRAW: &str = "withdraw";

pub struct Client<'w> {
    world: &'w World,
    no: usize,
    step: u64,
    /// Keys made up in this step.
    keys: u32,
    rng: StdRng,
    /// Two connections: some operations race against themselves.
    a: Link<'w>,
    b: Link<'w>,
    own: &'w Own,
    /// What is certainly on the own card, in cents; refunds by others come on top.
    own_funds: i64,
}

impl<'w> Client<'w> {
    pub fn new(world: &'w World, no: usize) -> Client<'w> {
        use Isolation::{ReadCommitted, RepeatableRead, Serializable};
        // Most callers are READ COMMITTED; the stricter ones share the cards with them.
        let (a, b) = match no % 8 {
            3 => (RepeatableRead, ReadCommitted),
            5 => (ReadCommitted, RepeatableRead),
            7 => (Serializable, Serializable),
            _ => (ReadCommitted, ReadCommitted),
        };
        Client {
            world,
            no,
            step: 0,
            keys: 0,
            rng: StdRng::seed_from_u64(0),
            a: Link::new(&world.server, a),
            b: Link::new(&world.server, b),
            own: &world.own[no],
            own_funds: 0,
        }
    }

    /// Operates until told to stop.
    pub fn run(mut self) {
        let total: u32 = OPERATIONS.iter().map(|(weight, _)| weight).sum();
        while !self.world.stop.load(Ordering::Relaxed) {
            self.step += 1;
            self.keys = 0;
            (self.a.by, self.b.by) = ((self.no, self.step), (self.no, self.step));
            // splitmix64's constant spreads neighbouring numbers.
            let stream = self.world.seed ^ ((self.no as u64) << 48) ^ self.step.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            self.rng = StdRng::seed_from_u64(stream);
            let mut drawn = self.rng.gen_range(0..total);
            let (_, operation) = OPERATIONS
                .iter()
                .find(|(weight, _)| {
                    let here = drawn < *weight;
                    drawn = drawn.saturating_sub(*weight);
                    here
                })
                .expect("the weights add up");
            operation(&mut self);
        }
    }

    fn by(&self) -> String {
        format!("client {} step {}", self.no, self.step)
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.gen_range(0..100) < percent
    }

    fn below(&mut self, n: usize) -> usize {
        self.rng.gen_range(0..n)
    }

    /// A key or order id that nobody else uses.
    fn name(&mut self, prefix: &str) -> String {
        self.keys += 1;
        format!("{prefix}-{}-{}-{}", self.no, self.step, self.keys)
    }

    /// A key: often in calm weather, always where a request may have to be sent again.
    fn key(&mut self) -> Option<String> {
        let wanted = self.chance(60);
        (wanted || self.world.server.rough).then(|| self.name("key"))
    }

    fn order(&mut self) -> Option<String> {
        self.chance(30).then(|| self.name("order"))
    }

    fn any_account(&mut self) -> Numbered {
        let n = self.below(1000);
        match (self.chance(65), self.chance(50)) {
            (true, true) => self.world.hot_personal(n),
            (true, false) => self.world.hot_enterprise(n),
            (false, true) => self.world.cold_personal(n),
            (false, false) => self.world.cold_enterprise(n),
        }
    }

    fn any_personal(&mut self) -> Numbered {
        let n = self.below(1000);
        if self.chance(50) { self.world.hot_personal(n) } else { self.world.cold_personal(n) }
    }

    fn any_merchant(&mut self) -> usize {
        self.below(self.world.merchants.len())
    }

    /// An operator of the merchant, or the shop's server.
    fn till(&mut self, merchant: usize) -> Who {
        if self.chance(70) { Who::User(self.world.merchants[merchant].operator) } else { Who::Backend }
    }

    fn any_payment(&mut self, newest: usize) -> Option<Payment> {
        let pick = self.rng.r#gen::<u32>() as usize;
        let payments = self.world.payments.lock().expect("not poisoned");
        let n = payments.len().min(newest);
        (n > 0).then(|| payments[payments.len() - 1 - pick % n].clone())
    }

    /// One of the newest payments of 0.00.
    fn any_free(&mut self) -> Option<Payment> {
        let pick = self.below(1_000);
        let free = self.world.free.lock().expect("not poisoned");
        let n = free.len().min(100);
        (n > 0).then(|| free[free.len() - 1 - pick % n].clone())
    }

    /// A new pay code of a card.
    fn rotate(&mut self, account: &Account, member: Uuid, allowed: &[&str]) -> Option<Code> {
        const ROTATE: &str = "SELECT qr_plain FROM app.rotate_card_qr($1, $2, $3)";
        let who = if self.chance(50) { Who::User(member) } else { Who::Backend };
        let named = (who == Who::Backend && account.kind == CardKind::Enterprise).then_some(member);
        let card = account.card();
        let asked = self.a.ask(who, ROTATE, &[&card, &account.kind.label(), &named], |r| r[0].get(0));
        self.a.note_code(&asked, account.kind, (card, member));
        self.expect("rotate", asked, allowed).map(|(plain, _)| Code { plain, card, member })
    }

    /// Counts an answer of something that moves no money; `None` where it was refused.
    fn expect<T>(&self, operation: &'static str, asked: Asked<T>, allowed: &[&str]) -> Option<(T, bool)> {
        match asked.result {
            Ok(value) => {
                self.world.count(operation, "ok");
                Some((value, asked.lost))
            }
            Err(refusal) => {
                self.world.refused(operation, &self.by(), &refusal, allowed);
                None
            }
        }
    }

    /// As [`Client::expect`], for functions that answer whether they changed anything, where it is known that they must.
    /// After a lost connection an earlier sending may have changed it.
    fn must_change(&self, operation: &'static str, asked: Asked<bool>) {
        if let Some((changed, lost)) = self.expect(operation, asked, &[])
            && !changed
            && !lost
        {
            self.world.wrong(format!("{}: {operation} changed nothing", self.by()));
        }
    }

    /// Sends a new request and enters its answer.
    fn request(&mut self, operation: &'static str, request: &Request, allowed: &[&str]) -> Option<Answer> {
        let asked = request.send(self.world, &mut self.a);
        enter(self.world, operation, request, asked, allowed)
    }

    /// Requires that exactly this refusal came.
    fn must_refuse<T>(&self, operation: &'static str, result: &Result<T, Refusal>, tokens: &[&str]) {
        match result {
            Ok(_) => {
                self.world.count(operation, "ok");
                self.world.wrong(format!("{}: {operation} was done where {tokens:?} was due", self.by()));
            }
            Err(refusal) => self.world.refused(operation, &self.by(), refusal, tokens),
        }
    }
}

/// Enters what a request was answered: in the tally, in the books, in the pools. The answer, where it was a yes.
fn enter(
    world: &World,
    operation: &'static str,
    request: &Request,
    asked: Asked<Answer>,
    allowed: &[&str],
) -> Option<Answer> {
    let answer = match asked.result {
        Ok(answer) => answer,
        Err(refusal) => {
            world.refused(operation, &request.to_string(), &refusal, allowed);
            return None;
        }
    };
    world.count(operation, if answer.replayed { "replayed" } else { "ok" });
    if matches!(request.what, What::Cancel { .. }) && answer.paid == 0 && !answer.replayed {
        world.count(CANCEL, "ok, of 0.00");
    }
    let is_new = {
        let mut books = world.books();
        let known = books.facts.contains_key(&answer.id);
        books.enter(&answer.id, request.fact(&answer, asked.lost));
        !known
    };
    if matches!(request.what, What::Withdraw { .. }) {
        withdrawals::enter_refunds(world, request, &answer);
    }
    if answer.status == "cancelled" && answer.paid > 0 {
        world.wrong(format!("{request} paid {}, and is cancelled", answer.paid));
    }
    if let What::Cancel { original, .. } = &request.what
        && answer.said.split('|').next() != Some(original)
    {
        world.wrong(format!("{request} was answered {}", answer.said));
    }
    if is_new {
        if request.is_repeatable() {
            pool(&world.done, Arc::new((request.clone(), answer.clone())));
        }
        // A correction could empty a client's own card behind its back.
        let is_own = world.own.iter().any(|own| own.account.0 == request.account.0);
        if !is_own && !matches!(request.what, What::Points { .. }) {
            pool(&world.correctable, (answer.id.clone(), request.account.clone()));
        }
        if let What::Charge { merchant, .. } = request.what {
            let payment = Payment {
                tx_no: answer.id.clone(),
                merchant,
                paid: answer.paid,
                account: request.account.clone(),
                order: request.order.clone(),
            };
            // What a coupon paid all of has no amount to give back.
            pool(if answer.paid > 0 { &world.payments } else { &world.free }, payment);
        }
        if let What::Recharge { .. } = request.what
            && answer.status == "processing"
        {
            pool(&world.waiting, Waiting { tx_no: answer.id.clone(), amount: answer.paid });
        }
    }
    Some(answer)
}

/// Lets two connections do something at the same moment.
fn at_once<A, B: Send>(
    a: &mut Link,
    b: &mut Link,
    first: impl FnOnce(&mut Link) -> A,
    second: impl FnOnce(&mut Link) -> B + Send,
) -> (A, B) {
    let gate = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            gate.wait();
            second(b)
        });
        gate.wait();
        let one = first(a);
        (one, other.join().expect("does not panic"))
    })
}
