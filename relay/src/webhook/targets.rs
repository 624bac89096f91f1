//! Opening every target of a configuration, with what each was told before.

use std::{collections::BTreeSet, path::Path};

use ring::digest::{SHA256, digest};
use varta_client::keyfile::read_secret_file;
use varta_config::{Webhook, is_url};

use super::{Hook, Memory, WebhookError};
use crate::store::{Marks, Store};

/// Opens every target of `webhooks`, for the relay of this name; `marks` are what they were told before its restart.
///
/// # Errors
/// [`WebhookError`], of the first that cannot be used.
pub(crate) fn open_all(
    webhooks: &[Webhook],
    relay: &str,
    store: Option<&Store>,
    mut marks: Marks,
) -> Result<Vec<Hook>, WebhookError> {
    let mut hooks: Vec<Hook> = Vec::new();
    let mut numbers = BTreeSet::new();
    for (index, webhook) in webhooks.iter().enumerate() {
        let url = match &webhook.url_file {
            Some(file) => read_url(file)?,
            None => webhook.url.clone().unwrap_or_default(),
        };
        let number = number_of(&url);
        if !numbers.insert(number) {
            return Err(WebhookError::Twice { index });
        }
        let host = host_of(&url);
        let same = hooks.iter().filter(|hook| host_of(&hook.name) == host).count();
        let name = if same == 0 { host.to_owned() } else { format!("{host}/#{}", same + 1) };
        let memory = Memory { number, told: marks.remove(&number).unwrap_or_default(), store: store.cloned() };
        hooks.push(Hook::open(webhook, &url, name, relay, memory)?);
    }
    // What is not told any more is owed nothing.
    if let Some(store) = store.filter(|_| !marks.is_empty()) {
        let gone = marks.iter().flat_map(|(number, told)| told.keys().map(|id| (*number, *id)));
        store.note(|pending| gone.for_each(|(number, id)| pending.mark(number, id, None)));
    }
    Ok(hooks)
}

/// Reads an address: one line in a file that keeps the rules for secrets.
fn read_url(file: &Path) -> Result<String, WebhookError> {
    let text = read_secret_file(file)?;
    let url = text.trim_ascii();
    if !is_url(url) {
        return Err(WebhookError::Address { file: file.to_owned() });
    }
    Ok(url.to_owned())
}

/// What a target is known by in the store, which is not to hold its address.
fn number_of(url: &str) -> u64 {
    let digest = digest(&SHA256, url.as_bytes());
    digest.as_ref().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// An address without a query, which may hold a secret, nor all of its path, which may, too.
fn host_of(url: &str) -> &str {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let end = url[begin..].find(['/', '?', '#']).map_or(url.len(), |at| begin + at);
    &url[..end]
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_name_holds_nothing_secret_and_is_one_targets_own() {
        for (url, host) in [
            ("http://127.0.0.1:8080/hook/SECRET?token=x", "http://127.0.0.1:8080"),
            ("https://hooks.example", "https://hooks.example"),
            ("https://hooks.example?x=/y", "https://hooks.example"),
        ] {
            assert_eq!(host_of(url), host);
        }
        let webhooks =
            ["http://127.0.0.1:9/a", "http://127.0.0.1:8/", "http://127.0.0.1:9/b?c", "http://127.0.0.1:9/c"]
                .map(|url| Webhook { url: Some(url.to_owned()), ..Webhook::default() });
        let hooks = open_all(&webhooks, "relay", None, Marks::new()).unwrap();
        let names: Vec<_> = hooks.iter().map(|hook| hook.name.as_str()).collect();
        let host = "http://127.0.0.1:9";
        assert_eq!(names, [host, "http://127.0.0.1:8", &format!("{host}/#2"), &format!("{host}/#3")]);
    }

    #[test]
    fn an_address_may_stand_in_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hook.url");
        let webhook = Webhook { url_file: Some(file.clone()), ..Webhook::default() };
        let open = |text: &str, mode| {
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            open_all(std::slice::from_ref(&webhook), "relay", None, Marks::new())
        };
        let hooks = open("https://hooks.example/SECRET\n", 0o600).unwrap();
        assert_eq!(hooks[0].name, "https://hooks.example");
        let error = open("hooks.example/SECRET\n", 0o600).err().unwrap().to_string();
        assert!(error.contains("hook.url: is no address") && !error.contains("SECRET"), "{error}");
        let error = open("https://hooks.example/SECRET\n", 0o644).err().unwrap().to_string();
        assert!(error.contains("hook.url") && error.contains("chmod"), "{error}");
        let twice =
            [webhook.clone(), Webhook { url: Some("https://hooks.example/SECRET".to_owned()), ..Webhook::default() }];
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let error = open_all(&twice, "relay", None, Marks::new()).err().unwrap().to_string();
        assert!(error.starts_with("webhook[1]: its address is also that of another"), "{error}");
    }
}
