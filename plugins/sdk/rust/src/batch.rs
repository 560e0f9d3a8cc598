//! Several events in one request, each with its own outcome.

use crate::codec::{Codec, MESSAGE_MAX};
use crate::context::{too_long, Context};
use crate::error::{Error, Result};
use crate::plugin::{said, Job};
use crate::request::Run;
use crate::value::Value;
use std::time::Instant;

/// How many events this crate takes in one request.
pub(crate) const BATCH_MAX: u32 = 256;

/// How long an answer becomes before it is sent: the host asks for the rest again, and one
/// more result must still fit.
const ENOUGH: usize = MESSAGE_MAX - (64 << 10);

/// How an action or output works on several events at once.
pub(crate) type Together<C> = dyn FnMut(&mut Context<'_>, &C, Vec<Run>) -> Vec<Result<Value>>;

/// Who works on a batch.
pub(crate) struct Worker<'w, C> {
    pub(crate) config: &'w C,
    pub(crate) job: &'w mut Job<C>,
    pub(crate) together: &'w mut Option<Box<Together<C>>>,
    pub(crate) codec: &'static dyn Codec,
}

impl<C> Worker<'_, C> {
    /// Works on a batch, and makes the answer: as many results as fit it, and half its time
    /// at most, so that no event loses another's.
    pub(crate) fn answer(&mut self, context: &mut Context<'_>, mut body: Value) -> Result<Value> {
        let (deadline_ms, now_ms) = (whole(&body, "deadline_ms"), whole(&body, "now_ms"));
        let mut work: Vec<Run> = body.take("items").read()?;
        for run in &mut work {
            run.deadline_ms = deadline_ms;
            run.now_ms = now_ms;
        }
        if work.is_empty() {
            return Err("a batch of no events".into());
        }
        let mut items = Items { codec: self.codec, items: Vec::new(), size: 0, scratch: Vec::new() };
        let count = work.len();
        if let Some(together) = self.together {
            let outcomes = together(context, self.config, work);
            if outcomes.is_empty() || outcomes.len() > count {
                return Err(format!("batch: {} outcomes for {} events", outcomes.len(), count).into());
            }
            for outcome in outcomes {
                if !items.put(self.job, outcome) {
                    break;
                }
            }
        } else {
            self.singly(context, work, deadline_ms, &mut items);
        }
        Ok(Value::map().with("items", Value::List(items.items)))
    }

    /// Works on one event after another.
    fn singly(&mut self, context: &mut Context<'_>, work: Vec<Run>, deadline_ms: i64, items: &mut Items) {
        let began = Instant::now();
        for (i, run) in work.into_iter().enumerate() {
            let spent = if i > 0 { began.elapsed().as_millis() as i64 } else { 0 };
            if deadline_ms > 0 && spent > deadline_ms / 2 {
                return;
            }
            let outcome = match self.job {
                Job::Action(f) => f(context, self.config, run),
                Job::Output(f) => f(context, self.config, run).map(|()| Value::Null),
                Job::Trigger(_) => return,
            };
            if context.broken.is_some() || !items.put(self.job, outcome) {
                return;
            }
        }
    }
}

fn whole(body: &Value, key: &str) -> i64 {
    body.get(key).and_then(|n| n.read().ok()).unwrap_or(0)
}

/// The results of an answer.
struct Items {
    codec: &'static dyn Codec,
    items: Vec<Value>,
    size: usize,
    scratch: Vec<u8>,
}

impl Items {
    /// Adds an outcome; false when there is no room for another. What is too long is an
    /// error of that event.
    fn put<C>(&mut self, job: &Job<C>, outcome: Result<Value>) -> bool {
        let mut item = match outcome {
            Ok(_) if matches!(job, Job::Output(_)) => Value::map(),
            Ok(data) => Value::map().with("data", data),
            Err(e) => refused(&e),
        };
        self.scratch.clear();
        self.codec.encode(&item, &mut self.scratch);
        if self.scratch.len() > MESSAGE_MAX - ENOUGH - 1024 {
            item = refused(&Error::new(format!("answer: {}", too_long(self.scratch.len()))));
            self.scratch.clear();
        }
        self.size += self.scratch.len();
        self.items.push(item);
        self.size < ENOUGH
    }
}

fn refused(e: &Error) -> Value {
    Value::map().with("error", said(e.answered(), &e.to_string()))
}
