use crate::codec::Codec;
use crate::conversation::Talk;
use crate::error::{clip, Broken, Error, Result};
use crate::request::{milliseconds, Grant, Init, Limits};
use crate::said::too_long;
use crate::value::{FromValue, IntoValue, Value};
use crate::record;
use std::collections::BTreeMap;
use std::time::Duration;

/// One request's way to the host. Its methods that can fail return an [`Error`] with the
/// host's code when the host refuses: `denied` without the grant.
pub struct Context<'a> {
    talk: &'a mut dyn Talk,
    init: &'a Init,
    now_ms: i64,
    calls: u64,
    /// What ended the conversation amid a call, if anything did.
    pub(crate) broken: Option<Broken>,
}

/// How grave a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For who wrote the plugin.
    Debug,
    /// What happened.
    Info,
    /// What may become an error.
    Warn,
    /// What went wrong.
    Error,
}

impl Level {
    /// The level's number, as it travels.
    pub fn number(self) -> i64 {
        match self {
            Level::Debug => -4,
            Level::Info => 0,
            Level::Warn => 4,
            Level::Error => 8,
        }
    }
}

/// A program to run: no shell, no environment but PATH and LANG.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// The program, a name or an absolute path that is granted, and its arguments.
    pub argv: Vec<String>,
    /// What it reads.
    pub stdin: String,
    /// Bytes kept of each output; 0: the host's default.
    pub output_max: u32,
    /// The longest that it may take; none: the host's default, 5 s.
    pub timeout: Option<Duration>,
}

record! {
    /// How a program ended.
    #[derive(Clone, Debug)]
    pub struct Exit {
        /// Its exit code; 128 + signal when a signal ended it.
        pub exit: i64,
        /// What it wrote.
        pub stdout: String,
        /// What it wrote of errors.
        pub stderr: String,
        /// There was more output than is here.
        pub truncated: bool,
        /// How long it took.
        pub took_ms: i64,
    }
}

impl<'a> Context<'a> {
    pub(crate) fn new(talk: &'a mut dyn Talk, init: &'a Init, now_ms: i64) -> Context<'a> {
        Context { talk, init, now_ms, calls: 0, broken: None }
    }

    /// The host's time at the beginning of the request, milliseconds since 1970. It does
    /// not move while the plugin works.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// How the conversation is written.
    pub(crate) fn codec(&self) -> &'static dyn Codec {
        self.talk.codec()
    }

    /// The name of the workflow that the plugin stands in.
    pub fn workflow(&self) -> &str {
        &self.init.workflow
    }

    /// The name of the step that the plugin is.
    pub fn step(&self) -> &str {
        &self.init.step
    }

    /// What the host holds the plugin to.
    pub fn limits(&self) -> &Limits {
        &self.init.limits
    }

    /// What the plugin may ask the host for.
    pub fn grants(&self) -> &[Grant] {
        &self.init.grants
    }

    /// Makes a host call by name, for those that have no method here.
    pub fn call(&mut self, name: &str, args: Value) -> Result<Value> {
        if let Some(Broken(why)) = &self.broken {
            return Err(Error::new(why.clone()));
        }
        let call = Value::map().with("n", self.calls + 1).with("name", name).with("args", args);
        match self.talk.say(&Value::map().with("call", call)) {
            Ok(None) => self.calls += 1,
            Ok(Some(size)) => return Err(too_long(size)), // nothing was said: the host counts too
            Err(e) => return Err(self.ended(e)),
        }
        let heard = match self.talk.hear() {
            Ok(heard) => heard.unwrap_or(Value::Null),
            Err(e) => return Err(self.ended(e)),
        };
        self.reply(heard)
    }

    /// Reads the answer to the call just made. Anything else ends the conversation.
    fn reply(&mut self, mut heard: Value) -> Result<Value> {
        let mut reply = heard.take("reply");
        if reply.get("n").and_then(|n| n.read().ok()) != Some(self.calls) {
            return Err(self.ended(Broken(format!("read: message: want the reply to call {}", self.calls))));
        }
        match reply.take("error") {
            Value::Null => Ok(reply.take("ok")),
            e => Err(Error::coded(
                e.get("code").and_then(Value::as_str).unwrap_or("internal"),
                e.get("text").and_then(Value::as_str).unwrap_or(""),
            )),
        }
    }

    fn ended(&mut self, why: Broken) -> Error {
        let error = Error::new(why.0.clone());
        self.broken = Some(why);
        error
    }

    /// A call whose reply is read into a type.
    pub(crate) fn ask<T: FromValue>(&mut self, name: &'static str, args: Value) -> Result<T> {
        let ok = self.call(name, args).map_err(|e| e.of_call(name))?;
        T::from_value(&ok, false).map_err(|e| Error::new(format!("reply: {}", e)).of_call(name))
    }

    /// Writes a log line of at most 1 KiB. The host keeps so many a second and counts the
    /// rest; there is nothing to do when it does not.
    pub fn log(&mut self, level: Level, text: &str) {
        let args = Value::map().with("level", level.number()).with("text", clip(text));
        let _ = self.call("log", args);
    }

    /// Logs for who wrote the plugin.
    pub fn debug(&mut self, text: &str) {
        self.log(Level::Debug, text);
    }

    /// Logs what happened.
    pub fn info(&mut self, text: &str) {
        self.log(Level::Info, text);
    }

    /// Logs what may become an error.
    pub fn warn(&mut self, text: &str) {
        self.log(Level::Warn, text);
    }

    /// Reads what the machine is at now, by name: cpu.percent, memory.percent,
    /// memory.available, disk.percent, disk.free, load.1, load.5, load.15,
    /// temperature.cpu, uptime.seconds. A metric that this machine does not have is not in
    /// the map. Needs metrics.read.
    pub fn metrics(&mut self, names: &[&str]) -> Result<BTreeMap<String, f64>> {
        let names: Vec<&str> = names.to_vec();
        let mut ok: Value = self.ask("metrics.read", Value::map().with("names", names))?;
        ok.take("values").read()
    }

    /// Runs a program on the machine and waits for its end. An exit code other than 0 is no
    /// error here. Needs process.execute with the program as a scope.
    pub fn process(&mut self, command: Command) -> Result<Exit> {
        let mut args = Value::map().with("argv", command.argv).with("stdin", command.stdin);
        if command.output_max > 0 {
            args = args.with("output_max", command.output_max);
        }
        self.ask("process.run", timed(args, command.timeout))
    }

    /// Adds text to the end of a file in the plugin's own folder, which it makes if need be,
    /// and returns the file's size in bytes. With `sync` the text is on the disk when this
    /// returns. Needs filesystem.write.
    pub fn append(&mut self, path: &str, data: &str, sync: bool) -> Result<u64> {
        let args = Value::map().with("path", path).with("data", data).with("sync", sync);
        let ok: Value = self.ask("fs.append", args)?;
        ok.get("size").map_or(Ok(0), Value::read)
    }

    /// Makes a file in the plugin's own folder be `data`, whole or not at all. Needs
    /// filesystem.write.
    pub fn write_file(&mut self, path: &str, data: &str) -> Result<()> {
        self.ask("fs.write", Value::map().with("path", path).with("data", data))
    }

    /// Reads a file of the plugin's own folder, `max` bytes of it at most. Needs
    /// filesystem.read.
    pub fn read_file(&mut self, path: &str, max: u32) -> Result<String> {
        let mut ok: Value = self.ask("fs.read", Value::map().with("path", path).with("max", max))?;
        ok.take("data").read()
    }

    /// Lists the names in a folder of the plugin's own folder. Needs filesystem.read.
    pub fn list_files(&mut self, path: &str) -> Result<Vec<String>> {
        let mut ok: Value = self.ask("fs.list", Value::map().with("path", path))?;
        ok.take("names").read()
    }

    /// Reads what [`Context::kv_put`] kept under a key; none when there is nothing. Needs kv.
    pub fn kv_get<T: FromValue>(&mut self, key: &str) -> Result<Option<T>> {
        let mut ok: Value = self.ask("kv.get", Value::map().with("key", key))?;
        ok.take("value").read()
    }

    /// Keeps a value under a key: at most 64 keys, each value at most 16 KiB; null removes
    /// the key. A trigger's own state belongs into [`Fired::state`](crate::Fired::state)
    /// instead, which is kept together with its events. Needs kv.
    pub fn kv_put(&mut self, key: &str, value: impl IntoValue) -> Result<()> {
        self.ask("kv.put", Value::map().with("key", key).with("value", value))
    }
}

/// Adds a timeout to the arguments of a call.
pub(crate) fn timed(args: Value, timeout: Option<Duration>) -> Value {
    match timeout.map(milliseconds) {
        None | Some(0) => args,
        Some(ms) => args.with("timeout_ms", ms),
    }
}
