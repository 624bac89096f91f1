//! Names that must keep apart: two names of one id would have one key.

use std::collections::HashMap;
use std::hash::Hash;

use varta_vlp::key::Name;

/// Two names with the same id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} has the same id as {other}, so they would have the same key; choose another name")]
pub struct Collision {
    /// The name that was refused.
    pub name: String,
    /// The name that was there before.
    pub other: String,
}

/// Names of one kind by their ids.
pub(crate) struct Names<I> {
    id_of: fn(Name<'_>) -> I,
    by_id: HashMap<I, String>,
}

impl<I: Eq + Hash> Names<I> {
    pub(crate) fn new(id_of: fn(Name<'_>) -> I) -> Self {
        Self { id_of, by_id: HashMap::new() }
    }

    /// Takes `name`; false if it was there before.
    pub(crate) fn claim(&mut self, name: Name<'_>) -> Result<bool, Collision> {
        let id = (self.id_of)(name);
        match self.by_id.get(&id) {
            None => {
                self.by_id.insert(id, name.as_str().to_owned());
                Ok(true)
            }
            Some(known) if known == name.as_str() => Ok(false),
            Some(other) => Err(Collision { name: name.as_str().to_owned(), other: other.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name<'_> {
        Name::new(text).expect("a name")
    }

    #[test]
    fn another_name_with_the_same_id_is_refused() {
        let mut names = Names::new(|name| name.as_str().len());
        assert_eq!(names.claim(name("web-1")), Ok(true));
        assert_eq!(names.claim(name("api")), Ok(true));
        assert_eq!(names.claim(name("web-1")), Ok(false));
        let refused = names.claim(name("web-2")).expect_err("both have five letters");
        assert_eq!((refused.name.as_str(), refused.other.as_str()), ("web-2", "web-1"));
        assert_eq!(names.claim(name("web-1")), Ok(false), "the first keeps its place");
    }

    #[test]
    fn audience_ids_are_short_enough_to_collide_and_are_told_apart() {
        // Two names whose 32-bit audience ids agree, found by search.
        let mut seen: HashMap<u32, u32> = HashMap::new();
        let (first, second) = (0..)
            .find_map(|number: u32| {
                let id = name(&format!("obs-{number}")).audience_id().0;
                seen.insert(id, number).map(|earlier| (earlier, number))
            })
            .expect("a collision");
        let (first, second) = (format!("obs-{first}"), format!("obs-{second}"));
        let mut names = Names::new(|name| name.audience_id());
        assert_eq!(names.claim(name(&first)), Ok(true));
        assert_eq!(names.claim(name(&second)), Err(Collision { name: second.clone(), other: first }));
    }
}
