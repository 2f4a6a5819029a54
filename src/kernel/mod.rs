//! What every RPC stands on: who calls and what they may do, arguments, settings, keys, the audit log, and the month that is
//! written to. It moves no money.

pub mod access;
pub mod args;
pub mod audit;
pub mod batch;
pub mod call;
pub mod caller;
pub mod days;
pub mod keys;
pub mod levels;
pub mod members;
pub mod merchants;
pub mod mode;
pub mod months;
pub mod settings;
pub mod shadows;
pub mod soundness;
