//! The audience keys in force, by numbers that agents' cached keys are kept under.

use varta_vlp::{AudienceId, key::AudienceKey};

use crate::time::WallNs;

/// An audience whose frames are accepted.
#[derive(Debug)]
pub struct Audience {
    /// Its id.
    pub id: AudienceId,
    /// Its key, made ready.
    pub key: AudienceKey,
    /// For a retiring audience, the end of its time.
    pub until: Option<WallNs>,
}

impl Audience {
    /// Whether both derive the same keys for the same id.
    fn is_same(&self, other: &Self) -> bool {
        self.id == other.id && self.key.is_same(&other.key)
    }
}

/// All of them. A number stands for one key for as long as the core lives: keys cached under a number that is no more are
/// derived anew, without anybody looking for them.
pub(crate) struct Audiences {
    /// The first one's number.
    first: u32,
    all: Vec<Audience>,
}

impl Audiences {
    pub(crate) const fn new(all: Vec<Audience>) -> Self {
        Self { first: 0, all }
    }

    /// Puts others in force. Those that are the same as before keep their numbers.
    pub(crate) fn replace(&mut self, all: Vec<Audience>) {
        let same = all.len() == self.all.len() && all.iter().zip(&self.all).all(|(new, old)| new.is_same(old));
        if !same {
            self.first = self.first.wrapping_add(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        }
        self.all = all;
    }

    /// The number of the audience of that id, while its time lasts.
    pub(crate) fn find(&self, id: AudienceId, wall: WallNs) -> Option<u32> {
        let usable = |audience: &Audience| audience.id == id && audience.until.is_none_or(|until| wall < until);
        let place = self.all.iter().position(usable).and_then(|place| u32::try_from(place).ok());
        place.map(|place| self.first.wrapping_add(place))
    }

    /// The audience of that number, if it is in force.
    pub(crate) fn get(&self, number: u32) -> Option<&Audience> {
        self.all.get(number.wrapping_sub(self.first) as usize)
    }
}

#[cfg(test)]
mod tests {
    use varta_vlp::key::AudienceSecret;

    use super::*;

    fn audience(id: u32, secret: u8, until: Option<u64>) -> Audience {
        let key = AudienceKey::new(&AudienceSecret::from_bytes([secret; 32]));
        Audience { id: AudienceId(id), key, until: until.map(WallNs) }
    }

    #[test]
    fn a_number_stands_for_one_key() {
        let now = WallNs(5);
        let mut audiences = Audiences::new(vec![audience(1, 1, None), audience(2, 2, Some(9))]);
        let [own, old] = [1, 2].map(|id| audiences.find(AudienceId(id), now));
        assert!(own.is_some() && old.is_some() && own != old);
        // Another end of its time is no other key.
        audiences.replace(vec![audience(1, 1, None), audience(2, 2, Some(3))]);
        assert_eq!([1, 2].map(|id| audiences.find(AudienceId(id), now)), [own, None]);
        for changed in [
            vec![audience(1, 7, None), audience(2, 2, None)],
            vec![audience(2, 2, None), audience(1, 7, None)],
            vec![audience(2, 2, None)],
            vec![audience(3, 2, None)],
        ] {
            let before: Vec<_> =
                audiences.all.iter().map(|audience| audiences.find(audience.id, WallNs(0)).unwrap()).collect();
            audiences.replace(changed);
            assert!(before.iter().all(|number| audiences.get(*number).is_none()), "no number is used again");
        }
        let number = audiences.find(AudienceId(3), now).unwrap();
        assert_eq!(audiences.get(number).unwrap().id, AudienceId(3));
    }
}
