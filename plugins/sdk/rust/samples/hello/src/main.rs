//! Hello is the smallest action: it greets whom the configuration names, or the event.

use stavily::prelude::*;

record! {
    struct Settings { name: String }
}

impl Config for Settings {
    /// Fills in the default.
    fn validate(&mut self) -> Result<()> {
        if self.name.len() > 80 {
            return Err("name: want at most 80 bytes".into());
        }
        if self.name.is_empty() {
            self.name = "world".to_string();
        }
        Ok(())
    }
}

fn plugin() -> Plugin<Settings> {
    Plugin::action("hello", |ctx, config: &Settings, run| {
        ctx.info(&format!("greeting {}", config.name));
        Ok(Value::map().with("run", run.event.run).with("text", format!("hello, {}", config.name)))
    })
}

fn main() {
    plugin().main();
}

#[cfg(test)]
mod tests {
    use super::*;
    use stavily::testing::Host;

    #[test]
    fn greets() {
        let mut host = Host::start(plugin, Value::map().with("name", "Ada")).unwrap();
        let data = host.run(()).unwrap();
        assert_eq!(data.get("text").and_then(Value::as_str), Some("hello, Ada"));
        assert_eq!(host.logs, [(0, "greeting Ada".to_string())]);
    }

    #[test]
    fn refuses_a_bad_configuration() {
        let unknown = Host::start(plugin, Value::map().with("nmae", "Ada")).err().unwrap();
        assert_eq!(unknown.to_string(), "config: unknown key \"nmae\"");
        let long = Host::start(plugin, Value::map().with("name", "a".repeat(81))).err().unwrap();
        assert_eq!(long.to_string(), "config: name: want at most 80 bytes");
    }
}
