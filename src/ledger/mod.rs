//! The only code that moves a balance: cards, transactions and points, the chain of a card's movements, and in which months they
//! are.

pub mod cards;
pub mod chain;
mod columns;
pub mod history;
pub mod late;
pub mod lines;
pub mod points;
pub mod posting;
pub mod replay;
pub mod standing;
pub mod transactions;
pub mod tx;
