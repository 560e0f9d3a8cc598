//! Writes answers, without a tree of them.

use crate::codec::{Codec, MESSAGE_MAX};
use crate::error::{Error, Result};
use crate::request::Fired;
use crate::said::{refused, too_long};
use crate::value::{IntoValue, Value};

/// How long an answer becomes before it is sent: the host asks for the rest again, and one
/// more result must still fit.
const ENOUGH: usize = MESSAGE_MAX - (64 << 10);

/// What is answered to a request.
pub(crate) enum Answer {
    /// Nothing but that it is done.
    Done,
    /// A result.
    Data(Value),
    /// What a trigger answers.
    Fired(Fired),
    /// The results of a batch.
    Items(Items),
}

impl Answer {
    /// Adds the answer to a request as a message.
    pub(crate) fn encode(self, codec: &dyn Codec, id: u64, out: &mut Vec<u8>) {
        codec.map(2, out);
        codec.key(0, "id", out);
        codec.value(&id.into_value(), out);
        codec.key(1, "answer", out);
        match self {
            Answer::Done => {
                codec.map(0, out);
                codec.end_map(out);
            }
            Answer::Data(data) => {
                codec.map(1, out);
                codec.key(0, "data", out);
                codec.value(&data, out);
                codec.end_map(out);
            }
            Answer::Fired(fired) => codec.value(&fired.into_answer(), out),
            Answer::Items(items) => {
                codec.map(1, out);
                codec.key(0, "items", out);
                codec.list(items.count, out);
                out.extend_from_slice(&items.bytes);
                codec.end_list(out);
                codec.end_map(out);
            }
        }
        codec.end_map(out);
        codec.end(out);
    }
}

/// The results of a batch, as they stand in the answer.
pub(crate) struct Items {
    codec: &'static dyn Codec,
    silent: bool,
    count: usize,
    bytes: Vec<u8>,
}

impl Items {
    /// No results yet. `silent` ones have no data, as an output's.
    pub(crate) fn new(codec: &'static dyn Codec, silent: bool) -> Items {
        Items { codec, silent, count: 0, bytes: Vec::new() }
    }

    /// Adds an outcome; false when there is no room for another. What is too long is an
    /// error of that event.
    pub(crate) fn put(&mut self, outcome: Result<Value>) -> bool {
        let at = self.bytes.len();
        match outcome {
            Ok(_) if self.silent => {
                self.codec.comma(self.count, &mut self.bytes);
                self.codec.map(0, &mut self.bytes);
                self.codec.end_map(&mut self.bytes);
            }
            Ok(data) => self.pair("data", &data),
            Err(e) => self.pair("error", &refused(&e)),
        }
        let size = self.bytes.len() - at;
        if size > MESSAGE_MAX - ENOUGH - 1024 {
            self.bytes.truncate(at);
            self.pair("error", &refused(&Error::new(format!("answer: {}", too_long(size)))));
        }
        self.count += 1;
        self.bytes.len() < ENOUGH
    }

    fn pair(&mut self, key: &str, value: &Value) {
        let out = &mut self.bytes;
        self.codec.comma(self.count, out);
        self.codec.map(1, out);
        self.codec.key(0, key, out);
        self.codec.value(value, out);
        self.codec.end_map(out);
    }
}
