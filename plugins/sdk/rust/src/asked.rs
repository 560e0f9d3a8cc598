//! Reads the requests that come all the time, from CBOR, without a tree or a copy of them. It knows only
//! what a host writes: anything else is left to the tree, which has the last word.

use crate::codec::Fault;
use crate::decoder::Decoder;
use crate::data::Data;
use crate::request::{Asked, Event, Many, Request, Run, StepResult};
use std::borrow::Cow;

/// Why a request is not read here.
enum Odd {
    /// It goes on in bytes that are not here yet.
    More,
    /// It is not what is known here.
    Other,
}

impl From<Fault> for Odd {
    fn from(fault: Fault) -> Odd {
        match fault {
            Fault::More => Odd::More,
            Fault::Bad(_) => Odd::Other,
        }
    }
}

type Read<T> = Result<T, Odd>;

/// Reads the request at the front and says where it ends; none for what is not known here.
pub(crate) fn request<'a>(mut d: Decoder<'a>) -> Result<Option<(Request<'a>, usize)>, Fault> {
    match whole(&mut d) {
        Ok(request) => Ok(Some((request, d.at))),
        Err(Odd::More) => Err(Fault::More),
        Err(Odd::Other) => Ok(None),
    }
}

fn whole<'a>(d: &mut Decoder<'a>) -> Read<Request<'a>> {
    let (mut id, mut now_ms, mut asked) = (0, 0, None);
    for _ in 0..heads(d, 5)? {
        let name = name(d)?;
        if name == b"id" {
            id = natural(d)?;
            continue;
        }
        if asked.is_some() {
            return Err(Odd::Other);
        }
        asked = Some(match name {
            b"run" => {
                let run = run(d, 1)?;
                now_ms = run.now_ms;
                Asked::Run(run)
            }
            b"deliver" => {
                let run = run(d, 1)?;
                now_ms = run.now_ms;
                Asked::Deliver(run)
            }
            b"batch" => {
                let (many, now) = many(d)?;
                now_ms = now;
                Asked::Batch(many)
            }
            _ => return Err(Odd::Other),
        });
    }
    match asked {
        Some(asked) if id > 0 => Ok(Request { id, now_ms, asked }),
        _ => Err(Odd::Other),
    }
}

fn many<'a>(d: &mut Decoder<'a>) -> Read<(Many<'a>, i64)> {
    let (mut many, mut now_ms) = (Many::default(), 0);
    for _ in 0..heads(d, 5)? {
        match name(d)? {
            b"kind" => many.kind = text(d)?,
            b"deadline_ms" => many.deadline_ms = number(d)?,
            b"now_ms" => now_ms = number(d)?,
            b"items" => many.items = list(d, |d| run(d, 3))?,
            _ => return Err(Odd::Other),
        }
    }
    Ok((many, now_ms))
}

fn run<'a>(d: &mut Decoder<'a>, depth: usize) -> Read<Run<'a>> {
    let mut run = Run::default();
    for _ in 0..heads(d, 5)? {
        match name(d)? {
            b"event" => run.event = event(d, depth + 1)?,
            b"results" => run.results = list(d, |d| result(d, depth + 2))?,
            b"key" => run.key = text(d)?,
            b"deadline_ms" => run.deadline_ms = number(d)?,
            b"now_ms" => run.now_ms = number(d)?,
            _ => return Err(Odd::Other),
        }
    }
    Ok(run)
}

fn event<'a>(d: &mut Decoder<'a>, depth: usize) -> Read<Event<'a>> {
    let mut event = Event::default();
    for _ in 0..heads(d, 5)? {
        match name(d)? {
            b"run" => event.run = text(d)?,
            b"workflow" => event.workflow = text(d)?,
            b"time_ms" => event.time_ms = number(d)?,
            b"data" => event.data = Data::raw(d.skip(depth + 1)?),
            _ => return Err(Odd::Other),
        }
    }
    Ok(event)
}

fn result<'a>(d: &mut Decoder<'a>, depth: usize) -> Read<StepResult<'a>> {
    let mut result = StepResult::default();
    for _ in 0..heads(d, 5)? {
        match name(d)? {
            b"step" => result.step = text(d)?,
            b"status" => result.status = text(d)?,
            b"data" => result.data = Data::raw(d.skip(depth + 1)?),
            _ => return Err(Odd::Other), // an error is rare
        }
    }
    Ok(result)
}

fn list<'a, T>(d: &mut Decoder<'a>, mut item: impl FnMut(&mut Decoder<'a>) -> Read<T>) -> Read<Vec<T>> {
    let n = heads(d, 4)?;
    let mut items = Vec::with_capacity(d.count(n)?);
    for _ in 0..n {
        items.push(item(d)?);
    }
    Ok(items)
}

/// Reads the head of a list or map and returns how much follows.
fn heads(d: &mut Decoder<'_>, major: u8) -> Read<u64> {
    match d.head()? {
        (m, _, n) if m == major => Ok(n),
        _ => Err(Odd::Other),
    }
}

fn name<'a>(d: &mut Decoder<'a>) -> Read<&'a [u8]> {
    match d.head()? {
        (3, _, n) if n < 24 => Ok(d.take(n as usize)?),
        _ => Err(Odd::Other),
    }
}

fn text<'a>(d: &mut Decoder<'a>) -> Read<Cow<'a, str>> {
    match d.head()? {
        (3, _, n) => Ok(Cow::Borrowed(d.text(n)?)),
        _ => Err(Odd::Other),
    }
}

fn natural(d: &mut Decoder<'_>) -> Read<u64> {
    match d.head()? {
        (0, _, n) => Ok(n),
        _ => Err(Odd::Other),
    }
}

fn number(d: &mut Decoder<'_>) -> Read<i64> {
    i64::try_from(natural(d)?).map_err(|_| Odd::Other)
}
