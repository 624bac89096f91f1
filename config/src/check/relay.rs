//! What makes sense in `relay.toml`.

use crate::relay::RelayConfig;

/// More webhooks than this are a mistake.
const MAX_WEBHOOKS: usize = 16;

impl RelayConfig {
    /// Reports values that are each right but do not go together.
    pub(crate) fn check_all(&self, report: &mut dyn FnMut(String, String)) {
        let mut blame = |key: &str, message: &str| report(key.to_owned(), message.to_owned());
        if self.relay.key_file.is_none() {
            blame("relay.key_file", "is missing; `varta keys relay add` makes one");
        }
        super::check_http(&self.http, &mut blame);
        for (index, one) in self.observer.iter().enumerate() {
            let earlier = &self.observer[..index];
            for (key, twin) in [
                ("name", earlier.iter().position(|it| it.name == one.name)),
                ("key", earlier.iter().position(|it| it.key == one.key)),
            ] {
                if let Some(twin) = twin {
                    let message = format!("is also that of observer[{twin}]; write each observer once");
                    blame(&format!("observer[{index}].{key}"), &message);
                }
            }
        }
        if self.observer.len() > self.limits.observers as usize {
            let message =
                format!("found {}; raise limits.observers, which is {}", self.observer.len(), self.limits.observers);
            blame("observer", &message);
        }
        if self.webhook.len() > MAX_WEBHOOKS {
            blame(
                "webhook",
                &format!("found {}; write at most {MAX_WEBHOOKS} [[webhook]] sections", self.webhook.len()),
            );
        }
    }
}
