use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::reader::Reader;
use crate::value::{FromValue, IntoValue, Value};
use std::fmt;

/// Data of an event or a result, as it came: it is read when it is wanted.
#[derive(Clone)]
pub struct Data<'a>(Form<'a>);

#[derive(Clone)]
enum Form<'a> {
    /// CBOR that was passed over and is well formed.
    Raw(&'a [u8]),
    Tree(Value),
}

impl<'a> Data<'a> {
    /// What was passed over by a decoder.
    pub(crate) fn raw(bytes: &'a [u8]) -> Data<'a> {
        Data(Form::Raw(bytes))
    }

    /// All of it.
    pub fn value(&self) -> Value {
        match &self.0 {
            // Text that is not UTF-8 could still be in there: no host sends any.
            Form::Raw(bytes) => Decoder::new(bytes).value(0).unwrap_or_default(),
            Form::Tree(value) => value.clone(),
        }
    }

    /// Reads it into a type; keys that the type does not have are passed over. It is not made a
    /// [`Value`] on the way.
    pub fn read<T: FromValue>(&self) -> Result<T> {
        let read = match &self.0 {
            Form::Raw(bytes) => T::from_reader(&mut Reader::new(bytes)),
            Form::Tree(value) => T::from_value(value, false),
        };
        read.map_err(Error::new)
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        match &self.0 {
            Form::Raw(bytes) => matches!(bytes, [0xf6]),
            Form::Tree(value) => value.is_null(),
        }
    }
}

impl Default for Data<'_> {
    fn default() -> Self {
        Data(Form::Tree(Value::Null))
    }
}

impl From<Value> for Data<'_> {
    fn from(value: Value) -> Self {
        Data(Form::Tree(value))
    }
}

impl fmt::Debug for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value().fmt(f)
    }
}

impl IntoValue for Data<'_> {
    fn into_value(self) -> Value {
        match self.0 {
            Form::Tree(value) => value,
            Form::Raw(_) => self.value(),
        }
    }
}
