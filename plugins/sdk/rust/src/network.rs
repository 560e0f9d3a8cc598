use crate::context::{timed, Context};
use crate::error::{Error, Result};
use crate::value::{IntoValue, Value};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::time::Duration;

/// A request to make. The host makes it, verifies TLS, and follows no redirect.
#[derive(Clone, Debug, Default)]
pub struct HttpRequest {
    /// Empty is GET.
    pub method: String,
    /// http or https.
    pub url: String,
    /// Names and values.
    pub headers: BTreeMap<String, String>,
    /// What is sent.
    pub body: Vec<u8>,
    /// Names of secrets. The host puts the value of each in place of its [`handle`] in headers,
    /// path and query; the plugin does not learn it. Needs secret.use with "name@host:port" as
    /// a scope.
    pub secrets: Vec<String>,
    /// Bytes kept of the answer's body; 0: 64 KiB, at most 80 KiB.
    pub max: u32,
    /// None: the host's default, 10 s.
    pub timeout: Option<Duration>,
}

/// The answer, whatever its status.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    /// 200 and so on.
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// What came, [`HttpRequest::max`] bytes of it at most.
    pub body: Vec<u8>,
    /// There was more body than is here.
    pub truncated: bool,
}

impl Context<'_> {
    /// The addresses of a host name, best first. Needs dns.resolve with the name as a scope.
    pub fn resolve(&mut self, name: &str) -> Result<Vec<String>> {
        let mut ok: Value = self.ask("dns.resolve", Value::map().with("name", name))?;
        ok.take("addresses").read()
    }

    /// Makes a request. A status that says no is no error here. Needs http.request with
    /// "host:port" as a scope.
    pub fn http(&mut self, request: HttpRequest) -> Result<HttpResponse> {
        let mut args = Value::map().with("url", request.url);
        if !request.method.is_empty() {
            args = args.with("method", request.method);
        }
        if !request.headers.is_empty() {
            args = args.with("headers", request.headers);
        }
        if !request.body.is_empty() {
            args = match String::from_utf8(request.body) {
                Ok(text) => args.with("body", text),
                Err(bytes) => args.with("body_base64", encode64(bytes.as_bytes())),
            };
        }
        if !request.secrets.is_empty() {
            args = args.with("secrets", request.secrets);
        }
        if request.max > 0 {
            args = args.with("max", request.max);
        }
        let mut ok: Value = self.ask("http.request", timed(args, request.timeout))?;
        Ok(HttpResponse {
            status: ok.take("status").read()?,
            headers: ok.take("headers").read()?,
            truncated: ok.take("truncated").read::<Option<bool>>()?.unwrap_or(false),
            body: bytes(&mut ok, "body", "body_base64")?,
        })
    }

    /// The value of a secret. A plugin that only sends it on wants a [`handle`] instead, and is
    /// granted it more easily. Needs secret.use with the bare name as a scope.
    pub fn secret(&mut self, name: &str) -> Result<Vec<u8>> {
        let mut ok: Value = self.ask("secret.use", Value::map().with("name", name))?;
        bytes(&mut ok, "value", "value_base64")
    }

    /// Says something to the triggers of this device that wait for the topic. `data` is at most
    /// 8 KiB; nobody has to hear it. Needs mqtt.publish with filters as scopes.
    pub fn publish(&mut self, topic: &str, data: impl IntoValue) -> Result<()> {
        self.ask::<Value>("mqtt.publish", Value::map().with("topic", topic).with("data", data.into_value()))?;
        Ok(())
    }

    /// Connects to a port of a host, a name or an address; with `tls` the host of the plugin
    /// verifies the other side and encrypts. Needs tcp.connect with "host:port" as a scope.
    /// While the connection is there, other host calls go through [`Conn::call`].
    pub fn dial(&mut self, host: &str, port: u16, tls: bool) -> Result<Conn<'_>> {
        let mut args = Value::map().with("host", host).with("port", port);
        if tls {
            args = args.with("tls", true);
        }
        let mut ok: Value = self.ask("tcp.connect", args)?;
        Ok(Conn {
            number: ok.take("conn").read()?,
            address: ok.take("address").read::<Option<String>>()?.unwrap_or_default(),
            timeout: None,
            context: unbound(self),
        })
    }
}

/// What stands for the value of a secret in an [`HttpRequest`] that names it.
pub fn handle(secret: &str) -> String {
    format!("${{{}}}", secret)
}

/// Lets a context be held for as long as the borrow of it, and no longer.
fn unbound<'c>(context: &'c mut Context<'_>) -> &'c mut (dyn Calls + 'c) {
    context
}

/// What a connection needs of a context.
trait Calls {
    fn ask(&mut self, name: &'static str, args: Value) -> Result<Value>;
}

impl Calls for Context<'_> {
    fn ask(&mut self, name: &'static str, args: Value) -> Result<Value> {
        Context::ask(self, name, args)
    }
}

/// A connection of one request; the host closes it when the request ends, or when it is
/// dropped. It reads and writes as any stream of bytes does.
pub struct Conn<'c> {
    context: &'c mut (dyn Calls + 'c),
    number: u64,
    address: String,
    /// Bounds each read and write; none: the host's default, 10 s. A read that met it may be
    /// tried again.
    pub timeout: Option<Duration>,
}

/// Bounds the bytes of one tcp.read and one tcp.write: in base64 they fit a message.
const CHUNK: usize = 64 << 10;

impl Conn<'_> {
    /// The address and port that were connected to.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Makes another host call while the connection is there.
    pub fn call(&mut self, name: &'static str, args: Value) -> Result<Value> {
        self.context.ask(name, args)
    }

    fn args(&self) -> Value {
        timed(Value::map().with("conn", self.number), self.timeout)
    }
}

impl Read for Conn<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let args = self.args().with("max", buf.len().min(CHUNK)).with("base64", true);
        let mut ok = self.context.ask("tcp.read", args)?;
        let got = bytes(&mut ok, "data", "data_base64")?;
        let n = got.len().min(buf.len());
        buf[..n].copy_from_slice(&got[..n]);
        Ok(n)
    }
}

impl Write for Conn<'_> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let part = &buf[..buf.len().min(CHUNK)];
        let args = self.args().with("data_base64", encode64(part));
        self.context.ask("tcp.write", args)?;
        Ok(part.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Conn<'_> {
    fn drop(&mut self) {
        let args = Value::map().with("conn", self.number);
        let _ = self.context.ask("tcp.close", args);
    }
}

/// Takes bytes out of a reply, where they stand as text or in base64.
fn bytes(reply: &mut Value, text: &str, in64: &str) -> Result<Vec<u8>> {
    match (reply.take(text), reply.take(in64)) {
        (_, Value::Text(coded)) => decode64(&coded).ok_or_else(|| Error::new("reply: no base64")),
        (Value::Text(plain), _) => Ok(plain.into_bytes()),
        _ => Ok(Vec::new()),
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(crate) fn encode64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 4 / 3 + 4);
    for three in bytes.chunks(3) {
        let n = (three.iter().fold(0u32, |n, b| n << 8 | u32::from(*b))) << (8 * (3 - three.len()));
        for i in 0..4 {
            let digit = DIGITS[(n >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= three.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

pub(crate) fn decode64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    for four in text.chunks(4) {
        let mut n = 0u32;
        for c in four {
            n = n << 6 | DIGITS.iter().position(|d| d == c)? as u32;
        }
        n <<= 6 * (4 - four.len());
        let whole = match four.len() {
            1 => return None,
            n => n - 1,
        };
        out.extend_from_slice(&n.to_be_bytes()[1..=whole]);
    }
    Some(out)
}
