use crate::request::Request;
use crate::value::Value;

/// Bounds one message of the conversation in bytes, in its encoding.
pub const MESSAGE_MAX: usize = 128 << 10;

/// How deep a whole message may be.
pub(crate) const DEPTH_MAX: usize = 16;

/// One of the two encodings: how messages are read, and the pieces that they are written of.
pub(crate) trait Codec {
    /// Reads the message at the front of `input`.
    fn decode(&self, input: &[u8]) -> Result<(Value, usize), Fault>;
    /// Reads the request at the front of `input` if it is one of those that come all the time,
    /// without a tree or a copy of it; none when it is to be read by decode.
    fn request<'a>(&self, input: &'a [u8]) -> Result<Option<(Request<'a>, usize)>, Fault> {
        let _ = input;
        Ok(None)
    }

    /// Adds a value.
    fn value(&self, value: &Value, out: &mut Vec<u8>);
    /// Adds the beginning of a map of `n` pairs: for each its key and then its value follow.
    fn map(&self, n: usize, out: &mut Vec<u8>);
    /// Adds a key, of the `i`th pair from 0.
    fn key(&self, i: usize, key: &str, out: &mut Vec<u8>);
    /// Ends a map.
    fn end_map(&self, out: &mut Vec<u8>);
    /// Adds the beginning of a list of `n` items, between which `comma` stands.
    fn list(&self, n: usize, out: &mut Vec<u8>);
    /// Adds what stands before the `i`th item from 0.
    fn comma(&self, i: usize, out: &mut Vec<u8>);
    /// Ends a list.
    fn end_list(&self, out: &mut Vec<u8>);
    /// Ends a message.
    fn end(&self, out: &mut Vec<u8>);

    /// Adds a message.
    fn encode(&self, message: &Value, out: &mut Vec<u8>) {
        self.value(message, out);
        self.end(out);
    }
}

/// Why there is no message at the front.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It goes on in bytes that are not here yet.
    More,
    /// It is none, and no bytes will make it one.
    Bad(&'static str),
}
