//! Secrets: their text, every way to mistype it, and that nothing shows or copies them.

use varta_vlp::{
    Generation,
    key::{AgentSecret, AudienceKey, AudienceSecret, IdentitySecret, Name, RootSecret, SecretText, TokenError},
};
use zeroize::ZeroizeOnDrop;

const BYTES: [u8; 32] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
    31,
];

/// One kind of secret, with its bytes in place of the secret itself.
struct Kind {
    name: &'static str,
    prefix: &'static str,
    render: fn([u8; 32]) -> SecretText,
    read: fn(&str) -> Result<[u8; 32], TokenError>,
    debug: fn([u8; 32]) -> String,
}

macro_rules! kinds {
    ($($name:ident),+) => { [$(Kind {
        name: stringify!($name),
        prefix: $name::PREFIX,
        render: |bytes| $name::from_bytes(bytes).to_text(),
        read: |text| $name::from_text(text).map(|secret| *secret.expose()),
        debug: |bytes| format!("{0:?} {0:#?}", $name::from_bytes(bytes)),
    }),+] };
}

const KINDS: [Kind; 4] = kinds![RootSecret, AudienceSecret, AgentSecret, IdentitySecret];

#[test]
fn text_round_trips() {
    for kind in &KINDS {
        for bytes in [BYTES, [0; 32], [255; 32]] {
            let text = (kind.render)(bytes);
            assert!(text.as_str().starts_with(kind.prefix));
            assert_eq!(text.as_str().len(), kind.prefix.len() + 58);
            assert_eq!((kind.read)(text.as_str()), Ok(bytes));
        }
    }
}

#[test]
fn another_kind_is_named() {
    for wanted in &KINDS {
        for found in &KINDS {
            let text = (found.render)(BYTES);
            let error = TokenError::WrongKind { wanted: wanted.prefix, found: found.prefix };
            let expected = if wanted.prefix == found.prefix { Ok(BYTES) } else { Err(error) };
            assert_eq!((wanted.read)(text.as_str()), expected);
        }
    }
}

/// Another digit breaks the checksum; what is no digit is pointed at; another prefix is no secret.
#[test]
fn every_mistyped_character() {
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567abz01890=+-_ \n\0é";
    let step = if cfg!(miri) { 173 } else { 1 };
    for kind in &KINDS {
        let text = (kind.render)(BYTES);
        let places = text.as_str().char_indices();
        let typos = places.flat_map(|place| letters.chars().map(move |letter| (place, letter)));
        for ((place, right), wrong) in typos.filter(|((_, right), wrong)| right != wrong).step_by(step) {
            let typo = format!("{}{wrong}{}", &text.as_str()[..place], &text.as_str()[place + right.len_utf8()..]);
            let error = if place < kind.prefix.len() {
                TokenError::NotASecret { wanted: kind.prefix }
            } else if wrong.is_ascii_uppercase() || ('2'..='7').contains(&wrong) {
                TokenError::BadChecksum
            } else {
                TokenError::BadCharacter { position: place + 1 }
            };
            assert_eq!((kind.read)(&typo), Err(error), "{wrong:?} at {place}");
        }
    }
}

#[test]
fn every_missing_and_every_doubled_character() {
    for kind in &KINDS {
        let text = (kind.render)(BYTES);
        let (text, prefix) = (text.as_str(), kind.prefix.len());
        for place in 0..text.len() {
            let missing = format!("{}{}", &text[..place], &text[place + 1..]);
            let doubled = format!("{}{}", &text[..=place], &text[place..]);
            let not_a_secret = TokenError::NotASecret { wanted: kind.prefix };
            let (without, with) = if place + 1 < prefix {
                (not_a_secret, not_a_secret)
            } else if place + 1 == prefix {
                // The `1` that ends a prefix is no digit.
                (not_a_secret, TokenError::BadCharacter { position: prefix + 1 })
            } else {
                (TokenError::BadLength { found: 57 }, TokenError::BadLength { found: 59 })
            };
            assert_eq!((kind.read)(&missing), Err(without), "without {place}");
            assert_eq!((kind.read)(&doubled), Err(with), "doubled {place}");
        }
    }
}

#[test]
fn every_pair_of_neighbours_exchanged() {
    for kind in &KINDS {
        let text = (kind.render)(BYTES);
        let mut letters = text.as_str().as_bytes().to_vec();
        for place in (kind.prefix.len()..letters.len() - 1).step_by(if cfg!(miri) { 11 } else { 1 }) {
            letters.swap(place, place + 1);
            let same = letters[place] == letters[place + 1];
            let expected = if same { Ok(BYTES) } else { Err(TokenError::BadChecksum) };
            let typo = std::str::from_utf8(&letters).expect("ASCII");
            assert_eq!((kind.read)(typo), expected, "at {place}");
            letters.swap(place, place + 1);
        }
    }
}

#[test]
fn text_of_other_forms() {
    for kind in &KINDS {
        let text = (kind.render)(BYTES);
        let (text, prefix) = (text.as_str(), kind.prefix);
        let not_a_secret = TokenError::NotASecret { wanted: prefix };
        let digits = text[prefix.len()..].to_lowercase();
        let first_letter = digits.find(char::is_alphabetic).expect("a letter");
        let cases = [
            (String::new(), not_a_secret),
            (text.to_lowercase(), not_a_secret),
            (format!(" {text}"), not_a_secret),
            (prefix[1..].to_owned(), not_a_secret),
            (prefix.to_owned(), TokenError::BadLength { found: 0 }),
            (text.repeat(2), TokenError::BadCharacter { position: text.len() + prefix.find('-').expect("a dash") + 1 }),
            (format!("{prefix}{digits}"), TokenError::BadCharacter { position: prefix.len() + first_letter + 1 }),
            (format!("{text}\n"), TokenError::BadCharacter { position: text.len() + 1 }),
            (format!("{text}======"), TokenError::BadCharacter { position: text.len() + 1 }),
            (format!("{text}{}", &text[prefix.len()..]), TokenError::BadLength { found: 116 }),
        ];
        for (typo, error) in cases {
            assert_eq!((kind.read)(&typo), Err(error), "{typo:?}");
        }
    }
}

/// 58 digits carry two bits more than 36 bytes: only one text stands for a secret.
#[test]
fn unused_bits_are_zero() {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    for kind in &KINDS {
        let text = (kind.render)(BYTES);
        let (rest, last) = text.as_str().split_at(text.as_str().len() - 1);
        let value = alphabet.iter().position(|letter| last.as_bytes()[0] == *letter).expect("a digit");
        assert_eq!(value % 4, 0);
        for unused in 1..4 {
            let typo = format!("{rest}{}", char::from(alphabet[value + unused]));
            assert_eq!((kind.read)(&typo), Err(TokenError::BadChecksum));
        }
    }
}

#[test]
fn errors_never_repeat_the_secret() {
    let agent = AgentSecret::from_bytes(BYTES).to_text();
    let agent = agent.as_str();
    let mistyped = format!("{}!", agent);
    for (error, says) in [
        (RootSecret::from_text(agent).err(), "VARTA-AGENT-SECRET-1.. where a VARTA-ROOT-SECRET-1.. belongs"),
        (AgentSecret::from_text(&mistyped).err(), "character 79 is not one of A-Z and 2-7"),
        (AgentSecret::from_text(&agent[..77]).err(), "57 characters behind the prefix where 58 belong"),
        (AgentSecret::from_text(&agent[1..]).err(), "it should begin with VARTA-AGENT-SECRET-1"),
        (AgentSecret::from_text(&agent.replace("AAAQ", "AAAR")).err(), "the checksum does not agree"),
    ] {
        let error = error.expect("refused");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(says), "{shown}");
        assert!(!shown.contains(&agent[20..28]), "{shown}");
    }
}

#[test]
fn debug_shows_nothing() {
    for kind in &KINDS {
        let shown = format!("{}(..)", kind.name);
        assert_eq!((kind.debug)(BYTES), format!("{shown} {shown}"));
        assert_eq!(format!("{:?}", (kind.render)(BYTES)), "SecretText(..)");
    }
    let key = AudienceKey::new(&AudienceSecret::from_bytes(BYTES));
    assert_eq!(format!("{key:?}"), "AudienceKey(..)");
}

/// Safe code cannot look at memory that was given back; that each type promises to wipe itself, and has a drop in
/// which to do it, it can see.
#[test]
fn secrets_are_wiped_when_dropped() {
    fn wipes<T: ZeroizeOnDrop>() -> bool {
        std::mem::needs_drop::<T>()
    }
    assert!(wipes::<RootSecret>());
    assert!(wipes::<AudienceSecret>());
    assert!(wipes::<AgentSecret>());
    assert!(wipes::<IdentitySecret>());
    assert!(wipes::<SecretText>());
    assert!(wipes::<AudienceKey>());
}

/// Compiles only while the types cannot be copied: a `Clone` would make the call ambiguous.
#[test]
fn secrets_are_not_clone() {
    trait Ambiguous<A> {
        fn is_not_clone() {}
    }
    struct Always;
    struct WhenClone;
    impl<T> Ambiguous<Always> for T {}
    impl<T: Clone> Ambiguous<WhenClone> for T {}
    <RootSecret as Ambiguous<_>>::is_not_clone();
    <AudienceSecret as Ambiguous<_>>::is_not_clone();
    <AgentSecret as Ambiguous<_>>::is_not_clone();
    <IdentitySecret as Ambiguous<_>>::is_not_clone();
    <SecretText as Ambiguous<_>>::is_not_clone();
    <AudienceKey as Ambiguous<_>>::is_not_clone();
}

#[test]
fn each_key_is_another() {
    let root = RootSecret::from_bytes(BYTES);
    let name = |text| Name::new(text).expect("a legal name");
    let mut keys = Vec::new();
    for audience in ["obs-1", "obs-2"] {
        let secret = root.audience(name(audience));
        keys.push(*secret.expose());
        for agent in ["web-1", "web-2"] {
            for generation in [1, 2] {
                let key = AudienceKey::new(&secret).agent(name(agent).agent_id(), Generation(generation));
                keys.push(*key.expose());
            }
        }
    }
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((count, keys.len()), (10, 10));
}
