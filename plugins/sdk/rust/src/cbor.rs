//! CBOR as far as the conversation has it: no byte strings, no tags, no indefinite lengths.

use crate::codec::{Codec, Fault, DEPTH_MAX};
use crate::request::Request;
use crate::value::Value;

pub(crate) struct Cbor;

impl Codec for Cbor {
    fn decode(&self, input: &[u8]) -> Result<(Value, usize), Fault> {
        let mut d = Decoder { input, at: 0 };
        let value = d.value(0)?;
        Ok((value, d.at))
    }

    fn request(&self, input: &[u8]) -> Result<Option<(Request, usize)>, Fault> {
        crate::asked::request(Decoder { input, at: 0 })
    }

    fn value(&self, value: &Value, out: &mut Vec<u8>) {
        put(value, out);
    }

    fn map(&self, n: usize, out: &mut Vec<u8>) {
        head(out, 5, n as u64);
    }

    fn key(&self, _: usize, key: &str, out: &mut Vec<u8>) {
        put_text(key, out);
    }

    fn end_map(&self, _: &mut Vec<u8>) {}

    fn list(&self, n: usize, out: &mut Vec<u8>) {
        head(out, 4, n as u64);
    }

    fn comma(&self, _: usize, _: &mut Vec<u8>) {}

    fn end_list(&self, _: &mut Vec<u8>) {}

    fn end(&self, _: &mut Vec<u8>) {}
}

fn head(out: &mut Vec<u8>, major: u8, n: u64) {
    let major = major << 5;
    match n {
        0..=23 => out.push(major | n as u8),
        24..=0xff => out.extend_from_slice(&[major | 24, n as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&(n as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&n.to_be_bytes());
        }
    }
}

fn put(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(b) => out.push(if *b { 0xf5 } else { 0xf4 }),
        Value::Int(n) if *n < 0 => head(out, 1, !*n as u64),
        Value::Int(n) => head(out, 0, *n as u64),
        Value::Big(n) => head(out, 0, *n),
        Value::Float(n) => {
            let short = *n as f32;
            if f64::from(short) == *n {
                out.push(0xfa);
                out.extend_from_slice(&short.to_be_bytes());
            } else {
                out.push(0xfb);
                out.extend_from_slice(&n.to_be_bytes());
            }
        }
        Value::Text(text) => put_text(text, out),
        Value::List(items) => {
            head(out, 4, items.len() as u64);
            items.iter().for_each(|item| put(item, out));
        }
        Value::Map(pairs) => {
            head(out, 5, pairs.len() as u64);
            for (key, item) in pairs {
                put_text(key, out);
                put(item, out);
            }
        }
    }
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    head(out, 3, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Stands in a message. What it returns of it is borrowed.
pub(crate) struct Decoder<'a> {
    input: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Decoder<'a> {
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

    pub(crate) fn value(&mut self, depth: usize) -> Result<Value, Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::Bad("values within values too deep"));
        }
        let (major, low, n) = self.head()?;
        Ok(match major {
            0 => i64::try_from(n).map_or(Value::Big(n), Value::Int),
            1 => i64::try_from(n).map_or(Value::Float(-1.0 - n as f64), |n| Value::Int(!n)),
            3 => Value::Text(self.text(n)?),
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
            let key = self.text(size)?;
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

    pub(crate) fn text(&mut self, n: u64) -> Result<String, Fault> {
        let n = usize::try_from(n).map_err(|_| Fault::Bad("a length beyond all bounds"))?;
        let bytes = self.take(n)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_string()),
            Err(_) => Err(Fault::Bad("text that is not UTF-8")),
        }
    }
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
