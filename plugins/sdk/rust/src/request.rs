use crate::data::Data;
use crate::error::{Broken, Error, Result};
use crate::record;
use crate::value::{at, field, known, FromValue, IntoValue, Value};
use std::borrow::Cow;
use std::time::Duration;

/// Why a trigger is woken. The first wake after a start is [`Why::Start`], whatever the
/// trigger waited for before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Armed, or armed again.
    Start,
    /// The time that the last answer asked for has come.
    Timer,
    /// A message came on a topic that the last answer asked for.
    Message,
}

/// What a trigger is asked.
#[derive(Clone, Debug)]
pub struct Wake {
    /// Why now.
    pub why: Why,
    /// The host's time, milliseconds since 1970.
    pub now_ms: i64,
    /// Counts milliseconds over restarts and never jumps: what it says of two wakes is how long
    /// one was after the other, whatever the clock was set to between. 0: not said.
    pub steady_ms: i64,
    /// Whether `now_ms` can be believed. Without, it is the newest time that is known and what
    /// has passed since.
    pub clock: bool,
    /// What the last answer's state was; null at first.
    pub state: Value,
    /// What [`Why::Message`] brings: topic and data; none for every other reason.
    pub message: Option<(String, Value)>,
}

impl Wake {
    /// Reads the state that the last answer left; none at first.
    pub fn load<T: FromValue>(&self) -> Result<Option<T>> {
        Option::<T>::from_value(&self.state, false).map_err(|e| Error::new(format!("load state: {}", e)))
    }
}

/// A trigger's answer.
#[derive(Clone, Debug)]
pub struct Fired {
    /// What happened, none or more; each starts a run of the workflow with this as its
    /// data. At most 64, each at most 24 KiB.
    pub events: Vec<Value>,
    /// What the next wake gets, also after a restart; null forgets the state. At most 16 KiB.
    pub state: Value,
    /// When to be woken next; none or zero: not again until the next start. A wait goes on
    /// over a restart.
    pub after: Option<Duration>,
    /// In place of `after`, what the wall clock is to show then, milliseconds since 1970. The
    /// host follows when the clock is set; what was missed by more than a minute is as the
    /// workflow's catch-up says.
    pub at_ms: Option<i64>,
    /// Filters of local topics: a message on one wakes the trigger before its time. At most 16.
    /// Needs mqtt.listen with filters as scopes.
    pub topics: Vec<String>,
}

impl Fired {
    /// Nothing happened, and nothing is to be kept.
    pub fn nothing() -> Fired {
        Fired { events: Vec::new(), state: Value::Null, after: None, at_ms: None, topics: Vec::new() }
    }

    /// This happened too.
    #[must_use]
    pub fn event(mut self, data: impl IntoValue) -> Fired {
        self.events.push(data.into_value());
        self
    }

    /// Keep this.
    #[must_use]
    pub fn state(mut self, state: impl IntoValue) -> Fired {
        self.state = state.into_value();
        self
    }

    /// Wake me after this time.
    #[must_use]
    pub fn after(mut self, after: Duration) -> Fired {
        self.after = Some(after);
        self
    }

    /// Wake me when the wall clock shows this time, milliseconds since 1970.
    #[must_use]
    pub fn at_ms(mut self, at: i64) -> Fired {
        self.at_ms = Some(at);
        self
    }

    /// Wake me by messages on this filter of local topics too.
    #[must_use]
    pub fn listen(mut self, filter: &str) -> Fired {
        self.topics.push(filter.to_string());
        self
    }

    /// As it stands in an answer.
    pub(crate) fn into_answer(self) -> Value {
        let mut next = None;
        if let Some(after) = self.after.filter(|d| !d.is_zero()) {
            next = Some(Value::map().with("after_ms", milliseconds(after)));
        }
        if let Some(at) = self.at_ms {
            next = Some(next.unwrap_or_else(Value::map).with("at_ms", at.max(1)));
        }
        if !self.topics.is_empty() {
            next = Some(next.unwrap_or_else(Value::map).with("mqtt", self.topics));
        }
        // In the order of deterministic encoding: the host passes it on as it stands.
        let answer = next.map_or_else(Value::map, |next| Value::map().with("next", next));
        answer.with("state", self.state).with("events", self.events)
    }
}

/// Whole milliseconds, rounded up, so that a wait is never too short.
pub(crate) fn milliseconds(d: Duration) -> u64 {
    let whole = u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    whole + u64::from(d.subsec_nanos() % 1_000_000 > 0)
}

/// What an action is asked, and an output: there the results are those of all actions. Text and
/// data stand in the message; what outlives the request is a copy.
#[derive(Clone, Debug, Default)]
pub struct Run<'a> {
    /// What started the run.
    pub event: Event<'a>,
    /// How the actions before this step ended, in order.
    pub results: Vec<StepResult<'a>>,
    /// The same when the same request is repeated.
    pub key: Cow<'a, str>,
    /// How long this request may take; 0: not said.
    pub deadline_ms: i64,
    /// The host's time, milliseconds since 1970.
    pub now_ms: i64,
}

impl Run<'_> {
    /// Reads one from a tree.
    fn of(body: &Value) -> Read<Run<'static>> {
        known(body, false, &[])?;
        Ok(Run {
            event: match body.get("event") {
                None | Some(Value::Null) => Event::default(),
                Some(event) => Event::of(event).map_err(|e| at("event", &e))?,
            },
            results: list(body, "results", StepResult::of)?,
            key: text(body, "key")?,
            deadline_ms: field(body, "deadline_ms", false, None)?,
            now_ms: field(body, "now_ms", false, None)?,
        })
    }
}

impl IntoValue for Run<'_> {
    fn into_value(self) -> Value {
        Value::map()
            .with("event", self.event)
            .with("results", self.results)
            .with("key", self.key)
            .with("deadline_ms", self.deadline_ms)
            .with("now_ms", self.now_ms)
    }
}

/// A request.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) id: u64,
    /// The host's time.
    pub(crate) now_ms: i64,
    pub(crate) asked: Asked<'a>,
}

/// What is asked.
#[derive(Debug)]
pub(crate) enum Asked<'a> {
    Wake(Wake),
    Run(Run<'a>),
    Deliver(Run<'a>),
    Batch(Many<'a>),
    Check,
    /// What came after this crate.
    Unknown,
}

impl Asked<'_> {
    /// What it is called.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Asked::Wake(_) => "wake",
            Asked::Run(_) => "run",
            Asked::Deliver(_) => "deliver",
            Asked::Batch(_) => "batch",
            Asked::Check => "check",
            Asked::Unknown => "a kind that this plugin does not know",
        }
    }
}

/// Several events in one request.
#[derive(Debug, Default)]
pub(crate) struct Many<'a> {
    /// What is asked of each: run or deliver.
    pub(crate) kind: Cow<'a, str>,
    pub(crate) deadline_ms: i64,
    pub(crate) items: Vec<Run<'a>>,
}

impl Request<'_> {
    /// Takes a message apart.
    pub(crate) fn of(mut message: Value) -> std::result::Result<Request<'static>, Broken> {
        let id = match message.take("id").read::<u64>() {
            Ok(id) if id > 0 => id,
            _ => return Err(Broken("read: message: want a request".to_string())),
        };
        let (kind, body) = match kind_of(&mut message) {
            Some(found) => found,
            None => return Ok(Request { id, now_ms: 0, asked: Asked::Unknown }),
        };
        let now_ms = whole(&body, "now_ms");
        let broken = |e: String| Broken(format!("read: {}: {}", kind, e));
        let asked = match kind {
            "run" => Asked::Run(Run::of(&body).map_err(broken)?),
            "deliver" => Asked::Deliver(Run::of(&body).map_err(broken)?),
            "wake" => Asked::Wake(wake_of(body, now_ms)),
            "batch" => Asked::Batch(Many {
                kind: Cow::Owned(body.get("kind").and_then(Value::as_str).unwrap_or("").to_string()),
                deadline_ms: whole(&body, "deadline_ms"),
                items: list(&body, "items", Run::of).map_err(broken)?,
            }),
            _ => Asked::Check,
        };
        Ok(Request { id, now_ms, asked })
    }
}

fn whole(body: &Value, key: &str) -> i64 {
    body.get(key).and_then(|n| n.read().ok()).unwrap_or(0)
}

/// Takes the body of a request out of its message.
fn kind_of(message: &mut Value) -> Option<(&'static str, Value)> {
    for kind in ["run", "deliver", "wake", "batch", "check"] {
        let body = message.take(kind);
        if !body.is_null() {
            return Some((kind, body));
        }
    }
    None
}

fn wake_of(mut body: Value, now_ms: i64) -> Wake {
    let why = match body.get("why").and_then(Value::as_str) {
        Some("start") => Why::Start,
        Some("message") => Why::Message,
        _ => Why::Timer,
    };
    let mut said = body.take("message");
    let message = match said.take("topic") {
        Value::Text(topic) => Some((topic, said.take("data"))),
        _ => None,
    };
    let (steady_ms, clock) = (whole(&body, "steady_ms"), body.get("clock").is_some_and(|c| *c == Value::Bool(true)));
    Wake { why, now_ms, steady_ms, clock, state: body.take("state"), message }
}

/// What started a run.
#[derive(Clone, Debug, Default)]
pub struct Event<'a> {
    /// The run's name: 32 hexadecimal digits.
    pub run: Cow<'a, str>,
    /// The workflow's name.
    pub workflow: Cow<'a, str>,
    /// When it happened, milliseconds since 1970.
    pub time_ms: i64,
    /// What the trigger said.
    pub data: Data<'a>,
}

impl Event<'_> {
    /// Reads the event's data; keys that the type does not have are passed over.
    pub fn decode<T: FromValue>(&self) -> Result<T> {
        self.data.read().map_err(|e| Error::new(format!("event data: {}", e)))
    }

    /// Reads one from a tree.
    fn of(body: &Value) -> Read<Event<'static>> {
        known(body, false, &[])?;
        Ok(Event {
            run: text(body, "run")?,
            workflow: text(body, "workflow")?,
            time_ms: field(body, "time_ms", false, None)?,
            data: field::<Value>(body, "data", false, None)?.into(),
        })
    }
}

impl IntoValue for Event<'_> {
    fn into_value(self) -> Value {
        Value::map()
            .with("run", self.run)
            .with("workflow", self.workflow)
            .with("time_ms", self.time_ms)
            .with("data", self.data)
    }
}

/// How one step of a run ended.
#[derive(Clone, Debug, Default)]
pub struct StepResult<'a> {
    /// The step's name.
    pub step: Cow<'a, str>,
    /// ok, error, dropped or skipped.
    pub status: Cow<'a, str>,
    /// What it answered.
    pub data: Data<'a>,
    /// Why it did not.
    pub error: Option<Failure>,
}

impl StepResult<'_> {
    /// Reads one from a tree.
    fn of(body: &Value) -> Read<StepResult<'static>> {
        known(body, false, &[])?;
        Ok(StepResult {
            step: text(body, "step")?,
            status: text(body, "status")?,
            data: field::<Value>(body, "data", false, None)?.into(),
            error: field(body, "error", false, None)?,
        })
    }
}

impl IntoValue for StepResult<'_> {
    fn into_value(self) -> Value {
        Value::map()
            .with("step", self.step)
            .with("status", self.status)
            .with("data", self.data)
            .with("error", self.error)
    }
}

type Read<T> = std::result::Result<T, String>;

fn text(map: &Value, key: &str) -> Read<Cow<'static, str>> {
    field::<String>(map, key, false, None).map(Cow::Owned)
}

/// Reads a list that stands under a key; an absent one is empty.
fn list<T>(map: &Value, key: &str, item: impl Fn(&Value) -> Read<T>) -> Read<Vec<T>> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::List(items)) => (items.iter().enumerate())
            .map(|(i, one)| item(one).map_err(|e| at(key, &at(&format!("[{}]", i), &e))))
            .collect(),
        Some(other) => Err(format!("{}: want list, got {}", key, other.kind())),
    }
}

record! {
    /// An error as it travels.
    #[derive(Clone, Debug)]
    pub struct Failure {
        /// What kind of error.
        pub code: String,
        /// One line for the operator.
        pub text: String,
    }
}

record! {
    /// What the host holds the plugin to; 0 means not said.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Limits {
        /// Memory, MB.
        pub max_memory_mb: u32,
        /// Processors.
        pub max_cpu_cores: f64,
        /// The longest request, seconds.
        pub max_execution_time_seconds: u32,
        /// Open files.
        pub max_file_descriptors: u32,
        /// Open connections.
        pub max_network_connections: u32,
    }
}

record! {
    /// A capability that the plugin has on this agent.
    #[derive(Clone, Debug)]
    pub struct Grant {
        /// Its name, such as kv.
        pub capability: String,
        /// What it is narrowed to; empty: not at all, or to nothing, as ABI.md has it.
        pub scopes: Vec<String>,
    }
}

record! {
    /// What a plugin is told once.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Init {
        pub config: Value,
        pub limits: Limits = Limits::default(),
        pub grants: Vec<Grant>,
        pub workflow: String,
        pub step: String,
    }
}

/// A span of time in a configuration or state, written as text: 30s, 5m, 250ms, 1h30m.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl FromValue for Span {
    fn from_value(value: &Value, _: bool) -> std::result::Result<Span, String> {
        match value {
            Value::Text(text) => span(text)
                .map(Span)
                .ok_or_else(|| format!("want a number with a unit, such as 30s, 5m or 250ms, got {:?}", text)),
            other => Err(format!("want a duration such as \"30s\", got {}", other.kind())),
        }
    }
    fn absent() -> Option<Span> {
        Some(Span::default())
    }
}

impl IntoValue for Span {
    fn into_value(self) -> Value {
        Value::Text(format!("{}ns", self.0.as_nanos()))
    }
}

/// Reads numbers with units, one after the other.
fn span(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() || text.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let n: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        seconds += n * match &rest[..unit] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        rest = &rest[unit..];
    }
    (seconds < 1e15).then(|| Duration::from_nanos((seconds * 1e9).round() as u64))
}
