//! Key files and the text of secrets: every text is answered by line and key, no error shows a secret, and what is taken
//! can be written again.

use std::{collections::HashSet, path::Path};

use varta_client::keyfile::{AgentAudience, AgentKeyFile, ContentError, UnixSeconds};
use varta_keys::{ObserverKeyFile, RetiringAudience};
use varta_vlp::{
    Generation,
    key::{AgentSecret, AudienceSecret, IdentitySecret, Name, RootSecret, TokenError},
};

use super::{
    input::Input,
    text::{Pieces, assert_placed},
};

const FILE: &str = "/etc/varta/secret.key";

const HEADERS: [&str; 5] = ["[[audience]]", "[[retiring]]", "[audience]", "[secret]", "[[ audience ]]"];

const KEYS: [&str; 12] = [
    "version",
    "agent",
    "generation",
    "name",
    "address",
    "secret",
    "audience",
    "identity",
    "until",
    "SECRET",
    "a.b",
    "x",
];

/// So much of a secret's text in a row must be nowhere else.
const SHOWN_MOST: usize = 16;

struct Secrets([String; 4]);

impl Secrets {
    fn new() -> Self {
        let text = |text: varta_vlp::key::SecretText| text.as_str().to_owned();
        Self([
            text(RootSecret::from_bytes([0x11; 32]).to_text()),
            text(AudienceSecret::from_bytes([0x5A; 32]).to_text()),
            text(AgentSecret::from_bytes([0xC3; 32]).to_text()),
            text(IdentitySecret::from_bytes([0x2E; 32]).to_text()),
        ])
    }

    fn assert_hidden(&self, told: &str) {
        for secret in &self.0 {
            let digits = &secret.as_bytes()[secret.len() - 58..];
            for part in digits.windows(SHOWN_MOST) {
                let part = str::from_utf8(part).expect("base32");
                assert!(!told.contains(part), "{part} of a secret is shown: {told}");
            }
        }
    }

    fn pieces(&self, use_with: impl FnOnce(&Pieces<'_>)) {
        let mut quoted: Vec<String> = self.0.iter().map(|secret| format!("\"{secret}\"")).collect();
        // Mistyped, cut off, and without quotes.
        quoted.extend(self.0.iter().map(|secret| format!("\"{}\"", mistyped(secret, 30, 'Q'))));
        quoted.extend(self.0.iter().map(|secret| format!("\"{}\"", &secret[..secret.len() - 1])));
        quoted.extend(self.0.iter().cloned());
        let plain = [
            "1",
            "0",
            "4294967295",
            "4294967296",
            "-1",
            "\"\"",
            "\"web-1\"",
            "\"obs-1\"",
            "\"a b\"",
            "\"10.0.0.5:9900\"",
            "\"[::1]:9\"",
            "\"host\"",
            "\"host:0\"",
            "2030-01-31T12:00:00Z",
            "1969-01-01T00:00:00Z",
            "2030-01-31",
            "true",
            "[]",
            "{}",
            "1.5",
        ];
        // Pasted where a key belongs.
        let pasted: Vec<&str> = self.0.iter().map(|secret| &secret[secret.len() - 58..]).collect();
        let keys: Vec<&str> = KEYS.iter().copied().chain(pasted).collect();
        let mut values: Vec<&str> = quoted.iter().map(String::as_str).collect();
        values.extend(plain);
        use_with(&Pieces { headers: &HEADERS, keys: &keys, values: &values });
    }

    fn check_error(&self, error: &ContentError, text: &str) {
        let told = error.to_string();
        assert_placed(&told, FILE, text);
        assert!(told.starts_with(&format!("{FILE}:{}: ", error.line)), "{told}");
        self.assert_hidden(&told);
        self.assert_hidden(&format!("{error:?}"));
    }

    fn check_agent(&self, text: &str) -> bool {
        let file = match AgentKeyFile::parse(text, Path::new(FILE)) {
            Ok(file) => file,
            Err(error) => {
                self.check_error(&error, text);
                return false;
            }
        };
        assert!((1..=AgentKeyFile::MAX_AUDIENCES).contains(&file.audiences.len()) && file.generation.0 > 0);
        assert_distinct(file.audiences.iter().map(|audience| &*audience.name));
        let public = file.audiences.iter().flat_map(|audience| [&audience.name, &audience.address]);
        self.assert_hidden(&without(format!("{file:?}"), public.chain([&file.agent])));
        let rendered = file.render();
        let back = AgentKeyFile::parse(&rendered, Path::new(FILE)).expect("what was rendered is read");
        assert_eq!((&back.agent, back.generation), (&file.agent, file.generation));
        assert_eq!(back.audiences.len(), file.audiences.len());
        for (back, file) in back.audiences.iter().zip(&file.audiences) {
            assert_eq!((&back.name, &back.address), (&file.name, &file.address));
            assert!(back.secret.expose() == file.secret.expose(), "another secret was read");
        }
        assert!(*back.render() == *rendered, "rendered twice, not the same");
        true
    }

    fn check_observer(&self, text: &str) -> bool {
        let file = match ObserverKeyFile::parse(text, Path::new(FILE)) {
            Ok(file) => file,
            Err(error) => {
                self.check_error(&error, text);
                return false;
            }
        };
        assert!(file.retiring.len() <= ObserverKeyFile::MAX_RETIRING);
        assert_distinct(file.retiring.iter().map(|retiring| &*retiring.name).chain([&*file.audience]));
        let public = file.retiring.iter().map(|retiring| &retiring.name).chain([&file.audience]);
        self.assert_hidden(&without(format!("{file:?}"), public));
        let rendered = file.render();
        let back = ObserverKeyFile::parse(&rendered, Path::new(FILE)).expect("what was rendered is read");
        assert_eq!((&back.audience, back.retiring.len()), (&file.audience, file.retiring.len()));
        assert!(back.secret.expose() == file.secret.expose() && back.identity.expose() == file.identity.expose());
        for (back, file) in back.retiring.iter().zip(&file.retiring) {
            assert_eq!((&back.name, back.until), (&file.name, file.until));
            assert!(back.secret.expose() == file.secret.expose(), "another secret was read");
        }
        assert!(*back.render() == *rendered, "rendered twice, not the same");
        true
    }

    fn is_taken(&self, text: &str) -> bool {
        RootSecret::from_text(text).is_ok()
            || AudienceSecret::from_text(text).is_ok()
            || AgentSecret::from_text(text).is_ok()
            || IdentitySecret::from_text(text).is_ok()
    }

    /// The text of a secret is taken only in the one form that it is written in.
    fn check_token(&self, text: &str) {
        let told = |error: TokenError| {
            self.assert_hidden(&error.to_string());
            if let TokenError::BadCharacter { position } = error {
                assert!((1..=text.len()).contains(&position), "{position} of {}", text.len());
            }
        };
        let taken = [
            RootSecret::from_text(text).map(|secret| secret.to_text()).map_err(told).ok(),
            AudienceSecret::from_text(text).map(|secret| secret.to_text()).map_err(told).ok(),
            AgentSecret::from_text(text).map(|secret| secret.to_text()).map_err(told).ok(),
            IdentitySecret::from_text(text).map(|secret| secret.to_text()).map_err(told).ok(),
        ];
        let taken: Vec<_> = taken.iter().flatten().collect();
        assert!(taken.len() <= 1, "a secret is of one kind");
        assert!(taken.iter().all(|again| again.as_str() == text), "a secret has one form");
    }
}

/// Audiences are told apart by their ids: neither a name nor an id comes twice.
fn assert_distinct<'a>(names: impl Iterator<Item = &'a str>) {
    let mut ids = HashSet::new();
    for name in names {
        let id = Name::new(name).expect("a name of good form").audience_id();
        assert!(ids.insert(id), "{name:?} comes twice, or has the id of another");
    }
}

/// `told` without the names and addresses of a file that was taken: they are public, though they may look like anything.
fn without<'a>(told: String, public: impl Iterator<Item = &'a String>) -> String {
    public.fold(told, |told, text| told.replace(&format!("{text:?}"), "_"))
}

/// `secret` with one of its 58 digits replaced.
fn mistyped(secret: &str, digit: usize, with: char) -> String {
    let place = secret.len() - 58 + digit % 58;
    format!("{}{with}{}", &secret[..place], &secret[place + 1..])
}

fn agent_file(input: &mut Input<'_>) -> String {
    let audiences = (0..input.byte() % 10).map(|number| AgentAudience {
        name: format!("obs-{}", if input.byte() % 8 == 7 { 0 } else { number }),
        address: (input.pick(&["10.0.0.5:9900", "[::1]:1", "obs.example:9900", "obs", ":1", "obs:65536"])).to_owned(),
        secret: AgentSecret::from_bytes([0xC3; 32]),
    });
    let audiences = audiences.collect();
    let agent = input.pick(&["web-1", "a", "A.b:c@d+e-f_9", "", "\"", "\u{e9}"]).to_owned();
    AgentKeyFile { agent, generation: Generation(input.word()), audiences }.render().to_string()
}

fn observer_file(input: &mut Input<'_>) -> String {
    let retiring = (0..input.byte() % 10).map(|number| RetiringAudience {
        name: format!("old-{}", if input.byte() % 8 == 7 { 0 } else { number }),
        secret: AudienceSecret::from_bytes([0x5A; 32]),
        until: UnixSeconds(u64::from(input.word())),
    });
    let retiring = retiring.collect();
    let audience = input.pick(&["obs-1", "old-1", "", "a b"]).to_owned();
    let (secret, identity) = (AudienceSecret::from_bytes([0x5A; 32]), IdentitySecret::from_bytes([0x2E; 32]));
    ObserverKeyFile { audience, secret, identity, retiring }.render().to_string()
}

/// Judges a text as it is, one of pieces, a good file with edits, or the text of one secret.
pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let secrets = Secrets::new();
    let check = |text: &str| {
        let taken = [secrets.check_agent(text), secrets.check_observer(text)];
        assert!(taken != [true, true], "an agent's key file and an observer's at once");
    };
    match input.byte() % 5 {
        0 => check(&String::from_utf8_lossy(input.rest())),
        1 => secrets.pieces(|pieces| check(&pieces.text(&mut input))),
        2 => {
            let choices = input.bytes(24);
            let text = agent_file(&mut Input::new(choices));
            check(&text);
            secrets.pieces(|pieces| check(&pieces.edit(&text, &mut input)));
        }
        3 => {
            let choices = input.bytes(64);
            let text = observer_file(&mut Input::new(choices));
            check(&text);
            secrets.pieces(|pieces| check(&pieces.edit(&text, &mut input)));
        }
        _ => {
            let secret = &secrets.0[input.below(4)];
            secrets.check_token(secret);
            let wrong = mistyped(secret, input.below(58), char::from(input.pick(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")));
            secrets.check_token(&wrong);
            assert!(wrong == *secret || !secrets.is_taken(&wrong), "a mistyped secret is taken: {wrong}");
            secrets.pieces(|pieces| secrets.check_token(&pieces.edit(secret, &mut input)));
        }
    }
}
