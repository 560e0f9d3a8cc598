use crate::value::Value;

/// Bounds one message of the conversation in bytes, in its encoding.
pub const MESSAGE_MAX: usize = 128 << 10;

/// How deep a whole message may be.
pub(crate) const DEPTH_MAX: usize = 16;

/// One of the two encodings.
pub(crate) trait Codec {
    /// Adds a message to `out`.
    fn encode(&self, message: &Value, out: &mut Vec<u8>);
    /// Reads the message at the front of `input`.
    fn decode(&self, input: &[u8]) -> Result<(Value, usize), Fault>;
}

/// Why there is no message at the front.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It goes on in bytes that are not here yet.
    More,
    /// It is none, and no bytes will make it one.
    Bad(&'static str),
}
