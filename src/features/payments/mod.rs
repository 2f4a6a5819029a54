//! Payments: charged by a pay code, refunded, corrected.

mod compensate_tx;
mod merchant_charge_by_qr;
mod merchant_refund_tx;
