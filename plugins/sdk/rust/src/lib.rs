//! For writing Stavily plugins in Rust. It needs nothing but the standard library, and the
//! same source is a WebAssembly module and a native program:
//!
//! ```text
//! cargo build --release --target wasm32-wasip1
//! ```
//!
//! A plugin is one of three things. A trigger is woken and answers with the events that
//! happened, the state to keep and when to be woken next. An action is run for an event
//! and answers with data. An output delivers a run. None of them loops by itself or
//! sleeps: a plugin is asked, and answers.
//!
//! ```no_run
//! use stavily::prelude::*;
//!
//! record! {
//!     struct Settings { name: String = "world".to_string() }
//! }
//!
//! impl Config for Settings {}
//!
//! fn plugin() -> Plugin<Settings> {
//!     Plugin::action("hello", |ctx, config: &Settings, _run| {
//!         ctx.info("greeting");
//!         Ok(Value::map().with("text", format!("hello, {}", config.name)))
//!     })
//! }
//!
//! fn main() {
//!     plugin().main()
//! }
//! ```
//!
//! What a plugin wants of the machine it asks the host for, through the methods of
//! [`Context`]; each needs its permission in stavily-plugin.yaml. The time is
//! [`Context::now_ms`]: under test and in the simulator it is not the machine's clock.
//!
//! [`Plugin::main`] takes stdin and stdout for the conversation with the host. The standard
//! library's `println!` would break it; this crate's writes to stderr, whose lines are the
//! plugin's log. So that the two are not mixed up, a `println!` under [`prelude`] does not
//! compile until it is said which: `use stavily::println;`.
//!
//! [`testing`] is a host for unit tests.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod answer;
mod asked;
mod batch;
mod cbor;
mod codec;
mod context;
mod conversation;
mod data;
mod decoder;
mod error;
mod json;
mod network;
mod plugin;
mod reader;
mod request;
mod said;
pub mod testing;
#[cfg(test)]
mod tests;
#[doc(hidden)]
pub mod value;

pub use codec::MESSAGE_MAX;
pub use context::{Command, Context, Exit, Level};
pub use data::Data;
pub use error::{code, Broken, Error, Result};
pub use network::{handle, Conn, HttpRequest, HttpResponse};
pub use plugin::{Config, Plugin};
#[doc(hidden)]
pub use reader::Reader;
pub use request::{Event, Failure, Fired, Grant, Limits, Run, Span, StepResult, Wake, Why};
pub use value::{FromValue, IntoValue, Value};

/// Writes a line to stderr, which is the plugin's log: stdout is the conversation's.
#[macro_export]
macro_rules! println {
    ($($arg:tt)*) => { ::std::eprintln!($($arg)*) };
}

/// Writes to stderr, which is the plugin's log: stdout is the conversation's.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => { ::std::eprint!($($arg)*) };
}

/// What a plugin needs: `use stavily::prelude::*;`
pub mod prelude {
    pub use crate::{
        print, println, record, Command, Config, Context, Data, Error, Event, Fired, FromValue, HttpRequest, IntoValue,
        Level, Plugin, Result, Run, Span, Value, Wake, Why,
    };
}
