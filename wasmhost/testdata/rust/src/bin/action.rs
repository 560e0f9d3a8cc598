//! Judges a reading, and does nothing else.

use stavily::prelude::*;

record! {
    struct Reading {
        metric: String,
        value: f64,
    }
}

fn main() {
    let plugin = Plugin::action("action", |_, _: &(), run| {
        let reading: Reading = run.event.decode()?;
        Ok(Value::map().with("above", !reading.metric.is_empty() && reading.value > 80.0))
    });
    plugin.main();
}
