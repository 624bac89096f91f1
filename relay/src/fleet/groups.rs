//! Units that fall together: those of one host, those of one site.

use std::collections::HashMap;

use super::unit::NOWHERE;

/// What makes units a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum GroupKind {
    Host,
    Site,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) kind: GroupKind,
    pub(super) name: Box<str>,
    /// Units of it, whatever their verdict.
    units: u32,
    /// Those that are to be alive.
    pub(super) expected: u32,
    /// Those that are bad.
    pub(super) bad: u32,
}

/// Groups by number.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: Vec<Option<Group>>,
    free: Vec<u32>,
    by_name: HashMap<(GroupKind, Box<str>), u32>,
}

impl Groups {
    pub(super) fn get(&self, number: u32) -> Option<&Group> {
        self.groups.get(number as usize)?.as_ref()
    }

    /// The number of the group of this name, with one unit more. A unit without a name for it has no group.
    pub(super) fn join(&mut self, kind: GroupKind, name: &str) -> u32 {
        if name.is_empty() {
            return NOWHERE;
        }
        let number = match self.by_name.get(&(kind, Box::from(name))).copied() {
            Some(number) => number,
            None => {
                let number = self.free.pop().unwrap_or_else(|| {
                    self.groups.push(None);
                    u32::try_from(self.groups.len() - 1).unwrap_or(NOWHERE)
                });
                self.by_name.insert((kind, name.into()), number);
                number
            }
        };
        if let Some(place) = self.groups.get_mut(number as usize) {
            let new = || Group { kind, name: name.into(), units: 0, expected: 0, bad: 0 };
            place.get_or_insert_with(new).units += 1;
        }
        number
    }

    /// One unit less.
    pub(super) fn leave(&mut self, number: u32) {
        let Some(place) = self.groups.get_mut(number as usize) else { return };
        let Some(group) = place else { return };
        group.units -= 1;
        if group.units == 0 {
            self.by_name.remove(&(group.kind, group.name.clone()));
            *place = None;
            self.free.push(number);
        }
    }

    /// Counts a unit in, or out, as to be alive and as bad.
    pub(super) fn count(&mut self, number: u32, (expected, bad): (bool, bool), up: bool) {
        let Some(Some(group)) = self.groups.get_mut(number as usize) else { return };
        for (count, counts) in [(&mut group.expected, expected), (&mut group.bad, bad)] {
            match (counts, up) {
                (false, _) => {}
                (true, true) => *count += 1,
                (true, false) => *count -= 1,
            }
        }
    }

    /// Whether all that are to be alive are bad, and more than one.
    pub(super) fn is_down(&self, number: u32) -> bool {
        self.get(number).is_some_and(|group| group.expected >= 2 && group.bad >= group.expected)
    }
}
