//! CBOR as far as the conversation has it: no byte strings, no tags, no indefinite lengths.

use crate::codec::{Codec, Fault};
use crate::decoder::Decoder;
use crate::request::Request;
use crate::value::Value;

pub(crate) struct Cbor;

impl Codec for Cbor {
    fn decode(&self, input: &[u8]) -> Result<(Value, usize), Fault> {
        let mut d = Decoder::new(input);
        let value = d.value(0)?;
        Ok((value, d.at))
    }

    fn request<'a>(&self, input: &'a [u8]) -> Result<Option<(Request<'a>, usize)>, Fault> {
        crate::asked::request(Decoder::new(input))
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
        Value::Float(n) => put_float(*n, out),
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

/// Adds a float in the shortest form that keeps its value.
fn put_float(n: f64, out: &mut Vec<u8>) {
    let short = n as f32;
    if f64::from(short) != n {
        out.push(0xfb);
        out.extend_from_slice(&n.to_be_bytes());
    } else if let Some(half) = half_of(short.to_bits()) {
        out.push(0xf9);
        out.extend_from_slice(&half.to_be_bytes());
    } else {
        out.push(0xfa);
        out.extend_from_slice(&short.to_be_bytes());
    }
}

/// The float of 16 bits that is the same as one of 32, if there is one that is not subnormal.
fn half_of(bits: u32) -> Option<u16> {
    let (sign, exponent, fraction) = ((bits >> 16 & 0x8000) as u16, bits >> 23 & 0xff, bits & 0x7f_ffff);
    match exponent {
        0 if fraction == 0 => Some(sign),
        113..=142 if fraction & 0x1fff == 0 => Some(sign | ((exponent - 112) << 10 | fraction >> 13) as u16),
        _ => None,
    }
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    head(out, 3, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}
