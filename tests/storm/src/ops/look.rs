//! Readers in the middle of it.

use super::Client;
use crate::reads::look;

/// Reads something; the certificate says at the end whether it can have been so.
pub fn read(client: &mut Client) {
    let (kind, seen) = look(client.world, &mut client.a, &mut client.rng);
    match seen {
        Ok(()) => client.world.count("read", kind),
        Err(refusal) => client.world.refused("read", &client.by(), &refusal, &[]),
    }
}
