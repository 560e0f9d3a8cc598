//! Counter is a trigger with state: it fires every so often with a number that goes on
//! counting after a restart.

use stavily::prelude::*;
use std::time::Duration;

record! {
    struct Settings { every: Span }
}

impl Config for Settings {
    /// Refuses what would keep the agent busy with counting.
    fn validate(&mut self) -> Result<()> {
        if self.every.0 < Duration::from_millis(100) {
            return Err("every: want 100ms or more".into());
        }
        Ok(())
    }
}

record! {
    struct State { count: i64 }
}

fn plugin() -> Plugin<Settings> {
    Plugin::trigger("counter", |_, config: &Settings, wake| {
        let mut count = wake.load::<State>()?.map_or(0, |s| s.count);
        let mut fired = Fired::nothing().after(config.every.0);
        if wake.why == Why::Timer {
            count += 1;
            fired = fired.event(State { count });
        }
        Ok(fired.state(State { count }))
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
    fn goes_on_after_a_restart() {
        let mut host = Host::start(plugin, Value::map().with("every", "1s")).unwrap();
        let before = host.advance(Duration::from_secs(3)).unwrap();
        assert_eq!((before.len(), &before[2]), (3, &Value::map().with("count", 3)));
        host.restart().unwrap();
        let after = host.advance(Duration::from_secs(2)).unwrap();
        assert_eq!((after.len(), &after[1]), (2, &Value::map().with("count", 5)));
    }

    #[test]
    fn refuses_a_bad_configuration() {
        for every in ["", "1ms", "-1s", "soon"] {
            assert!(Host::start(plugin, Value::map().with("every", every)).is_err(), "{:?}", every);
        }
    }
}
