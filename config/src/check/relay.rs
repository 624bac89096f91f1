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
        for (index, one) in self.webhook.iter().enumerate() {
            let twin = self.webhook[..index].iter().position(|it| (&it.url, &it.url_file) == (&one.url, &one.url_file));
            let (url, problem) = match (one.url.is_none(), one.url_file.is_some(), twin) {
                (true, false, _) => ("url", "is missing; write it, or url_file where it is a secret".to_owned()),
                (false, true, _) => ("url_file", "stands beside url; write one of the two".to_owned()),
                (is_in_file, _, Some(twin)) => (
                    if is_in_file { "url_file" } else { "url" },
                    format!("is also that of webhook[{twin}]; write each webhook once"),
                ),
                _ => continue,
            };
            blame(&format!("webhook[{index}].{url}"), &problem);
        }
        if self.webhook.len() > MAX_WEBHOOKS {
            blame(
                "webhook",
                &format!("found {}; write at most {MAX_WEBHOOKS} [[webhook]] sections", self.webhook.len()),
            );
        }
    }
}
