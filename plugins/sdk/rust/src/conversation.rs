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
    said: Vec<u8>,
}

impl<R: Read, W: Write> Conversation<R, W> {
    pub(crate) fn new(input: R, output: W, codec: &'static dyn Codec) -> Self {
        Conversation { input, output, codec, heard: vec![0; READ], from: 0, to: 0, said: Vec::new() }
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
            self.heard.resize((2 * self.to).min(MESSAGE_MAX + 1), 0);
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

    /// Reads what is next by `read`, which knows where a message ends; none at the end.
    fn read<T>(&mut self, read: impl Fn(&dyn Codec, &[u8]) -> Result<(T, usize), Fault>) -> Result<Option<T>, Broken> {
        loop {
            if self.from < self.to {
                match read(self.codec, &self.heard[self.from..self.to]) {
                    Ok((message, size)) => {
                        self.from += size;
                        return Ok(Some(message));
                    }
                    Err(Fault::Bad(why)) => return Err(Broken(format!("read: message: {}", why))),
                    Err(Fault::More) => {}
                }
            }
            if !self.more()? {
                return match self.to {
                    0 => Ok(None),
                    _ => Err(Broken("read: the end amid a message".to_string())),
                };
            }
        }
    }

    /// Reads what is next, a request without a tree of it where that can be; none when the host
    /// has no more to say.
    pub(crate) fn next(&mut self) -> Result<Option<Heard>, Broken> {
        self.read(|codec, input| match codec.request(input)? {
            Some((request, size)) => Ok((Heard::Request(request), size)),
            None => codec.decode(input).map(|(message, size)| (Heard::Message(message), size)),
        })
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

/// What next reads.
pub(crate) enum Heard {
    Request(Request),
    Message(Value),
}

impl<R: Read, W: Write> Talk for Conversation<R, W> {
    fn hear(&mut self) -> Result<Option<Value>, Broken> {
        self.read(|codec, input| codec.decode(input))
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
