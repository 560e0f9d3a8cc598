//! A host for the unit tests of a plugin. It speaks the real conversation with the plugin,
//! answers its host calls from plain maps, and has a clock that only the test moves. It
//! needs no thread, so that tests run as WebAssembly too.
//!
//! ```
//! use stavily::prelude::*;
//! use stavily::testing::Host;
//!
//! let plugin = || Plugin::action("double", |_, _: &(), run: Run| {
//!     let n: i64 = run.event.decode()?;
//!     Ok(2 * n)
//! });
//! let mut host = Host::start(plugin, ()).unwrap();
//! assert_eq!(host.run(21).unwrap(), Value::Int(42));
//! ```
//!
//! What it has no map for, `http.request` and `tcp.*`, a test answers by [`Desk::answer`].

use crate::answer;
use crate::cbor::Cbor;
use crate::codec::{Codec, MESSAGE_MAX};
use crate::conversation::{next, Heard, Talk};
use crate::error::{code, Broken, Error, Result};
use crate::plugin::{Config, Plugin};
use crate::request::{Event, Grant, Request, Run};
use crate::value::{IntoValue, Value};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// When a test begins, unless it says otherwise: 2026-01-01, milliseconds since 1970.
pub const EPOCH_MS: i64 = 1_767_225_600_000;

/// One agent with one plugin. What answers its host calls is in the [`Desk`], whose fields
/// are the host's too: `host.metrics`, `host.kv`, `host.logs`.
pub struct Host<C> {
    make: Box<dyn Fn() -> Plugin<C>>,
    plugin: Plugin<C>,
    config: Value,
    desk: Desk,
    state: Value,
    wake_at: Option<WakeAt>,
    started: bool,
    id: u64,
    /// Told at the next start; they deny nothing by themselves.
    pub grants: Vec<Grant>,
    /// The host's time, milliseconds since 1970. Setting it wakes nothing.
    pub now_ms: i64,
    /// The host's steady clock: it counts what [`Host::advance`] lets pass.
    pub steady_ms: i64,
    /// Whether the device's clock can be believed.
    pub clock: bool,
}

/// What one of the clocks shows when a trigger is to be woken.
#[derive(Clone, Copy)]
enum WakeAt {
    Steady(i64),
    Clock(i64),
}

/// What a trigger answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What happened.
    pub events: Vec<Value>,
    /// What it keeps.
    pub state: Value,
    /// When it wants to be woken next.
    pub after: Option<Duration>,
    /// What the clock is to show when it wants to be woken, in place of `after`.
    pub at_ms: Option<i64>,
    /// The local topics that it waits for.
    pub topics: Vec<String>,
}

/// What answers the host calls. A test may read and change it between requests.
#[derive(Default)]
pub struct Desk {
    /// What metrics.read answers.
    pub metrics: BTreeMap<String, f64>,
    /// What kv.put has kept.
    pub kv: BTreeMap<String, Value>,
    /// The plugin's own folder, by path.
    pub files: BTreeMap<String, String>,
    /// What secret.use tells, by name.
    pub secrets: BTreeMap<String, String>,
    /// The addresses that dns.resolve answers, by name.
    pub names: BTreeMap<String, Vec<String>>,
    /// What mqtt.publish said, oldest first: the topic, and the data.
    pub published: Vec<(String, Value)>,
    /// What the plugin logged, oldest first: the level's number, and the text.
    pub logs: Vec<(i64, String)>,
    /// The host calls that were made, logs too, oldest first.
    pub calls: Vec<(String, Value)>,
    answers: BTreeMap<String, Box<Scripted>>,
    replies: VecDeque<Value>,
    said: Vec<Value>,
}

type Scripted = dyn FnMut(&Value) -> Result<Value>;

impl<C: Config + 'static> Host<C> {
    /// Starts a plugin with a configuration. `make` makes the plugin, and makes it anew for
    /// [`Host::restart`]. The error is the plugin's own: it refuses the configuration.
    pub fn start(make: impl Fn() -> Plugin<C> + 'static, config: impl IntoValue) -> Result<Host<C>> {
        let mut host = Host {
            plugin: make(),
            make: Box::new(make),
            config: config.into_value(),
            desk: Desk::default(),
            state: Value::Null,
            wake_at: None,
            started: false,
            id: 0,
            grants: Vec::new(),
            now_ms: EPOCH_MS,
            steady_ms: 0,
            clock: true,
        };
        host.open().map(|()| host)
    }

    fn open(&mut self) -> Result<()> {
        let init = Value::map()
            .with("config", self.config.clone())
            .with("limits", Value::map().with("max_memory_mb", 64))
            .with("grants", self.grants.clone())
            .with("workflow", "test")
            .with("step", "plugin");
        self.started = false;
        let ready = self.plugin.begin(Value::map().with("init", init), &mut self.desk);
        let mut said = self.desk.said.pop().unwrap_or(Value::Null);
        match ready {
            Ok(true) => Ok(()),
            Ok(false) => Err(error_of(&said.take("error"))),
            Err(e) => Err(Error::new(e.0)),
        }
    }

    /// Ends the plugin and starts it anew, as a reboot does: a trigger's state stays, and so
    /// does what the desk has.
    pub fn restart(&mut self) -> Result<()> {
        self.plugin = (self.make)();
        self.open()
    }

    /// Wakes a trigger now, with the state that it answered last. The first wake after a
    /// start is a start, the others are timers.
    pub fn wake(&mut self) -> Result<Answer> {
        let why = if self.started { "timer" } else { "start" };
        self.started = true;
        self.wake_by(Value::map().with("why", why))
    }

    /// Wakes a trigger with a message on a local topic, whether it waits for that or not.
    pub fn hear(&mut self, topic: &str, data: impl IntoValue) -> Result<Answer> {
        let message = Value::map().with("topic", topic).with("data", data);
        self.wake_by(Value::map().with("why", "message").with("message", message))
    }

    fn wake_by(&mut self, wake: Value) -> Result<Answer> {
        let told = wake
            .with("now_ms", self.now_ms)
            .with("state", self.state.clone())
            .with("steady_ms", self.steady_ms)
            .with("clock", self.clock);
        let mut answer = self.ask("wake", told)?;
        let next = answer.take("next");
        let after: u64 = next.get("after_ms").map_or(Ok(0), Value::read)?;
        self.state = answer.take("state");
        let at_ms: i64 = next.get("at_ms").map_or(Ok(0), Value::read)?;
        self.wake_at = match (at_ms, after) {
            (0, 0) => None,
            (0, after) => Some(WakeAt::Steady(self.steady_ms + after as i64)),
            (at, _) => Some(WakeAt::Clock(at)),
        };
        Ok(Answer {
            events: answer.take("events").read()?,
            state: self.state.clone(),
            after: (after > 0).then(|| Duration::from_millis(after)),
            at_ms: (at_ms > 0).then_some(at_ms),
            topics: next.get("mqtt").map_or(Ok(Vec::new()), Value::read)?,
        })
    }

    /// Lets time pass: wakes the trigger at once if it was not started, and then each time
    /// that it asked for, and returns the events.
    pub fn advance(&mut self, by: Duration) -> Result<Vec<Value>> {
        let end = self.steady_ms + by.as_millis() as i64;
        if !self.started {
            self.wake_at = Some(WakeAt::Steady(self.steady_ms));
        }
        let mut events = Vec::new();
        while let Some(wait) = self.wait().filter(|wait| self.steady_ms + wait <= end) {
            self.pass(wait);
            events.extend(self.wake()?.events);
        }
        self.pass(end - self.steady_ms);
        Ok(events)
    }

    /// How long it is until the trigger is woken, by the clock that it named.
    fn wait(&self) -> Option<i64> {
        self.wake_at.map(|at| match at {
            WakeAt::Steady(at) => (at - self.steady_ms).max(0),
            WakeAt::Clock(at) => (at - self.now_ms).max(0),
        })
    }

    fn pass(&mut self, ms: i64) {
        self.now_ms += ms;
        self.steady_ms += ms;
    }

    /// Asks an action to work on an event with this data and returns the result's data.
    pub fn run(&mut self, data: impl IntoValue) -> Result<Value> {
        let run = self.request(data);
        self.run_full(run)
    }

    /// [`Host::run`] with everything that an action is told.
    pub fn run_full(&mut self, run: Run<'_>) -> Result<Value> {
        Ok(self.ask("run", run.into_value())?.take("data"))
    }

    /// Asks an output to deliver a run.
    pub fn deliver(&mut self, run: Run<'_>) -> Result<()> {
        self.ask("deliver", run.into_value()).map(|_| ())
    }

    /// Asks the plugin to check itself.
    pub fn check(&mut self) -> Result<()> {
        self.ask("check", Value::map().with("now_ms", self.now_ms)).map(|_| ())
    }

    /// Hands an action or an output several events at once, as an agent does when a queue has
    /// built up, and asks again for what it left out. The outcome of each; an output's is null.
    pub fn batch(&mut self, events: Vec<Value>) -> Result<Vec<Result<Value>>> {
        let output = self.plugin.hello().take("hello").get("type").and_then(Value::as_str) == Some("output");
        let kind = if output { "deliver" } else { "run" };
        let mut work: VecDeque<Value> = VecDeque::new();
        for (i, data) in events.into_iter().enumerate() {
            let run = Run { key: format!("key-{}", i + 1).into(), ..self.request(data) };
            work.push_back(run.into_value());
        }
        let mut outcomes = Vec::new();
        while !work.is_empty() {
            let items = Value::List(work.iter().cloned().collect());
            let body = Value::map()
                .with("kind", kind)
                .with("deadline_ms", 30_000)
                .with("now_ms", self.now_ms)
                .with("items", items);
            let answered: Vec<Value> = self.ask("batch", body)?.take("items").read()?;
            if answered.is_empty() || answered.len() > work.len() {
                return Err(format!("test: {} answers to {} events", answered.len(), work.len()).into());
            }
            for mut item in answered {
                work.pop_front();
                outcomes.push(match item.take("error") {
                    Value::Null => Ok(item.take("data")),
                    e => Err(error_of(&e)),
                });
            }
        }
        Ok(outcomes)
    }

    /// What an action or output is asked for an event of now with this data.
    pub fn request(&self, data: impl IntoValue) -> Run<'static> {
        Run {
            event: Event {
                run: "000102030405060708090a0b0c0d0e0f".into(),
                workflow: "test".into(),
                time_ms: self.now_ms,
                data: data.into_value().into(),
            },
            results: Vec::new(),
            key: "key-1".into(),
            deadline_ms: 30_000,
            now_ms: self.now_ms,
        }
    }

    /// Puts one request and returns the answer.
    fn ask(&mut self, kind: &str, body: Value) -> Result<Value> {
        self.id += 1;
        let message = encoded(&Value::map().with("id", self.id).with(kind, body)).ok_or("test: request too long")?;
        self.desk.said.clear();
        let request = match next(&Cbor, &message) {
            Ok((Heard::Request(request), _)) => request,
            Ok((Heard::Message(message), _)) => Request::of(message).map_err(|e| Error::new(e.0))?,
            Err(_) => return Err("test: a request that cannot be read".into()),
        };
        self.plugin.request(request, &mut self.desk).map_err(|e| Error::new(e.0))?;
        let mut said = self.desk.said.pop().ok_or("test: no answer")?;
        match said.take("error") {
            Value::Null => Ok(said.take("answer")),
            e => Err(error_of(&e)),
        }
    }
}

impl<C> Deref for Host<C> {
    type Target = Desk;
    fn deref(&self) -> &Desk {
        &self.desk
    }
}

impl<C> DerefMut for Host<C> {
    fn deref_mut(&mut self) -> &mut Desk {
        &mut self.desk
    }
}

impl Desk {
    /// Answers the host calls of a name by `f` instead of from the maps.
    pub fn answer(&mut self, name: &str, f: impl FnMut(&Value) -> Result<Value> + 'static) {
        self.answers.insert(name.to_string(), Box::new(f));
    }

    /// Refuses the host calls of a name, as a host does without the grant.
    pub fn deny(&mut self, name: &str) {
        let text = format!("{}: not granted", name);
        self.answer(name, move |_| Err(Error::coded(code::DENIED, text.clone())));
    }

    fn reply(&mut self, name: &str, args: &Value) -> Result<Value> {
        self.calls.push((name.to_string(), args.clone()));
        if let Some(answer) = self.answers.get_mut(name) {
            return answer(args);
        }
        let text = |key: &str| args.get(key).and_then(Value::as_str).unwrap_or("").to_string();
        match name {
            "log" => {
                let level = args.get("level").map_or(Ok(0), Value::read)?;
                self.logs.push((level, text("text")));
            }
            "kv.get" => {
                let value = self.kv.get(&text("key")).cloned();
                return Ok(Value::map().with("value", value));
            }
            "kv.put" => match args.get("value") {
                None | Some(Value::Null) => drop(self.kv.remove(&text("key"))),
                Some(value) => drop(self.kv.insert(text("key"), value.clone())),
            },
            "metrics.read" => {
                let names: Vec<String> = args.get("names").map_or(Ok(Vec::new()), Value::read)?;
                let known = names.into_iter().filter_map(|n| self.metrics.get(&n).map(|v| (n.clone(), *v)));
                return Ok(Value::map().with("values", known.collect::<BTreeMap<_, _>>()));
            }
            "fs.write" => return Ok(self.write(text("path"), text("data"))),
            "fs.append" => {
                let whole = self.files.get(&text("path")).cloned().unwrap_or_default() + &text("data");
                return Ok(self.write(text("path"), whole));
            }
            "fs.read" => return self.read(&text("path"), args),
            "fs.list" => return Ok(Value::map().with("names", self.list(&text("path")))),
            "mqtt.publish" => self.published.push((text("topic"), args.get("data").cloned().unwrap_or(Value::Null))),
            "secret.use" => {
                let gone = || Error::coded(code::UNAVAILABLE, format!("secret {}: not on this device", text("name")));
                return Ok(Value::map().with("value", self.secrets.get(&text("name")).ok_or_else(gone)?.clone()));
            }
            "dns.resolve" => {
                let gone = || Error::coded(code::NOT_FOUND, format!("resolve {:?}: no such name", text("name")));
                return Ok(Value::map().with("addresses", self.names.get(&text("name")).ok_or_else(gone)?.clone()));
            }
            _ => return Err(Error::coded(code::UNAVAILABLE, format!("{}: no answer in this test", name))),
        }
        Ok(Value::map())
    }

    fn write(&mut self, path: String, data: String) -> Value {
        let size = data.len();
        self.files.insert(path, data);
        Value::map().with("size", size)
    }

    /// The files and, with a slash, the folders of a folder.
    fn list(&self, path: &str) -> Vec<String> {
        let head = if path == "." { String::new() } else { format!("{}/", path) };
        let below = self.files.keys().filter_map(|n| n.strip_prefix(&head));
        let names: BTreeSet<String> = below.map(|n| n.split_inclusive('/').next().unwrap_or(n).to_string()).collect();
        names.into_iter().collect()
    }

    fn read(&self, path: &str, args: &Value) -> Result<Value> {
        let max: usize = args.get("max").map_or(Ok(usize::MAX), Value::read)?;
        match self.files.get(path) {
            None => Err(Error::coded(code::NOT_FOUND, format!("file {:?}: not there", path))),
            Some(data) => {
                let cut = String::from_utf8_lossy(&data.as_bytes()[..max.min(data.len())]).into_owned();
                Ok(Value::map().with("data", cut).with("size", data.len()))
            }
        }
    }
}

impl Talk for Desk {
    fn hear(&mut self) -> std::result::Result<Option<Value>, Broken> {
        Ok(self.replies.pop_front())
    }

    fn say(&mut self, message: &Value) -> std::result::Result<Option<usize>, Broken> {
        let mut message = match carried(message) {
            Some(message) => message,
            None => return Ok(Some(MESSAGE_MAX + 1)),
        };
        let mut call = message.take("call");
        if call.is_null() {
            self.said.push(message);
            return Ok(None);
        }
        let (name, args, n) = (call.take("name"), call.take("args"), call.take("n"));
        let reply = Value::map().with("n", n);
        let reply = match self.reply(name.as_str().unwrap_or(""), &args) {
            Ok(ok) => reply.with("ok", ok),
            Err(e) => reply.with("error", Value::map().with("code", e.code()).with("text", e.text())),
        };
        self.replies.push_back(Value::map().with("reply", reply));
        Ok(None)
    }

    fn answer(&mut self, id: u64, answer: answer::Answer) -> std::result::Result<Option<usize>, Broken> {
        let mut bytes = Vec::new();
        answer.encode(&Cbor, id, &mut bytes);
        match read(&bytes) {
            Some(message) => self.said.push(message),
            None => return Ok(Some(bytes.len())),
        }
        Ok(None)
    }

    fn codec(&self) -> &'static dyn Codec {
        &Cbor
    }
}

/// A message as the other side gets it; none when it is too long.
fn carried(message: &Value) -> Option<Value> {
    read(&encoded(message)?)
}

fn encoded(message: &Value) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    Cbor.encode(message, &mut bytes);
    (bytes.len() <= MESSAGE_MAX).then_some(bytes)
}

fn read(bytes: &[u8]) -> Option<Value> {
    if bytes.len() > MESSAGE_MAX {
        return None;
    }
    Cbor.decode(bytes).ok().map(|(value, _)| value)
}

fn error_of(e: &Value) -> Error {
    let text = |key: &str| e.get(key).and_then(Value::as_str).unwrap_or("").to_string();
    Error::coded(text("code"), text("text"))
}
