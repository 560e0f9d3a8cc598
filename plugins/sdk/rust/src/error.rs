use std::fmt;

/// The codes that a plugin meets in an [`Error`]. A host call may answer with others of
/// the protocol; treat them like [`code::UNAVAILABLE`].
pub mod code {
    /// A plugin's error, no use in trying again.
    pub const PLUGIN: &str = "plugin";
    /// A plugin's error, trying again may help.
    pub const RETRYABLE: &str = "retryable";
    /// A host call without its grant.
    pub const DENIED: &str = "denied";
    /// A host call that this agent cannot serve now.
    pub const UNAVAILABLE: &str = "unavailable";
    /// A host call for something that is not there.
    pub const NOT_FOUND: &str = "not-found";
    /// A host call beyond a bound: connections, bytes a minute.
    pub const LIMIT: &str = "limit";
    /// A host call that took longer than it may.
    pub const DEADLINE: &str = "deadline";
}

/// Bounds an error's text and a log line in bytes.
pub(crate) const TEXT_MAX: usize = 1024;

/// An error of a plugin's function, or of a host call. What a function returns becomes
/// the answer's error: its text is one line for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    code: String,
    text: String,
    call: &'static str,
}

/// What a plugin's functions return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error that trying again is of no use for.
    pub fn new(text: impl Into<String>) -> Error {
        Error::coded(code::PLUGIN, text)
    }

    /// An error that may go away when the host asks again: a busy device, a full disk.
    pub fn retryable(text: impl Into<String>) -> Error {
        Error::coded(code::RETRYABLE, text)
    }

    /// An error with a code of [`code`], as a host has them.
    pub fn coded(code: impl Into<String>, text: impl Into<String>) -> Error {
        Error { code: code.into(), text: text.into(), call: "" }
    }

    /// The code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The text, without the host call that it comes from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same error, known to come from a host call.
    pub(crate) fn of_call(mut self, name: &'static str) -> Error {
        self.call = name;
        self
    }

    /// The code in an answer. Only two may be: what the host was too busy for is worth
    /// another try, everything else is not.
    pub(crate) fn answered(&self) -> &'static str {
        match self.code.as_str() {
            code::RETRYABLE | code::UNAVAILABLE => code::RETRYABLE,
            _ => code::PLUGIN,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.call.is_empty() {
            f.write_str(self.call)?;
            f.write_str(": ")?;
        }
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

/// Cuts a text to [`TEXT_MAX`] bytes without cutting a character.
pub(crate) fn clip(text: &str) -> String {
    if text.len() <= TEXT_MAX {
        return text.to_string();
    }
    let mut end = TEXT_MAX - 3;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &text[..end])
}

impl From<&str> for Error {
    fn from(text: &str) -> Error {
        Error::new(text)
    }
}

impl From<String> for Error {
    fn from(text: String) -> Error {
        Error::new(text)
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> std::io::Error {
        let kind = match error.code.as_str() {
            code::DENIED => std::io::ErrorKind::PermissionDenied,
            code::NOT_FOUND => std::io::ErrorKind::NotFound,
            code::DEADLINE => std::io::ErrorKind::TimedOut,
            _ => std::io::ErrorKind::Other,
        };
        std::io::Error::new(kind, error)
    }
}

macro_rules! from_errors {
    ($($t:ty),*) => {$(
        impl From<$t> for Error {
            fn from(error: $t) -> Error { Error::new(error.to_string()) }
        }
    )*};
}

from_errors!(
    std::io::Error,
    fmt::Error,
    std::num::ParseIntError,
    std::num::ParseFloatError,
    std::num::TryFromIntError,
    std::str::Utf8Error,
    std::string::FromUtf8Error
);

/// Why a conversation is over before its end: the host said what is not in the contract,
/// or one of the two ways failed.
#[derive(Debug)]
pub struct Broken(pub(crate) String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}
