//! `root.key`: the fleet's root.

use std::path::Path;

use varta_client::keyfile::{ContentError, KeyFileError, Source, push_quoted, read_secret_file};
use varta_vlp::key::RootSecret;
use zeroize::Zeroizing;

const KEYS: &[&str] = &["version", "secret"];
const VERSION: u64 = 1;

pub(crate) fn load_root(file: &Path) -> Result<RootSecret, KeyFileError> {
    let text = read_secret_file(file)?;
    Ok(parse_root(&text, file)?)
}

pub(crate) fn parse_root(text: &str, file: &Path) -> Result<RootSecret, ContentError> {
    Source::new(file, text).read(KEYS, |root| {
        root.version("version", VERSION)?;
        root.secret("secret", RootSecret::from_text)
    })
}

pub(crate) fn render_root(root: &RootSecret) -> Zeroizing<String> {
    // Room for all of it: a string that grew would leave a copy behind.
    let mut out = Zeroizing::new(String::with_capacity(512));
    out.push_str("# Varta fleet root. SECRET. Keep it offline: whoever holds it can make every key of the fleet.\n");
    out.push_str("version = 1\nsecret = ");
    push_quoted(&mut out, root.to_text().as_str());
    out.push('\n');
    out
}
