//! Counter is a trigger with state: it fires every so often with a number that goes on
//! counting after a restart, and with how long it has counted. That is measured by the steady
//! clock: the wall clock may be set meanwhile.

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
    /// since_ms is when it began, by wake.steady_ms.
    struct State { count: i64, since_ms: i64 }
}

record! {
    struct Count { count: i64, for_ms: i64 }
}

fn plugin() -> Plugin<Settings> {
    Plugin::trigger("counter", |_, config: &Settings, wake| {
        let mut state = wake.load::<State>()?.unwrap_or(State { count: 0, since_ms: 0 });
        let mut fired = Fired::nothing().after(config.every.0);
        if wake.why == Why::Timer {
            state.count += 1;
            fired = fired.event(Count { count: state.count, for_ms: wake.steady_ms - state.since_ms });
        } else if state.count == 0 {
            state.since_ms = wake.steady_ms;
        }
        Ok(fired.state(state))
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
        assert_eq!((before.len(), &before[2]), (3, &Value::map().with("count", 3).with("for_ms", 3000)));
        host.restart().unwrap();
        host.now_ms -= 365 * 86_400_000; // the clock was wrong, and is set
        let after = host.advance(Duration::from_secs(2)).unwrap();
        assert_eq!((after.len(), &after[1]), (2, &Value::map().with("count", 5).with("for_ms", 5000)));
    }

    #[test]
    fn refuses_a_bad_configuration() {
        for every in ["", "1ms", "-1s", "soon"] {
            assert!(Host::start(plugin, Value::map().with("every", every)).is_err(), "{:?}", every);
        }
    }
}
