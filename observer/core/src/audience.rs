//! The audience keys in force, by numbers that agents' cached keys are kept under.

use varta_vlp::{AudienceId, key::AudienceKey};

use crate::{agent::NO_AUDIENCE, time::WallNs};

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

/// All of them. A number stands for one key: keys cached under a number that is no more are derived anew, without anybody
/// looking for them.
pub(crate) struct Audiences {
    /// The first one's number.
    first: u8,
    all: Vec<Audience>,
}

impl Audiences {
    pub(crate) fn new(mut all: Vec<Audience>) -> Self {
        all.truncate(usize::from(NO_AUDIENCE));
        Self { first: 0, all }
    }

    /// Puts others in force. Those that are the same as before keep their numbers. False where numbers begin anew, once in
    /// hundreds of changed keys: then whatever is cached must be forgotten.
    pub(crate) fn replace(&mut self, all: Vec<Audience>) -> bool {
        let before = std::mem::replace(self, Self::new(all));
        let pairs = self.all.iter().zip(&before.all);
        if self.all.len() == before.all.len() && pairs.into_iter().all(|(new, old)| new.is_same(old)) {
            self.first = before.first;
            return true;
        }
        let first = usize::from(before.first) + before.all.len();
        let fits = first + self.all.len() <= usize::from(NO_AUDIENCE);
        self.first = u8::try_from(first).ok().filter(|_| fits).unwrap_or(0);
        fits
    }

    /// The number of the audience of that id, while its time lasts.
    pub(crate) fn find(&self, id: AudienceId, wall: WallNs) -> Option<u8> {
        let usable = |audience: &Audience| audience.id == id && audience.until.is_none_or(|until| wall < until);
        let place = self.all.iter().position(usable).and_then(|place| u8::try_from(place).ok());
        place.and_then(|place| self.first.checked_add(place))
    }

    /// The audience of that number, if it is in force.
    pub(crate) fn get(&self, number: u8) -> Option<&Audience> {
        number.checked_sub(self.first).and_then(|place| self.all.get(usize::from(place)))
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
        assert!(audiences.replace(vec![audience(1, 1, None), audience(2, 2, Some(3))]));
        assert_eq!([1, 2].map(|id| audiences.find(AudienceId(id), now)), [own, None]);
        for changed in [
            vec![audience(1, 7, None), audience(2, 2, None)],
            vec![audience(2, 2, None), audience(1, 7, None)],
            vec![audience(2, 2, None)],
            vec![audience(3, 2, None)],
        ] {
            let before: Vec<_> =
                audiences.all.iter().map(|audience| audiences.find(audience.id, WallNs(0)).unwrap()).collect();
            assert!(audiences.replace(changed));
            assert!(before.iter().all(|number| audiences.get(*number).is_none()), "no number is used again");
        }
        let number = audiences.find(AudienceId(3), now).unwrap();
        assert_eq!(audiences.get(number).unwrap().id, AudienceId(3));
    }

    #[test]
    fn when_numbers_run_out_they_begin_anew_and_it_is_said() {
        let mut audiences = Audiences::new(vec![audience(1, 0, None)]);
        for secret in 1..=254 {
            assert!(audiences.replace(vec![audience(1, secret, None)]), "{secret}");
            assert_eq!(audiences.find(AudienceId(1), WallNs(0)), Some(secret));
        }
        assert!(!audiences.replace(vec![audience(1, 255, None)]));
        assert_eq!(audiences.find(AudienceId(1), WallNs(0)), Some(0));
        let many = (0..300).map(|id| audience(id, 1, None)).collect();
        assert!(!audiences.replace(many), "no room behind the one");
        assert!(audiences.find(AudienceId(254), WallNs(0)).is_some());
        assert!(audiences.find(AudienceId(255), WallNs(0)).is_none(), "one more than there are numbers");
    }
}
