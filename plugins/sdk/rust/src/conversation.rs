use crate::codec::{Codec, Fault, MESSAGE_MAX};
use crate::value::Value;
use std::io::{Read, Write};

/// Why a conversation is over before its end: the host said what is not in the contract,
/// or one of the two ways failed.
#[derive(Debug)]
pub struct Broken(pub(crate) String);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

/// The two ways of a conversation.
pub(crate) trait Talk {
    /// Reads the host's next message; none when it has no more to say.
    fn hear(&mut self) -> Result<Option<Value>, Broken>;
    /// Says a message. One over MESSAGE_MAX is not said: its size comes back.
    fn say(&mut self, message: &Value) -> Result<Option<usize>, Broken>;
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
        Conversation { input, output, codec, heard: vec![0; 4 << 10], from: 0, to: 0, said: Vec::new() }
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
            if !self.more()? {
                return match self.to {
                    0 => Ok(None),
                    _ => Err(Broken("read: the end amid a message".to_string())),
                };
            }
        }
    }

    fn say(&mut self, message: &Value) -> Result<Option<usize>, Broken> {
        self.said.clear();
        self.codec.encode(message, &mut self.said);
        if self.said.len() > MESSAGE_MAX {
            return Ok(Some(self.said.len()));
        }
        let written = self.output.write_all(&self.said).and_then(|()| self.output.flush());
        written.map_err(|e| Broken(format!("write: {}", e)))?;
        Ok(None)
    }
}
