//! Takes what it is given.

use stavily::prelude::*;

fn main() {
    let plugin = Plugin::output("output", |_, _: &(), _| Ok(()));
    plugin.main();
}
