//! Several events in one request, each with its own outcome.

use crate::answer::{Answer, Items};
use crate::context::Context;
use crate::error::Result;
use crate::request::{Many, Run};
use crate::value::Value;
use std::time::Instant;

/// How many events this crate takes in one request.
pub(crate) const BATCH_MAX: u32 = 256;

/// The clock, which is the host's, is looked at before each event; after some that took no more
/// than QUICK_MS before twice as many, up to EVERY_MAX.
const QUICK_MS: i64 = 1;
const EVERY_MAX: usize = 8;

/// What works on the events of a batch.
pub(crate) enum Worker<'w> {
    /// The function for one event, on one after another.
    Singly(&'w mut dyn FnMut(&mut Context<'_>, Run<'_>) -> Result<Value>),
    /// A function for several, on all at once.
    Together(&'w mut dyn FnMut(&mut Context<'_>, Vec<Run<'_>>) -> Vec<Result<Value>>),
}

/// Works on a batch, and makes the answer: as many results as fit it, and half its time at
/// most, so that no event loses another's. `silent` results have no data.
pub(crate) fn answer(worker: Worker<'_>, silent: bool, context: &mut Context<'_>, many: Many<'_>) -> Result<Answer> {
    let mut work = many.items;
    for run in &mut work {
        run.deadline_ms = many.deadline_ms;
        run.now_ms = context.now_ms();
    }
    if work.is_empty() {
        return Err("a batch of no events".into());
    }
    let mut items = Items::new(context.codec(), silent);
    match worker {
        Worker::Singly(one) => singly(context, work, one, &mut items),
        Worker::Together(all) => together(context, work, all, &mut items)?,
    }
    Ok(Answer::Items(items))
}

/// Works on one event after another.
fn singly(
    context: &mut Context<'_>,
    work: Vec<Run<'_>>,
    one: &mut dyn FnMut(&mut Context<'_>, Run<'_>) -> Result<Value>,
    items: &mut Items,
) {
    let (began, mut spent, mut every) = (Instant::now(), 0, 1);
    for (i, run) in work.into_iter().enumerate() {
        if i > 0 && i % every == 0 {
            let now = began.elapsed().as_millis() as i64;
            every = if now - spent > QUICK_MS { 1 } else { (2 * every).min(EVERY_MAX) };
            spent = now;
        }
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
    work: Vec<Run<'_>>,
    all: &mut dyn FnMut(&mut Context<'_>, Vec<Run<'_>>) -> Vec<Result<Value>>,
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
