//! Copies the client's sessions and salts and puts the switch in.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "cargo tells a build script by the environment")]

include!("../copy.rs");

const SWITCHES: &[Switch] = &[Switch {
    file: "salt.rs",
    text: "            (Ok(salt), _) => salt,\n",
    with: "            (Ok(_), Some(previous)) if varta_mutant_core::switch::off(\"per-frame salt\") => previous,
            (Ok(salt), _) => salt,\n",
}];

fn main() {
    let out = std::env::var_os("OUT_DIR").unwrap();
    let to = Path::new(&out).join("client");
    copy(Path::new("../../../client/src"), &to, SWITCHES);
    let root = "mod clock;\npub mod salt;\npub mod session;\nmod sources;\npub use sources::{OsSources, Sources};\n";
    fs::write(to.join("lib.rs"), root).unwrap();
}
