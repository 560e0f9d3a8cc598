use crate::answer::Answer;
use crate::codec::{Codec, Fault, MESSAGE_MAX};
use crate::error::Broken;
use crate::request::Request;
use crate::value::Value;
use std::io::{IoSlice, Read, Write};

/// How much is read at once at first: most messages are not longer.
const READ: usize = 16 << 10;

/// The two ways of a conversation.
pub(crate) trait Talk {
    /// Reads the host's next message; none when it has no more to say.
    fn hear(&mut self) -> Result<Option<Value>, Broken>;
    /// Says a message. One over MESSAGE_MAX is not said: its size comes back.
    fn say(&mut self, message: &Value) -> Result<Option<usize>, Broken>;
    /// Says the answer to a request, as say does.
    fn answer(&mut self, id: u64, answer: Answer) -> Result<Option<usize>, Broken>;
    /// How messages are written.
    fn codec(&self) -> &'static dyn Codec;
}

/// A conversation over a reader and a writer.
pub(crate) struct Conversation<R, W> {
    input: R,
    output: W,
    codec: &'static dyn Codec,
    heard: Vec<u8>, // from..to are bytes that were read and not yet understood
    from: usize,
    to: usize,
    spare: Vec<u8>, // room for what is heard while a request is worked on
    said: Vec<u8>,
}

impl<R: Read, W: Write> Conversation<R, W> {
    pub(crate) fn new(input: R, output: W, codec: &'static dyn Codec) -> Self {
        Conversation { input, output, codec, heard: vec![0; READ], from: 0, to: 0, spare: Vec::new(), said: Vec::new() }
    }

    /// Reads more bytes; false at the end.
    fn more(&mut self) -> Result<bool, Broken> {
        if self.from > 0 {
            self.heard.copy_within(self.from..self.to, 0);
            self.to -= self.from;
            self.from = 0;
        }
        if self.to > MESSAGE_MAX {
            return Err(Broken(format!("read: message over {} bytes", MESSAGE_MAX)));
        }
        if self.to == self.heard.len() {
            self.heard.resize((2 * self.to).clamp(READ, MESSAGE_MAX + 1), 0);
        }
        match self.input.read(&mut self.heard[self.to..]) {
            Ok(n) => {
                self.to += n;
                Ok(n > 0)
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => Ok(true),
            Err(e) => Err(Broken(format!("read: {}", e))),
        }
    }

    /// Hands what the host says next, one after the other, to `take`, which may go on talking
    /// meanwhile and says whether to go on; until the host has no more to say.
    pub(crate) fn each(
        &mut self,
        mut take: impl FnMut(Heard<'_>, &mut Self) -> Result<bool, Broken>,
    ) -> Result<(), Broken> {
        loop {
            // A request stands in these bytes while it is worked on.
            let bytes = std::mem::take(&mut self.heard);
            match next(self.codec, &bytes[self.from..self.to]) {
                Ok((heard, size)) => {
                    self.lay_aside(&bytes[self.from + size..self.to]);
                    if !take(heard, self)? {
                        return Ok(());
                    }
                    self.take_back(bytes);
                }
                Err(Fault::Bad(why)) => return Err(Broken(format!("read: message: {}", why))),
                Err(Fault::More) => {
                    self.heard = bytes;
                    if !self.more_or_end()? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Makes what was read behind a message all that was read.
    fn lay_aside(&mut self, rest: &[u8]) {
        self.heard = std::mem::take(&mut self.spare);
        if self.heard.len() < rest.len() {
            self.heard.resize(rest.len(), 0);
        }
        self.heard[..rest.len()].copy_from_slice(rest);
        (self.from, self.to) = (0, rest.len());
    }

    /// Takes the room of a message back that is done with.
    fn take_back(&mut self, bytes: Vec<u8>) {
        if self.from < self.to {
            self.spare = bytes;
            return;
        }
        self.spare = std::mem::replace(&mut self.heard, bytes);
        (self.from, self.to) = (0, 0);
    }

    /// Reads more bytes; false at an end that is not amid a message.
    fn more_or_end(&mut self) -> Result<bool, Broken> {
        if self.more()? {
            return Ok(true);
        }
        match self.to {
            0 => Ok(false),
            _ => Err(Broken("read: the end amid a message".to_string())),
        }
    }

    /// Sends what was encoded: in one write, whatever line ends are in it.
    fn send(&mut self) -> Result<Option<usize>, Broken> {
        if self.said.len() > MESSAGE_MAX {
            return Ok(Some(self.said.len()));
        }
        let mut from = 0;
        while from < self.said.len() {
            match self.output.write_vectored(&[IoSlice::new(&self.said[from..])]) {
                Ok(0) => return Err(Broken("write: nothing is taken".to_string())),
                Ok(n) => from += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Broken(format!("write: {}", e))),
            }
        }
        self.output.flush().map_err(|e| Broken(format!("write: {}", e)))?;
        Ok(None)
    }
}

/// What the host says.
pub(crate) enum Heard<'a> {
    Request(Request<'a>),
    Message(Value),
}

/// Reads what is at the front, a request without a tree of it where that can be, and says where
/// it ends.
pub(crate) fn next<'a>(codec: &dyn Codec, input: &'a [u8]) -> Result<(Heard<'a>, usize), Fault> {
    if input.is_empty() {
        return Err(Fault::More);
    }
    match codec.request(input)? {
        Some((request, size)) => Ok((Heard::Request(request), size)),
        None => codec.decode(input).map(|(message, size)| (Heard::Message(message), size)),
    }
}

impl<R: Read, W: Write> Talk for Conversation<R, W> {
    fn hear(&mut self) -> Result<Option<Value>, Broken> {
        loop {
            if self.from < self.to {
                match self.codec.decode(&self.heard[self.from..self.to]) {
                    Ok((message, size)) => {
                        self.from += size;
                        return Ok(Some(message));
                    }
                    Err(Fault::Bad(why)) => return Err(Broken(format!("read: message: {}", why))),
                    Err(Fault::More) => {}
                }
            }
            if !self.more_or_end()? {
                return Ok(None);
            }
        }
    }

    fn say(&mut self, message: &Value) -> Result<Option<usize>, Broken> {
        self.said.clear();
        self.codec.encode(message, &mut self.said);
        self.send()
    }

    fn answer(&mut self, id: u64, answer: Answer) -> Result<Option<usize>, Broken> {
        self.said.clear();
        answer.encode(self.codec, id, &mut self.said);
        self.send()
    }

    fn codec(&self) -> &'static dyn Codec {
        self.codec
    }
}
