//! One call of an RPC: who calls, when, under which settings; what it asks again after it has waited.

use crate::engine::cache;
use crate::engine::db::Db;
use crate::engine::server::{self, Raise};
use crate::engine::types::{RawJsonb, Timestamp};
use crate::engine::withheld;
use crate::kernel::audit::{self, Event};
use crate::kernel::caller::{self, Caller};
use crate::kernel::mode;
use crate::kernel::months::{self, Open};
use crate::kernel::settings::{self, Config};
use crate::kernel::{shadows, soundness};
use mps_domain::error::{Error, Result, Token};
use mps_domain::month::Month;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Longer than a call takes that finds its locks free (where it is not, asking once more costs a few microseconds), and too
/// short for anybody to have learnt meanwhile that a merchant was deactivated and count on it.
const WAITED: Duration = Duration::from_millis(1);

/// One call of an RPC: the connection, who calls, when, and under which settings.
pub struct Call<'a> {
    pub db: &'a Db,
    pub caller: Caller,
    /// The clock when the call began; `created_at` of whatever it makes.
    pub at: Timestamp,
    /// The month of `at`.
    pub month: Month,
    /// When the call began, by a clock that nobody sets.
    began: Instant,
    config: RefCell<Rc<Config>>,
    /// How many changes had been announced when the settings, and so the mode, were last asked for.
    asked_at: Cell<u64>,
    /// Whether the mode can refuse it: whoever writes, but for who changes the mode.
    obeys_mode: bool,
    /// Whether it has written an event.
    has_logged: Cell<bool>,
}

impl Call<'_> {
    /// Settings and levels, as they were when the call began or was last told to look again.
    pub fn config(&self) -> Rc<Config> {
        self.config.borrow().clone()
    }

    /// Whether the call has been waiting for somebody: then what it read before its locks is asked once more under them.
    pub fn has_waited(&self) -> bool {
        self.began.elapsed() > WAITED
    }

    /// What may have changed while the call waited for somebody: settings and membership levels are those of now from here on,
    /// who has lost a level meanwhile is refused, and so are a month that was detached and code that could be misled (`shadows`).
    /// After the last lock, before anything is decided; what else an RPC asked before its locks it asks again itself, where it
    /// [has waited](Call::has_waited).
    pub fn after_waiting(&self) -> Result<()> {
        server::accept_invalidations();
        self.ask_settings()?;
        if !self.has_waited() {
            return Ok(());
        }
        months::ensure_attached(self.db, self.month)?;
        if !self.db.is_read_only() {
            shadows::refuse(self.db);
        }
        self.caller.ensure_keeps_level()
    }

    fn ask_settings(&self) -> Result<()> {
        self.asked_at.set(cache::relations());
        let config = settings::config(self.db)?;
        if self.obeys_mode {
            config.mode.ensure_writable()?;
        }
        self.config.replace(config);
        Ok(())
    }

    /// That the mode lets this call write, once it has a lock on the log: who turns read_only on from here on waits for it. Who did
    /// so before had it announced before the lock was to be had.
    fn keep_to_mode(&self) -> Result<()> {
        if cache::relations() == self.asked_at.get() { Ok(()) } else { self.ask_settings() }
    }

    /// Makes sure that the month can be written to. After the locks on keys and orders, before every row lock.
    pub fn open_month(&self) -> Result<Open<'_>> {
        let open = self.open_month_for_settings()?;
        settings::pin(self.db);
        Ok(open)
    }

    /// As [`Call::open_month`], after it: nothing is made and nothing locked any more.
    pub fn opened_month(&self) -> Result<Open<'_>> {
        months::opened(self.db, self.month)
    }

    /// As [`Call::open_month`], for who changes the settings: it locks them itself.
    pub fn open_month_for_settings(&self) -> Result<Open<'_>> {
        let open = months::ensure(self.db, self.month)?;
        self.after_waiting()?;
        Ok(open)
    }

    /// Writes an audit event.
    pub fn audit(&self, action: &str, object_type: &str, object_id: &str, context: Value) {
        self.record(action, object_type, object_id, context, None);
    }

    /// As [`Call::audit`], of a context of few members that are all texts: what every movement has, so it is made cheaply.
    pub fn audit_texts<'a>(
        &'a self,
        action: &str,
        object_type: &str,
        object_id: &str,
        mut context: Vec<(&'a str, &'a str)>,
    ) {
        if let Some(other) = &self.caller.other_role {
            context.push(("other_role", other));
        }
        self.write_event(action, object_type, object_id, RawJsonb::object_of_texts(&mut context), None);
    }

    /// As [`Call::audit`], with what a gateway sent.
    pub fn audit_with_payload(
        &self,
        action: &str,
        object_type: &str,
        object_id: &str,
        context: Value,
        payload: RawJsonb,
    ) {
        self.record(action, object_type, object_id, context, Some(payload));
    }

    fn record(&self, action: &str, object_type: &str, object_id: &str, mut context: Value, payload: Option<RawJsonb>) {
        if let (Some(other), Some(context)) = (&self.caller.other_role, context.as_object_mut()) {
            context.insert("other_role".into(), other.as_str().into());
        }
        self.write_event(action, object_type, object_id, RawJsonb::parse(&context.to_string()), payload);
    }

    fn write_event(
        &self,
        action: &str,
        object_type: &str,
        object_id: &str,
        context: RawJsonb,
        payload: Option<RawJsonb>,
    ) {
        audit::record(
            self.db,
            self.month,
            Event {
                happened_at: self.at,
                actor_user_id: self.caller.uid,
                actor_role: &self.caller.role,
                action,
                object_type,
                object_id,
                context,
            },
            payload,
        );
        self.has_logged.set(true);
        self.keep_to_mode().unwrap_or_else(|refused| refused.raise());
    }
}

/// Runs an RPC that writes.
pub fn write<T>(work: impl FnOnce(&Call) -> Result<T>) -> T {
    enter(
        |caller| {
            caller.refuse_in_maintenance()?;
            Ok(caller)
        },
        |caller| shadows::write(|db| answer(db, caller, true, work)),
    )
}

/// Runs what takes a notice at the door of gateways: as an RPC that writes, for who has their level.
pub fn at_the_door<T>(work: impl FnOnce(&Call) -> Result<T>) -> T {
    enter(
        |mut caller| {
            caller.require_gateway()?;
            Ok(caller)
        },
        |caller| shadows::write(|db| answer(db, caller, true, work)),
    )
}

/// Runs an RPC that only reads.
pub fn read<T>(work: impl FnOnce(&Call) -> Result<T>) -> T {
    enter(Ok, |caller| Db::read(|db| answer(db, caller, false, work)))
}

/// Runs maintenance: as an RPC that writes, for operators.
pub fn maintain<T>(work: impl FnOnce(&Call) -> Result<T>) -> T {
    enter(admit_operator, |caller| shadows::write(|db| answer(db, caller, true, work)))
}

/// As [`maintain`], also while read_only is on: what changes the mode.
pub fn maintain_in_any_mode<T>(work: impl FnOnce(&Call) -> Result<T>) -> T {
    enter(admit_operator, |caller| shadows::write(|db| answer(db, caller, false, work)))
}

fn admit_operator(caller: Caller) -> Result<Caller> {
    caller::require_operator(&caller::whole_extension()?)?;
    Ok(caller)
}

/// Sees who calls, and only then becomes the owner of the tables. What errors say about rows goes to the log.
fn enter<T>(admit: impl FnOnce(Caller) -> Result<Caller>, work: impl FnOnce(Caller) -> Result<T>) -> T {
    let levels = caller::whole_extension().unwrap_or_else(|error| error.raise());
    let caller = finish(admit(Caller::identify(&levels)));
    let may_see_rows = caller.is_superuser();
    server::as_role(levels.owner, || withheld::from(may_see_rows, || finish(work(caller))))
}

fn answer<T>(db: &Db, caller: Caller, obeys_mode: bool, work: impl FnOnce(&Call) -> Result<T>) -> Result<T> {
    let call = call(db, caller, obeys_mode)?;
    let done = work(&call).map_err(|refused| {
        // What was not found may only have been hidden meanwhile: then that is the answer.
        server::accept_invalidations();
        soundness::ensure(db).err().unwrap_or(refused)
    })?;
    if obeys_mode && !call.has_logged.get() && server::has_written() {
        mode::lock_log();
        call.keep_to_mode()?;
    }
    Ok(done)
}

fn call(db: &Db, caller: Caller, obeys_mode: bool) -> Result<Call<'_>> {
    soundness::ensure(db)?;
    let asked_at = Cell::new(cache::relations());
    let config = settings::config(db)?;
    if obeys_mode {
        config.mode.ensure_writable()?;
    }
    let at = server::now();
    let month =
        Month::of(at.0).ok_or_else(|| Error::new(Token::InvalidArgument, "the clock is outside 2000 to 2099"))?;
    Ok(Call {
        db,
        caller,
        at,
        month,
        began: Instant::now(),
        config: RefCell::new(config),
        asked_at,
        obeys_mode,
        has_logged: Cell::new(false),
    })
}

fn finish<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| error.raise())
}
