//! Patterns of names.

/// A pattern: `*` stands for any text, also none; everything else for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it matches whatever there is.
    #[must_use]
    pub fn is_any(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte == b'*')
    }

    /// Whether it matches `name`.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        let matching = [
            ("*", ""),
            ("*", "web-1"),
            ("web-*", "web-"),
            ("web-*", "web-12"),
            ("*-1", "web-1"),
            ("w*b*1", "web-1"),
            ("a*a", "aba"),
            ("web-1", "web-1"),
            ("**", "x"),
            ("*b*", "abc"),
            ("a*b*b", "abb"),
        ];
        let other = [
            ("", "x"),
            ("web-*", "web"),
            ("*-1", "web-12"),
            ("a*a", "a"),
            ("web-1", "web-12"),
            ("w*b*1", "web"),
            ("a*b*b", "ab"),
            ("web-1", "WEB-1"),
        ];
        for (pattern, name) in matching {
            assert!(Pattern::new(pattern).matches(name), "{pattern} {name}");
        }
        for (pattern, name) in other {
            assert!(!Pattern::new(pattern).matches(name), "{pattern} {name}");
        }
        assert!(Pattern::new("*").is_any() && !Pattern::new("").is_any() && !Pattern::new("a*").is_any());
    }
}
