//! Statements that make or change tables, run without what the server wraps around a statement (ProcessUtility): no event
//! trigger fires, no hook of another extension sees them, and a statement of a user's that is running around them does not
//! count them as its own. An event trigger would run as whoever we are, with a search_path that ends in the caller's
//! temporary schema; and one that raises an error would stop a charge that needs a new month.
//!
//! Only the kinds that MPS writes; each goes the way that the server's own tcop/utility.c takes.

use crate::engine::server::Raise;
use mps_domain::error::{Error, Token};
use pgrx::PgList;
use pgrx::pg_sys::{self, Node, NodeTag};
use std::collections::VecDeque;
use std::ffi::{CStr, CString, c_char, c_int, c_void};

// pgrx hides what takes any number of arguments. The others are called while an error is being reported, where nothing may
// come in between.
unsafe extern "C-unwind" {
    fn errcontext_msg(format: *const c_char, ...) -> c_int;
    fn set_errcontext_domain(domain: *const c_char) -> c_int;
    fn geterrposition() -> c_int;
    fn errposition(position: c_int) -> c_int;
    fn internalerrposition(position: c_int) -> c_int;
    fn internalerrquery(query: *const c_char) -> c_int;
}

/// Runs statements one after the other, each seeing what the one before did, with the rights of the current user.
pub fn run(statements: &str) {
    let text = CString::new(statements).expect("a text of the server has no NUL");
    // SAFETY: the text outlives everything that is made of it here: parse trees are used only in this call, and who keeps
    // something of one copies it. An ERROR unwinds through the guards below, which put back what they changed.
    unsafe {
        let _context = Context::push(&text);
        let parsed = PgList::<pg_sys::RawStmt>::from_pg(pg_sys::raw_parser(
            text.as_ptr(),
            pg_sys::RawParseMode::RAW_PARSE_DEFAULT,
        ));
        for raw in parsed.iter_ptr() {
            let statement = (*raw).stmt;
            refuse_where_nothing_may_be_written(statement);
            pg_sys::CommandCounterIncrement();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let uncollected = Uncollected::begin();
            execute(statement, &text);
            drop(uncollected);
            pg_sys::PopActiveSnapshot();
        }
        pg_sys::CommandCounterIncrement();
    }
}

/// What the server asks before it runs such a statement.
///
/// # Safety
/// The statement is a whole parse tree.
unsafe fn refuse_where_nothing_may_be_written(statement: *mut Node) {
    // SAFETY: the tag is read off the tree, as the caller promises; its name is a constant of the server's.
    unsafe {
        let name = pg_sys::GetCommandTagName(pg_sys::CreateCommandTag(statement));
        pg_sys::PreventCommandIfReadOnly(name);
        pg_sys::PreventCommandIfParallelMode(name);
        pg_sys::PreventCommandDuringRecovery(name);
    }
}

/// # Safety
/// The statement is a whole parse tree that nothing else uses any more (what runs it may change it), in memory that lives as long
/// as this call; of this text, or of what the server made of it.
unsafe fn execute(statement: *mut Node, text: &CStr) {
    // SAFETY: each kind is taken for the struct that its tag stands for. What is NULL is an answer that nobody wants. The name of a
    // tag is a constant of the server's.
    unsafe {
        match (*statement).type_ {
            NodeTag::T_CreateStmt => create_table(statement.cast(), text),
            NodeTag::T_AlterTableStmt => alter_table(statement.cast(), text),
            NodeTag::T_CommentStmt => {
                pg_sys::CommentObject(statement.cast());
            }
            NodeTag::T_CreateTrigStmt => create_trigger(statement.cast(), text),
            NodeTag::T_AlterObjectSchemaStmt => {
                pg_sys::ExecAlterObjectSchemaStmt(statement.cast(), std::ptr::null_mut());
            }
            NodeTag::T_GrantStmt => pg_sys::ExecuteGrantStmt(statement.cast()),
            NodeTag::T_DropStmt if is_drop_index(statement.cast()) => pg_sys::RemoveRelations(statement.cast()),
            _ => {
                let name = CStr::from_ptr(pg_sys::GetCommandTagName(pg_sys::CreateCommandTag(statement)));
                let detail = format!("{} is not among the statements that run like this", name.to_string_lossy());
                Error::new(Token::InvalidArgument, detail).raise()
            }
        }
    }
}

/// Not CONCURRENTLY, which would commit.
///
/// # Safety
/// It is a DropStmt.
unsafe fn is_drop_index(statement: *const pg_sys::DropStmt) -> bool {
    // SAFETY: two fields of the struct that the caller promises.
    unsafe { (*statement).removeType == pg_sys::ObjectType::OBJECT_INDEX && !(*statement).concurrent }
}

/// The nodes of a list, which stay where they are.
///
/// # Safety
/// It is NIL or a list of nodes.
unsafe fn nodes(list: *mut pg_sys::List) -> VecDeque<*mut Node> {
    // SAFETY: the pointers are copied out of the list at once, and nothing frees it: PgList does not own what it is given.
    unsafe { PgList::<Node>::from_pg(list) }.iter_ptr().collect()
}

/// CREATE TABLE, with what LIKE brings.
///
/// # Safety
/// As [`execute`], of a CreateStmt.
unsafe fn create_table(statement: *mut pg_sys::CreateStmt, text: &CStr) {
    // SAFETY: what the transformation makes are parse trees in the current memory context, each used once. A LIKE always comes
    // behind its CREATE TABLE in its list, so that `table` is no longer NULL.
    unsafe {
        let mut todo = nodes(pg_sys::transformCreateStmt(statement, text.as_ptr()));
        // The table as the transformation names it: what LIKE asks for goes there.
        let mut table: *mut pg_sys::RangeVar = std::ptr::null_mut();
        while let Some(next) = todo.pop_front() {
            match (*next).type_ {
                NodeTag::T_CreateStmt => {
                    let create: *mut pg_sys::CreateStmt = next.cast();
                    table = (*create).relation;
                    define_table(create, text);
                }
                NodeTag::T_TableLikeClause => {
                    let mut more = nodes(pg_sys::expandTableLikeClause(table, next.cast()));
                    more.append(&mut todo);
                    todo = more;
                }
                _ => execute(next, text),
            }
            pg_sys::CommandCounterIncrement();
        }
    }
}

/// # Safety
/// As [`execute`], of a CreateStmt that has been transformed.
unsafe fn define_table(create: *mut pg_sys::CreateStmt, text: &CStr) {
    // SAFETY: the server takes NULL where nobody wants the type's address. `known` ends with a NULL, as it must, is only read, and
    // outlives the call; the options are NULL or an array in the current memory context.
    unsafe {
        let table = pg_sys::DefineRelation(
            create,
            pg_sys::RELKIND_RELATION as c_char,
            pg_sys::Oid::INVALID,
            std::ptr::null_mut(),
            text.as_ptr(),
        );
        pg_sys::CommandCounterIncrement();
        let mut known = [c"toast".as_ptr(), std::ptr::null()];
        let none = pg_sys::Datum::from(0usize);
        let options = pg_sys::transformRelOptions(
            none,
            (*create).options,
            c"toast".as_ptr(),
            known.as_mut_ptr().cast(),
            true,
            false,
        );
        // Only to refuse what is no option.
        pg_sys::heap_reloptions(pg_sys::RELKIND_TOASTVALUE as c_char, options, true);
        pg_sys::NewRelationCreateToastTable(table.objectId, options);
    }
}

/// ALTER TABLE.
///
/// # Safety
/// As [`execute`], of an AlterTableStmt.
unsafe fn alter_table(statement: *mut pg_sys::AlterTableStmt, text: &CStr) {
    // SAFETY: the parser makes `cmds` of nothing but AlterTableCmds, and gives every DETACH its PartitionCmd. The lock on the table is
    // taken before it is altered, and kept. Zeroes are a valid PlannedStmt; it and the context outlive the call, which keeps neither.
    unsafe {
        for command in PgList::<pg_sys::AlterTableCmd>::from_pg((*statement).cmds).iter_ptr() {
            if (*command).subtype == pg_sys::AlterTableType::AT_DetachPartition
                && (*(*command).def.cast::<pg_sys::PartitionCmd>()).concurrent
            {
                // It would commit.
                Error::new(Token::InvalidArgument, "DETACH PARTITION CONCURRENTLY does not run like this").raise();
            }
        }
        let lock = pg_sys::AlterTableGetLockLevel((*statement).cmds);
        let relid = pg_sys::AlterTableLookupRelation(statement, lock);
        if relid == pg_sys::Oid::INVALID {
            // IF EXISTS.
            return;
        }
        let wrapper = pg_sys::palloc0(size_of::<pg_sys::PlannedStmt>()).cast::<pg_sys::PlannedStmt>();
        (*wrapper).type_ = NodeTag::T_PlannedStmt;
        (*wrapper).commandType = pg_sys::CmdType::CMD_UTILITY;
        (*wrapper).utilityStmt = statement.cast();
        (*wrapper).stmt_location = -1;
        let mut context = pg_sys::AlterTableUtilityContext {
            pstmt: wrapper,
            queryString: text.as_ptr(),
            relid,
            params: std::ptr::null_mut(),
            queryEnv: std::ptr::null_mut(),
        };
        pg_sys::AlterTable(statement, lock, &mut context);
    }
}

/// CREATE TRIGGER.
///
/// # Safety
/// As [`execute`], of a CreateTrigStmt.
unsafe fn create_trigger(statement: *mut pg_sys::CreateTrigStmt, text: &CStr) {
    let none = pg_sys::Oid::INVALID;
    // SAFETY: without oids the server looks up what the statement names, and without a condition it takes the statement's.
    unsafe {
        pg_sys::CreateTrigger(
            statement,
            text.as_ptr(),
            none,
            none,
            none,
            none,
            none,
            none,
            std::ptr::null_mut(),
            false,
            false,
        );
    }
}

/// As long as it lives, nothing is noted for the event triggers of a statement that is running around us; parts of ALTER TABLE
/// would be noted as parts of that statement, which need not be an ALTER TABLE at all. Ended also by an error: one that is
/// caught leaves the statement around as it was.
struct Uncollected;

impl Uncollected {
    fn begin() -> Uncollected {
        // SAFETY: sets a field of the statement around, if there is one.
        unsafe { pg_sys::EventTriggerInhibitCommandCollection() };
        Uncollected
    }
}

impl Drop for Uncollected {
    fn drop(&mut self) {
        // SAFETY: as in `begin`. The statement around is there still: it ends only after this frame, also where an ERROR ends both.
        unsafe { pg_sys::EventTriggerUndoInhibitCommandCollection() };
    }
}

/// As long as it lives, an error says in which statement it happened, as those of EXECUTE do.
///
/// A pointer, not the box: the server reads the entry by another way as long as it is on its stack.
struct Context(*mut pg_sys::ErrorContextCallback);

impl Context {
    /// # Safety
    /// The text outlives the guard, and the guards of a thread end in the reverse order of their beginnings.
    unsafe fn push(text: &CStr) -> Context {
        // SAFETY: the entry stays in its place until the guard ends, which takes it off the stack before it frees it.
        unsafe {
            let entry = Box::into_raw(Box::new(pg_sys::ErrorContextCallback {
                previous: pg_sys::error_context_stack,
                callback: Some(add_context),
                arg: text.as_ptr().cast_mut().cast(),
            }));
            pg_sys::error_context_stack = entry;
            Context(entry)
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: made by `push`, and freed nowhere else. After an ERROR, too, this is the top of the stack: pgrx puts back the stack of
        // before the call that raised it. The entry below belongs to a frame around this one.
        unsafe {
            let entry = Box::from_raw(self.0);
            pg_sys::error_context_stack = entry.previous;
        }
    }
}

/// Called by the server while it makes an error.
///
/// # Safety
/// Only as the callback of a [`Context`], with its text.
unsafe extern "C-unwind" fn add_context(text: *mut c_void) {
    let text = text.cast_const().cast::<c_char>();
    // SAFETY: the text of the Context lives, and an error is being made, which is what these functions ask for; they copy. Another
    // ERROR in one of them jumps over this frame, which has nothing with a destructor.
    unsafe {
        // A position in our text is none in the client's.
        let position = geterrposition();
        if position > 0 {
            errposition(0);
            internalerrposition(position);
            internalerrquery(text);
        } else {
            set_errcontext_domain(std::ptr::null());
            errcontext_msg(c"SQL statement \"%s\"".as_ptr(), text);
        }
    }
}
