//! Whom a relay takes reports from.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use tokio::sync::watch;
use varta_vlp::key::PublicKey;

/// The observers that a relay knows, by key. Cheap to clone; all clones are the same list.
#[derive(Clone, Debug)]
pub struct Allowed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    names: RwLock<HashMap<PublicKey, Arc<str>>>,
    changed: watch::Sender<()>,
}

impl Default for Allowed {
    fn default() -> Self {
        Self(Arc::new(Inner { names: RwLock::default(), changed: watch::Sender::new(()) }))
    }
}

impl Allowed {
    /// Puts another list in the place of this one, at once.
    pub fn set(&self, observers: impl IntoIterator<Item = (PublicKey, String)>) {
        let names = observers.into_iter().map(|(key, name)| (key, name.into())).collect();
        *self.0.names.write().unwrap_or_else(PoisonError::into_inner) = names;
        self.0.changed.send_replace(());
    }

    /// The observer of this key, where it is allowed.
    #[must_use]
    pub fn name(&self, key: &PublicKey) -> Option<Arc<str>> {
        self.0.names.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Ends when the observer `name` of this key is not allowed any more.
    pub async fn removed(&self, key: &PublicKey, name: &str) {
        let mut changed = self.0.changed.subscribe();
        while self.name(key).as_deref() == Some(name) && changed.changed().await.is_ok() {}
    }
}
