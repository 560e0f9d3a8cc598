//! JSON in lines, as the conversation has it.

use crate::codec::{Codec, Fault, DEPTH_MAX};
use crate::value::Value;

pub(crate) struct Json;

impl Codec for Json {
    fn decode(&self, input: &[u8]) -> Result<(Value, usize), Fault> {
        let end = input.iter().position(|b| *b == b'\n').ok_or(Fault::More)?;
        Ok((parse(&input[..end])?, end + 1))
    }

    fn value(&self, value: &Value, out: &mut Vec<u8>) {
        put(value, out);
    }

    fn map(&self, _: usize, out: &mut Vec<u8>) {
        out.push(b'{');
    }

    fn key(&self, i: usize, key: &str, out: &mut Vec<u8>) {
        self.comma(i, out);
        put_text(key, out);
        out.push(b':');
    }

    fn end_map(&self, out: &mut Vec<u8>) {
        out.push(b'}');
    }

    fn list(&self, _: usize, out: &mut Vec<u8>) {
        out.push(b'[');
    }

    fn comma(&self, i: usize, out: &mut Vec<u8>) {
        if i > 0 {
            out.push(b',');
        }
    }

    fn end_list(&self, out: &mut Vec<u8>) {
        out.push(b']');
    }

    fn end(&self, out: &mut Vec<u8>) {
        out.push(b'\n');
    }
}

/// Reads one JSON text.
pub(crate) fn parse(line: &[u8]) -> Result<Value, Fault> {
    let mut d = Decoder { input: line, at: 0 };
    let value = d.value(0)?;
    d.space();
    if d.at < line.len() {
        return Err(Fault::Bad("something after the value"));
    }
    Ok(value)
}

/// Adds a value as JSON.
pub(crate) fn put(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        Value::Int(n) => out.extend_from_slice(n.to_string().as_bytes()),
        Value::Big(n) => out.extend_from_slice(n.to_string().as_bytes()),
        Value::Float(n) => out.extend_from_slice(float(*n).as_bytes()),
        Value::Text(text) => put_text(text, out),
        Value::List(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                put(item, out);
            }
            out.push(b']');
        }
        Value::Map(pairs) => {
            out.push(b'{');
            for (i, (key, item)) in pairs.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                put_text(key, out);
                out.push(b':');
                put(item, out);
            }
            out.push(b'}');
        }
    }
}

/// Writes a double so that it is read as one again: 1.0, 1.5e+300.
fn float(n: f64) -> String {
    let size = n.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{:e}", n);
        return if size < 1.0 { text } else { text.replacen('e', "e+", 1) };
    }
    let text = n.to_string();
    if text.contains('.') {
        text
    } else {
        text + ".0"
    }
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut plain = 0;
    for (i, c) in text.char_indices() {
        if c >= ' ' && c != '"' && c != '\\' && c != '\u{2028}' && c != '\u{2029}' {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[plain..i]);
        plain = i + c.len_utf8();
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            _ => out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes()),
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
    out.push(b'"');
}

struct Decoder<'a> {
    input: &'a [u8],
    at: usize,
}

impl Decoder<'_> {
    fn space(&mut self) {
        while matches!(self.input.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Steps over the bytes of a word if they are next.
    fn eat(&mut self, word: &[u8]) -> bool {
        let is = self.input[self.at..].starts_with(word);
        if is {
            self.at += word.len();
        }
        is
    }

    fn value(&mut self, depth: usize) -> Result<Value, Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::Bad("values within values too deep"));
        }
        self.space();
        match self.input.get(self.at) {
            Some(b'"') => Ok(Value::Text(self.text()?)),
            Some(b'[') => self.list(depth),
            Some(b'{') => self.map(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.eat(b"null") => Ok(Value::Null),
            _ if self.eat(b"true") => Ok(Value::Bool(true)),
            _ if self.eat(b"false") => Ok(Value::Bool(false)),
            _ => Err(Fault::Bad("no value")),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut items = Vec::new();
        self.at += 1;
        self.space();
        if self.eat(b"]") {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            if self.eat(b"]") {
                return Ok(Value::List(items));
            }
            if !self.eat(b",") {
                return Err(Fault::Bad("a list without its end"));
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut pairs = Vec::new();
        self.at += 1;
        self.space();
        if self.eat(b"}") {
            return Ok(Value::Map(pairs));
        }
        loop {
            self.space();
            if self.input.get(self.at) != Some(&b'"') {
                return Err(Fault::Bad("a key that is no text"));
            }
            let key = self.text()?;
            self.space();
            if !self.eat(b":") {
                return Err(Fault::Bad("a key without a value"));
            }
            pairs.push((key, self.value(depth + 1)?));
            self.space();
            if self.eat(b"}") {
                return Ok(Value::Map(pairs));
            }
            if !self.eat(b",") {
                return Err(Fault::Bad("a map without its end"));
            }
        }
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let begin = self.at;
        while matches!(self.input.get(self.at), Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')) {
            self.at += 1;
        }
        let text = std::str::from_utf8(&self.input[begin..self.at]).unwrap_or("");
        if !text.contains(&['.', 'e', 'E'][..]) {
            if let Ok(n) = text.parse() {
                return Ok(Value::Int(n));
            }
            if let Ok(n) = text.parse() {
                return Ok(Value::Big(n));
            }
        }
        match text.parse::<f64>() {
            Ok(n) if n.is_finite() => Ok(Value::Float(n)),
            _ => Err(Fault::Bad("no number")),
        }
    }

    fn text(&mut self) -> Result<String, Fault> {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let rest = &self.input[self.at..];
            let plain = rest.iter().position(|b| *b == b'"' || *b == b'\\' || *b < b' ');
            let plain = plain.ok_or(Fault::Bad("text without its end"))?;
            out.extend_from_slice(&rest[..plain]);
            self.at += plain + 1;
            match rest[plain] {
                b'"' => break,
                b'\\' => self.escape(&mut out)?,
                _ => return Err(Fault::Bad("a control character in text")),
            }
        }
        String::from_utf8(out).map_err(|_| Fault::Bad("text that is not UTF-8"))
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let c = *self.input.get(self.at).ok_or(Fault::Bad("text without its end"))?;
        self.at += 1;
        out.push(match c {
            b'"' | b'\\' | b'/' => c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'f' => 12,
            b'u' => {
                let c = self.unicode()?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(Fault::Bad("an escape that is none")),
        });
        Ok(())
    }

    /// Reads what follows \u, a pair of surrogates too. Half a pair is U+FFFD.
    fn unicode(&mut self) -> Result<char, Fault> {
        let first = self.hex()?;
        if (0xd800..0xdc00).contains(&first) && self.input[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let second = self.hex()?;
            if (0xdc00..0xe000).contains(&second) {
                let c = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(c).unwrap_or('\u{fffd}'));
            }
            self.at = back;
        }
        Ok(char::from_u32(first).unwrap_or('\u{fffd}'))
    }

    fn hex(&mut self) -> Result<u32, Fault> {
        let digits = self.input.get(self.at..self.at + 4).ok_or(Fault::Bad("text without its end"))?;
        let mut n = 0;
        for digit in digits {
            let digit = char::from(*digit).to_digit(16).ok_or(Fault::Bad("an escape that is none"))?;
            n = n << 4 | digit;
        }
        self.at += 4;
        Ok(n)
    }
}
