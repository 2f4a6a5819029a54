//! What members, shops and database administrators ask for: a folder for each family, a file for each RPC, which reads from top
//! to bottom as its sentence in the contract: authorise, lock, decide, write, answer. Locks are taken in one order everywhere:
//! key, order, month, original payment, cards by id.

mod campaigns;
mod cards;
mod coupons;
mod gateways;
mod members;
mod merchants;
mod operation;
mod payments;
mod receipts;
mod recharges;
mod reconciliation;
mod settings;
mod statements;
mod withdrawals;
