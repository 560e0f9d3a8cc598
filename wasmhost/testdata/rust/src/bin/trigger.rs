//! Gives so many events whenever it is woken, and then waits.

use stavily::prelude::*;
use std::time::Duration;

record! {
    struct Settings {
        events: usize,
        every_ms: u64,
    }
}

impl Config for Settings {}

fn main() {
    let plugin = Plugin::trigger("trigger", |_, config: &Settings, _| {
        let event = Value::map().with("metric", "temperature.cpu").with("value", 81.5);
        Ok(Fired {
            events: vec![event; config.events],
            state: Value::Null,
            after: Some(Duration::from_millis(config.every_ms)),
            ..Fired::nothing()
        })
    });
    plugin.main();
}
