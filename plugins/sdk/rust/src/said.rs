//! Errors as they travel.

use crate::codec::MESSAGE_MAX;
use crate::error::{clip, Error};
use crate::value::Value;

/// What is wrong with a message of this size.
pub(crate) fn too_long(size: usize) -> Error {
    Error::new(format!("message too long: {} bytes, limit {}", size, MESSAGE_MAX))
}

/// An error as it stands in an answer.
pub(crate) fn refused(e: &Error) -> Value {
    said(e.answered(), &e.to_string())
}

/// An error as it travels.
pub(crate) fn said(code: &str, text: &str) -> Value {
    Value::map().with("code", code).with("text", clip(text))
}
