//! Several events in one request, each with its own outcome.

use crate::codec::{Codec, MESSAGE_MAX};
use crate::context::{refused, too_long, Context};
use crate::error::{Error, Result};
use crate::request::Run;
use crate::value::Value;
use std::time::Instant;

/// How many events this crate takes in one request.
pub(crate) const BATCH_MAX: u32 = 256;

/// How long an answer becomes before it is sent: the host asks for the rest again, and one
/// more result must still fit.
const ENOUGH: usize = MESSAGE_MAX - (64 << 10);

/// What works on the events of a batch.
pub(crate) enum Worker<'w> {
    /// The function for one event, on one after another.
    Singly(&'w mut dyn FnMut(&mut Context<'_>, Run) -> Result<Value>),
    /// A function for several, on all at once.
    Together(&'w mut dyn FnMut(&mut Context<'_>, Vec<Run>) -> Vec<Result<Value>>),
}

/// How a batch is answered.
pub(crate) struct Batch<'w> {
    pub(crate) worker: Worker<'w>,
    /// The results have no data, as an output's.
    pub(crate) silent: bool,
    pub(crate) codec: &'static dyn Codec,
}

impl Batch<'_> {
    /// Works on a batch, and makes the answer: as many results as fit it, and half its time
    /// at most, so that no event loses another's.
    pub(crate) fn answer(self, context: &mut Context<'_>, mut body: Value) -> Result<Value> {
        let (deadline_ms, now_ms) = (whole(&body, "deadline_ms"), whole(&body, "now_ms"));
        let mut work: Vec<Run> = body.take("items").read()?;
        for run in &mut work {
            run.deadline_ms = deadline_ms;
            run.now_ms = now_ms;
        }
        if work.is_empty() {
            return Err("a batch of no events".into());
        }
        let mut items =
            Items { silent: self.silent, codec: self.codec, items: Vec::new(), size: 0, scratch: Vec::new() };
        match self.worker {
            Worker::Singly(one) => singly(context, work, one, &mut items),
            Worker::Together(all) => together(context, work, all, &mut items)?,
        }
        Ok(Value::map().with("items", Value::List(items.items)))
    }
}

/// Works on one event after another.
fn singly(
    context: &mut Context<'_>,
    work: Vec<Run>,
    one: &mut dyn FnMut(&mut Context<'_>, Run) -> Result<Value>,
    items: &mut Items,
) {
    let began = Instant::now();
    for (i, run) in work.into_iter().enumerate() {
        let spent = if i > 0 { began.elapsed().as_millis() as i64 } else { 0 };
        if run.deadline_ms > 0 && spent > run.deadline_ms / 2 {
            return;
        }
        let outcome = one(context, run);
        if context.broken.is_some() || !items.put(outcome) {
            return;
        }
    }
}

/// Works on all events at once.
fn together(
    context: &mut Context<'_>,
    work: Vec<Run>,
    all: &mut dyn FnMut(&mut Context<'_>, Vec<Run>) -> Vec<Result<Value>>,
    items: &mut Items,
) -> Result<()> {
    let count = work.len();
    let outcomes = all(context, work);
    if outcomes.is_empty() || outcomes.len() > count {
        return Err(format!("batch: {} outcomes for {} events", outcomes.len(), count).into());
    }
    for outcome in outcomes {
        if !items.put(outcome) {
            break;
        }
    }
    Ok(())
}

fn whole(body: &Value, key: &str) -> i64 {
    body.get(key).and_then(|n| n.read().ok()).unwrap_or(0)
}

/// The results of an answer.
struct Items {
    silent: bool,
    codec: &'static dyn Codec,
    items: Vec<Value>,
    size: usize,
    scratch: Vec<u8>,
}

impl Items {
    /// Adds an outcome; false when there is no room for another. What is too long is an
    /// error of that event.
    fn put(&mut self, outcome: Result<Value>) -> bool {
        let mut item = match outcome {
            Ok(_) if self.silent => Value::map(),
            Ok(data) => Value::map().with("data", data),
            Err(e) => error_item(&e),
        };
        self.scratch.clear();
        self.codec.encode(&item, &mut self.scratch);
        if self.scratch.len() > MESSAGE_MAX - ENOUGH - 1024 {
            item = error_item(&Error::new(format!("answer: {}", too_long(self.scratch.len()))));
            self.scratch.clear();
        }
        self.size += self.scratch.len();
        self.items.push(item);
        self.size < ENOUGH
    }
}

fn error_item(e: &Error) -> Value {
    Value::map().with("error", refused(e))
}
