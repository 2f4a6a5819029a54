//! Readers in the middle of it.

use super::Client;
use crate::db::Who;
use crate::reads::look;

/// Reads something; the certificate says at the end whether it can have been so.
pub fn read(client: &mut Client) {
    let (kind, seen) = look(client.world, &mut client.a, &mut client.rng);
    match seen {
        Ok(()) => client.world.count("read", kind),
        Err(refusal) => client.world.refused("read", &client.by(), &refusal, &[]),
    }
}

/// Keeps the receipt of a payment, if there is one already.
pub fn receipt(client: &mut Client) {
    const PROOF: &str = "SELECT app.tx_proof($1)";
    const AMONG: usize = 2000;
    let receipts = &client.world.receipts;
    let Some(payment) = client.any_payment(AMONG).filter(|_| receipts.are_given()) else { return };
    let asked = client.a.ask(Who::Backend, PROOF, &[&payment.tx_no], |rows| rows[0].get(0));
    if let Some((kept, _)) = client.expect("receipt", asked, &["STATUS_CONFLICT"]) {
        receipts.kept.lock().expect("not poisoned").push(kept);
    }
}
