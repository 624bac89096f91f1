//! Which places a handle beats for, and how it takes a name.

use varta_vlp::{Status, UnitId, key::Name};

use super::{MAX_AUDIENCES, SealedTransport, UnitError, audience::Audience};
use crate::{
    client::BeatKind,
    process::{Place, Refused},
    sources::Sources,
};

/// One for each audience.
type Places = [Option<Place>; MAX_AUDIENCES];

impl<S: Sources> SealedTransport<S> {
    pub(super) fn name_unit(&mut self, text: &str) -> Result<(), UnitError> {
        let name = Name::new(text).map_err(|source| UnitError::BadName { name: text.to_owned(), source })?;
        self.look_around().map_err(UnitError::Clock)?;
        let unit = name.unit_id();
        if self.unit == unit {
            return Ok(());
        }
        if self.unit != UnitId::NONE {
            return Err(UnitError::AlreadyNamed { name: text.to_owned() });
        }
        let places = self.claim_all(unit).map_err(|(audience, refused)| match refused {
            Refused::Taken => UnitError::Taken { name: text.to_owned(), audience },
            Refused::Full => UnitError::TooManyHandles,
        })?;
        if self.audiences.iter().any(Audience::has_beaten) {
            // The process was known by its pid, and no beat will come for that again.
            let _ = self.say(Status::Ok, 0, BeatKind::Final);
        }
        self.unit = unit;
        self.announcement.name_unit(name);
        self.take_all(places);
        Ok(())
    }

    /// Claims the unit for every audience, or for none.
    pub(super) fn claim_all(&self, unit: UnitId) -> Result<Places, (String, Refused)> {
        let mut places = [None; MAX_AUDIENCES];
        for (audience, slot) in self.audiences.iter().zip(&mut places) {
            match self.process.claim(self.agent, audience.id, unit) {
                Ok(place) => *slot = Some(place),
                Err(refused) => {
                    for place in places.into_iter().flatten() {
                        self.process.release(place);
                    }
                    return Err((audience.name.clone(), refused));
                }
            }
        }
        Ok(places)
    }

    pub(super) fn take_all(&mut self, places: Places) {
        for (audience, place) in self.audiences.iter_mut().zip(places) {
            if let Some(old) = audience.give_place() {
                self.process.release(old);
            }
            if let Some(place) = place {
                audience.take_place(place);
            }
        }
    }
}
