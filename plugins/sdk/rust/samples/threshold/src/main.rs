//! Threshold is an action that judges an event's value and remembers the highest one:
//! decoding, an error for a bad event, and the plugin's own key-value store.

use stavily::prelude::*;

record! {
    struct Settings { max: f64 }
}

impl Config for Settings {}

record! {
    struct Reading { value: Option<f64> }
}

fn plugin() -> Plugin<Settings> {
    Plugin::action("threshold", |ctx, config: &Settings, run| {
        let reading: Reading = run.event.decode()?;
        let value = reading.value.ok_or("event data: value: want a number")?;
        let highest = ctx.kv_get("highest")?.unwrap_or(value).max(value);
        ctx.kv_put("highest", Value::number(highest))?;
        Ok(Value::map().with("over", value > config.max).with("highest", Value::number(highest)))
    })
}

fn main() {
    plugin().main();
}

#[cfg(test)]
mod tests {
    use super::*;
    use stavily::testing::Host;

    fn event(value: f64) -> Value {
        Value::map().with("value", Value::number(value))
    }

    #[test]
    fn remembers_the_highest() {
        let mut host = Host::start(plugin, Value::map().with("max", 10)).unwrap();
        for (value, over, highest) in [(12.0, true, 12), (7.0, false, 12), (10.0, false, 12)] {
            let want = Value::map().with("over", over).with("highest", highest);
            assert_eq!(host.run(event(value)).unwrap(), want);
            host.restart().unwrap();
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let mut host = Host::start(plugin, ()).unwrap();
        assert!(host.run("twelve").is_err());
        let none = host.run(Value::map()).unwrap_err();
        assert_eq!(none.to_string(), "event data: value: want a number");
        host.deny("kv.put");
        assert!(host.run(event(1.0)).is_err());
    }
}
