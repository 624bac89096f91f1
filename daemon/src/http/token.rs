//! The file with the bearer token.

use std::path::{Path, PathBuf};

use varta_client::keyfile::{SecretFileError, read_secret_file};

/// A shorter bearer token could be guessed.
const MIN_TOKEN: usize = 16;

/// Why a file is no bearer token's.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It breaks a rule for secret files.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// What stands in it is no token.
    #[error("{}: {problem}", file.display())]
    Token {
        /// The file.
        file: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
}

/// Reads a bearer token: one line of visible ASCII in a file that keeps the rules for secrets.
///
/// # Errors
/// [`TokenError`], naming the file.
pub fn read_token(file: &Path) -> Result<String, TokenError> {
    let text = read_secret_file(file)?;
    let token = text.trim_ascii();
    if token.len() < MIN_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let problem = format!(
            "is no bearer token: it must be one line of at least {MIN_TOKEN} visible ASCII characters without spaces; \
             `openssl rand -hex 32` makes one"
        );
        return Err(TokenError::Token { file: file.to_owned(), problem });
    }
    Ok(token.to_owned())
}
