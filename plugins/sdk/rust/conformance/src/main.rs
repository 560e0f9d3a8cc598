//! Conformance is the plugin by which this crate is held to the conversation with the host:
//! it does on command what a plugin can do at all. The commands are those of
//! wasmhost/conform, which runs it. It is built once for each type, and for each encoding:
//!
//! ```text
//! cargo build --release --target wasm32-wasip1 --features json,trigger
//! ```

use stavily::prelude::*;
use stavily::println;
use std::time::Duration;

record! {
    struct Settings {
        value: Value,
        refuse: String,
        check: String,
    }
}

impl Config for Settings {
    /// Refuses the configuration when it says so.
    fn validate(&mut self) -> Result<()> {
        match self.refuse.as_str() {
            "" => Ok(()),
            why => Err(why.into()),
        }
    }
}

record! {
    /// What to do, and what with.
    struct Order {
        value: Value,
        text: String,
        bytes: usize,
        code: i32,
        events: Vec<Value>,
        state: Value,
        after_ms: u64,
        at_ms: i64,
        list: Vec<Call>,
        name: String,
        args: Value,
    }
}

record! {
    struct Call {
        name: String,
        args: Value,
    }
}

fn main() {
    let plugin = if cfg!(feature = "trigger") {
        trigger()
    } else if cfg!(feature = "output") {
        output()
    } else {
        action()
    };
    let plugin = plugin.check(|_, config: &Settings| match config.check.as_str() {
        "" => Ok(()),
        why => Err(why.into()),
    });
    plugin.main();
}

fn action() -> Plugin<Settings> {
    let mut count = 0;
    Plugin::action("conformance", move |ctx, config: &Settings, run| {
        let (data, request) = parted(run);
        obey(ctx, config, &data, request, &mut count).map(|found| found.unwrap_or(Value::Null))
    })
}

fn output() -> Plugin<Settings> {
    let mut count = 0;
    Plugin::output("conformance", move |ctx, config: &Settings, run| {
        let (data, request) = parted(run);
        match obey(ctx, config, &data, request, &mut count)? {
            Some(result) => ctx.kv_put("result", result),
            None => Ok(()),
        }
    })
}

fn trigger() -> Plugin<Settings> {
    let mut count = 0;
    Plugin::trigger("conformance", move |ctx, config: &Settings, wake| {
        if wake.state.get("do").and_then(Value::as_str) == Some("fire") {
            let order: Order = wake.state.read()?;
            return Ok(Fired {
                events: order.events,
                state: order.state,
                after: Some(Duration::from_millis(order.after_ms)),
                at_ms: Some(order.at_ms).filter(|at| *at > 0),
                ..Fired::nothing()
            });
        }
        let why = if wake.why == Why::Start { "start" } else { "timer" };
        let request = Value::map()
            .with("why", why)
            .with("now_ms", ctx.now_ms())
            .with("steady_ms", wake.steady_ms)
            .with("clock", wake.clock);
        Ok(match obey(ctx, config, &wake.state, request, &mut count)? {
            Some(result) => Fired::nothing().event(result),
            None => Fired::nothing(),
        })
    })
}

/// An event's data, and the request without it.
fn parted(mut run: Run<'_>) -> (Value, Value) {
    let data = std::mem::take(&mut run.event.data).into_value();
    let event = Value::map()
        .with("run", run.event.run)
        .with("workflow", run.event.workflow)
        .with("time_ms", run.event.time_ms);
    let results: Vec<Value> = run.results.into_iter().map(result).collect();
    let request = Value::map()
        .with("event", event)
        .with("results", results)
        .with("key", run.key)
        .with("deadline_ms", run.deadline_ms)
        .with("now_ms", run.now_ms);
    (data, request)
}

fn result(r: stavily::StepResult<'_>) -> Value {
    let out = Value::map().with("step", r.step).with("status", r.status).with("data", r.data);
    match r.error {
        Some(error) => out.with("error", error),
        None => out,
    }
}

/// Does an order and returns its result, none for none.
fn obey(
    ctx: &mut Context<'_>,
    config: &Settings,
    data: &Value,
    request: Value,
    count: &mut i64,
) -> Result<Option<Value>> {
    if data.is_null() || *data == Value::map() {
        return Ok(None);
    }
    let order: Order = data.read()?;
    let what = data.get("do").and_then(Value::as_str).unwrap_or("");
    Ok(match what {
        "echo" => Some(order.value),
        "none" | "" => None,
        "request" => Some(request),
        "init" => Some(
            Value::map()
                .with("config", Value::map().with("value", config.value.clone()))
                .with("limits", *ctx.limits())
                .with("grants", ctx.grants().to_vec())
                .with("workflow", ctx.workflow())
                .with("step", ctx.step()),
        ),
        "count" => {
            *count += 1;
            Some(Value::Int(*count))
        }
        "big" => Some(Value::Text("x".repeat(order.bytes))),
        "call" => Some(made(ctx, &order.name, order.args)),
        "calls" => {
            let all: Vec<Value> = order.list.into_iter().map(|c| made(ctx, &c.name, c.args)).collect();
            Some(Value::List(all))
        }
        other => return misbehave(ctx, other, &order),
    })
}

/// Does what no plugin should.
fn misbehave(ctx: &mut Context<'_>, what: &str, order: &Order) -> Result<Option<Value>> {
    match what {
        "fail" => Err(Error::new(order.text.as_str())),
        "retryable" => Err(Error::retryable(order.text.as_str())),
        "panic" => panic!("{}", order.text),
        "print" => {
            println!("{}", order.text);
            Ok(None)
        }
        "exit" => std::process::exit(order.code),
        "spin" => {
            let mut i = 1u64;
            while i != 0 {
                i = std::hint::black_box(i.wrapping_add(2));
            }
            Ok(None)
        }
        _ => ask(ctx, what, &order.args),
    }
}

/// Makes a host call by its name.
fn made(ctx: &mut Context<'_>, name: &str, args: Value) -> Value {
    match ctx.call(name, args) {
        Ok(ok) => Value::map().with("ok", ok),
        Err(e) => Value::map().with("error", Value::map().with("code", e.code()).with("text", e.text())),
    }
}

record! {
    /// The arguments of the crate's own functions.
    struct Arguments {
        level: i64,
        text: String,
        names: Vec<String>,
        argv: Vec<String>,
        stdin: String,
        output_max: u32,
        timeout_ms: u64,
        path: String,
        data: String,
        max: u32,
        sync: bool,
        key: String,
        value: Value,
    }
}

/// Uses the crate's own function for a host call.
fn ask(ctx: &mut Context<'_>, name: &str, args: &Value) -> Result<Option<Value>> {
    let a: Arguments = if args.is_null() { Value::map().read()? } else { args.read()? };
    Ok(match name {
        "log" => {
            let levels = [Level::Debug, Level::Info, Level::Warn, Level::Error];
            let level = levels.into_iter().find(|l| l.number() == a.level).unwrap_or(Level::Info);
            ctx.log(level, &a.text);
            None
        }
        "metrics" => {
            let names: Vec<&str> = a.names.iter().map(String::as_str).collect();
            Some(ctx.metrics(&names)?.into_value())
        }
        "process" => {
            let timeout = Some(Duration::from_millis(a.timeout_ms));
            let command = Command { argv: a.argv, stdin: a.stdin, output_max: a.output_max, timeout };
            Some(ctx.process(command)?.into_value())
        }
        "append" => Some(ctx.append(&a.path, &a.data, a.sync)?.into_value()),
        "write" => {
            ctx.write_file(&a.path, &a.data)?;
            None
        }
        "read" => Some(ctx.read_file(&a.path, a.max)?.into_value()),
        "list" => Some(ctx.list_files(&a.path)?.into_value()),
        "put" => {
            ctx.kv_put(&a.key, a.value)?;
            None
        }
        "get" => ctx.kv_get::<Value>(&a.key)?,
        _ => return Err(Error::new(format!("command {:?}: not known", name))),
    })
}
