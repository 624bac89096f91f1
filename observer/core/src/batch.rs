//! Datagrams by the batch: what all of them need is asked for before the first is opened, so that the waits for memory
//! overlap, and subkeys are derived side by side. What comes out is what one after another would.

use std::hint::black_box;

use varta_vlp::{
    Reject,
    subkeys::{LANES, Subkeys},
};

use crate::{Core, accept::Found, event::Outcome, time::Now, trust::Origin};

/// Looked up together.
const WIDTH: usize = 64;
/// Deriving all lanes takes as long as so many subkeys one after another.
const WORTH: usize = 9;

/// One datagram of a batch.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Its bytes; decrypted in place.
    pub bytes: &'a mut [u8],
    /// Where it came from.
    pub origin: Origin,
}

impl Core {
    /// Judges datagrams in order and appends an outcome for each; stops after one that is [`Outcome::Waiting`].
    pub fn handle_batch(&mut self, now: Now, batch: &mut [Datagram<'_>], outcomes: &mut Vec<Outcome>) {
        let mut subkeys = None;
        for part in batch.chunks_mut(WIDTH) {
            let mut found: [Result<Found, Reject>; WIDTH] = [const { Err(Reject::BadLength) }; WIDTH];
            self.look_all_up(now, part, &mut found);
            for (part, found) in part.chunks_mut(LANES).zip(found.chunks_mut(LANES)) {
                let ready = self.derive(&mut subkeys, part, found);
                for (lane, (datagram, found)) in part.iter_mut().zip(found).enumerate() {
                    // A frame earlier in this part may have made the record.
                    if let Ok(Found { header, agent: agent @ None, .. }) = found {
                        *agent = self.table.find_agent(header.agent);
                    }
                    let lane = subkeys.as_ref().filter(|_| ready >> lane & 1 == 1).map(|subkeys| (subkeys, lane));
                    let outcome = self.handle_found(now, datagram.origin, datagram.bytes, found, lane);
                    outcomes.push(outcome);
                    if matches!(outcome, Outcome::Waiting(_)) {
                        return;
                    }
                }
            }
        }
    }

    /// Steps 1 to 3 and the look-up of step 4, each kind of memory in a loop of its own: index, records, slots. A loop that
    /// does little else has more of its waits under way at once.
    fn look_all_up(&self, now: Now, part: &[Datagram<'_>], found: &mut [Result<Found, Reject>; WIDTH]) {
        let mut hashes = [0; WIDTH];
        for ((found, hash), datagram) in found.iter_mut().zip(&mut hashes).zip(part) {
            *found = self.look_up(now, datagram.bytes);
            if let Ok(Found { header, .. }) = found {
                *hash = self.table.hash_of(header.agent);
            }
        }
        for (found, hash) in found.iter_mut().zip(hashes) {
            if let Ok(Found { agent, .. }) = found {
                *agent = self.table.guess_agent(hash);
            }
        }
        for Found { header, agent, .. } in found.iter_mut().flatten() {
            *agent = agent.and_then(|guess| self.table.confirm_agent(guess, header.agent));
        }
        let known = found.iter().flatten().filter_map(|found| found.agent);
        black_box(known.fold(0, |sum, agent| sum ^ self.table.touch(agent)));
    }

    /// Derives the subkeys of those whose sender's secret is at hand, where they are worth it. Returns a bit for each lane
    /// that holds one.
    fn derive(&self, subkeys: &mut Option<Subkeys>, part: &[Datagram<'_>], found: &[Result<Found, Reject>]) -> u32 {
        let secrets = || part.iter().zip(found).map(|(_, found)| self.ready_secret(found.as_ref().ok()?));
        if secrets().flatten().count() < WORTH {
            return 0;
        }
        let subkeys = subkeys.get_or_insert_default();
        let mut ready = 0;
        for (lane, (datagram, secret)) in part.iter().zip(secrets()).enumerate() {
            if let Some(secret) = secret {
                subkeys.put(lane, secret, datagram.bytes);
                ready |= 1 << lane;
            }
        }
        subkeys.derive();
        ready
    }
}
