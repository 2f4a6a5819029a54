//! What the SQL parts and the database administrator's jobs ask of the library.

mod error_list;
mod expire_keys;
mod migrate;
mod next_event_id;
mod run_ddl;
mod set_mode;
mod uid;
