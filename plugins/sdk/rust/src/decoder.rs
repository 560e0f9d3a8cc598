//! Takes CBOR apart.

use crate::codec::{Fault, DEPTH_MAX};
use crate::value::Value;

/// Stands in a message. What it returns of it is borrowed.
pub(crate) struct Decoder<'a> {
    input: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Decoder<'a> {
    /// Stands at the beginning of a message.
    pub(crate) fn new(input: &'a [u8]) -> Decoder<'a> {
        Decoder { input, at: 0 }
    }

    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(n).ok_or(Fault::Bad("a length beyond all bounds"))?;
        let bytes = self.input.get(self.at..end).ok_or(Fault::More)?;
        self.at = end;
        Ok(bytes)
    }

    /// Reads a head: its major type, its low bits, and the number that they stand for.
    pub(crate) fn head(&mut self) -> Result<(u8, u8, u64), Fault> {
        let first = self.take(1)?[0];
        let low = first & 31;
        let n = match low {
            0..=23 => u64::from(low),
            24..=27 => {
                let bytes = self.take(1 << (low - 24))?;
                bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b))
            }
            _ => return Err(Fault::Bad("a length that is not said")),
        };
        Ok((first >> 5, low, n))
    }

    /// Passes over a value, and returns the bytes of it: all of it is as it may be, but for text
    /// that is not UTF-8, which whoever reads it finds.
    pub(crate) fn skip(&mut self, depth: usize) -> Result<&'a [u8], Fault> {
        let from = self.at;
        self.pass(depth)?;
        Ok(&self.input[from..self.at])
    }

    fn pass(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::Bad("values within values too deep"));
        }
        let (major, low, n) = self.head()?;
        match major {
            0 | 1 => {}
            3 => self.pass_text(n)?,
            4 => {
                self.count(n)?;
                for _ in 0..n {
                    self.pass(depth + 1)?;
                }
            }
            5 => {
                self.count(n)?;
                for _ in 0..n {
                    match self.head()? {
                        (3, _, size) => self.pass_text(size)?,
                        _ => return Err(Fault::Bad("a key that is no text")),
                    }
                    self.pass(depth + 1)?;
                }
            }
            7 => drop(simple(low, n)?),
            _ => return Err(Fault::Bad("a kind of value that is not in the conversation")),
        }
        Ok(())
    }

    fn pass_text(&mut self, n: u64) -> Result<(), Fault> {
        self.take(length(n)?).map(|_| ())
    }

    pub(crate) fn value(&mut self, depth: usize) -> Result<Value, Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::Bad("values within values too deep"));
        }
        let (major, low, n) = self.head()?;
        Ok(match major {
            0 => i64::try_from(n).map_or(Value::Big(n), Value::Int),
            1 => i64::try_from(n).map_or(Value::Float(-1.0 - n as f64), |n| Value::Int(!n)),
            3 => Value::Text(self.text(n)?.to_string()),
            4 => {
                let mut items = Vec::with_capacity(self.count(n)?);
                for _ in 0..n {
                    items.push(self.value(depth + 1)?);
                }
                Value::List(items)
            }
            5 => Value::Map(self.pairs(n, depth)?),
            7 => simple(low, n)?,
            _ => return Err(Fault::Bad("a kind of value that is not in the conversation")),
        })
    }

    fn pairs(&mut self, n: u64, depth: usize) -> Result<Vec<(String, Value)>, Fault> {
        let mut pairs = Vec::with_capacity(self.count(n)?);
        for _ in 0..n {
            let (major, _, size) = self.head()?;
            if major != 3 {
                return Err(Fault::Bad("a key that is no text"));
            }
            let key = self.text(size)?.to_string();
            pairs.push((key, self.value(depth + 1)?));
        }
        Ok(pairs)
    }

    /// How many values to make room for: no more than there are bytes.
    pub(crate) fn count(&self, n: u64) -> Result<usize, Fault> {
        if n > 4096 {
            return Err(Fault::Bad("too many values"));
        }
        Ok((n as usize).min(self.input.len() - self.at))
    }

    pub(crate) fn text(&mut self, n: u64) -> Result<&'a str, Fault> {
        let bytes = self.take(length(n)?)?;
        std::str::from_utf8(bytes).map_err(|_| Fault::Bad("text that is not UTF-8"))
    }
}

fn length(n: u64) -> Result<usize, Fault> {
    usize::try_from(n).map_err(|_| Fault::Bad("a length beyond all bounds"))
}

fn simple(low: u8, n: u64) -> Result<Value, Fault> {
    let float = match low {
        20 => return Ok(Value::Bool(false)),
        21 => return Ok(Value::Bool(true)),
        22 => return Ok(Value::Null),
        25 => half(n as u16),
        26 => f64::from(f32::from_bits(n as u32)),
        27 => f64::from_bits(n),
        _ => return Err(Fault::Bad("a simple value that is not in the conversation")),
    };
    if float.is_finite() {
        Ok(Value::Float(float))
    } else {
        Err(Fault::Bad("a number that is not finite"))
    }
}

/// The value of a float of 16 bits.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 => f64::INFINITY,
        _ => (fraction + 1024.0) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 {
        -size
    } else {
        size
    }
}
