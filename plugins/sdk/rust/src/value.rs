use crate::error::Error;
use crate::reader::Reader;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A value as it travels between plugin and host: the data model of JSON. Numbers keep
/// their kind: `1` is an integer and stays one, `1.0` is a double and stays one.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer from -2^63 to 2^63-1.
    Int(i64),
    /// An integer from 2^63 to 2^64-1.
    Big(u64),
    /// A finite double.
    Float(f64),
    /// UTF-8 text.
    Text(String),
    /// Values in order, at most 4,096.
    List(Vec<Value>),
    /// Names and values, at most 1,024. A name stands once in it.
    Map(Vec<(String, Value)>),
}

impl Default for Value {
    fn default() -> Value {
        Value::Null
    }
}

impl Value {
    /// A map without anything in it, to be filled by [`Value::with`].
    pub fn map() -> Value {
        Value::Map(Vec::new())
    }

    /// This map with one pair more at its end. Does nothing on what is no map.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl IntoValue) -> Value {
        if let Value::Map(pairs) = &mut self {
            pairs.push((key.to_string(), value.into_value()));
        }
        self
    }

    /// A number for people: an integer if `n` is whole and below 2^53, as most languages
    /// write it, else a double. What is not finite is null.
    pub fn number(n: f64) -> Value {
        if n.trunc() == n && n.abs() < 9_007_199_254_740_992.0 {
            Value::Int(n as i64)
        } else {
            n.into_value()
        }
    }

    /// What stands in this map under a name, if this is a map and something does.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Map(pairs) => pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Takes out of this map what stands under a name; null when nothing does.
    pub fn take(&mut self, key: &str) -> Value {
        match self {
            Value::Map(pairs) => match pairs.iter().position(|(k, _)| k == key) {
                Some(at) => pairs.swap_remove(at).1,
                None => Value::Null,
            },
            _ => Value::Null,
        }
    }

    /// Whether this is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The text, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Reads this into a type; keys that the type does not have are passed over.
    pub fn read<T: FromValue>(&self) -> Result<T, Error> {
        T::from_value(self, false).map_err(Error::new)
    }

    /// What kind of value this is, for a message to a person.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::Big(_) | Value::Float(_) => "number",
            Value::Text(_) => "text",
            Value::List(_) => "list",
            Value::Map(_) => "map",
        }
    }
}

/// What can be made of a [`Value`]. Structs get it from [`record!`](crate::record).
pub trait FromValue: Sized {
    /// Reads a value. `strict` refuses keys that the type does not have. The error says
    /// where, what was wanted and what was there: `max: want number, got text`.
    fn from_value(value: &Value, strict: bool) -> Result<Self, String>;

    /// Reads data as from_value does, without a tree of it where the type can, and passes over keys
    /// that the type does not have.
    #[doc(hidden)]
    fn from_reader(reader: &mut Reader<'_>) -> Result<Self, String> {
        Self::from_value(&reader.value()?, false)
    }

    /// What a field of this type is when its key is absent; none: the key must be there.
    fn absent() -> Option<Self> {
        None
    }
}

/// What can be made a [`Value`]. Structs get it from [`record!`](crate::record).
pub trait IntoValue {
    /// Makes it one.
    fn into_value(self) -> Value;
}

fn wrong<T>(want: &str, got: &Value) -> Result<T, String> {
    Err(format!("want {}, got {}", want, got.kind()))
}

impl FromValue for Value {
    fn from_value(value: &Value, _: bool) -> Result<Self, String> {
        Ok(value.clone())
    }
    fn absent() -> Option<Self> {
        Some(Value::Null)
    }
}

impl FromValue for bool {
    fn from_value(value: &Value, _: bool) -> Result<Self, String> {
        match value {
            Value::Bool(b) => Ok(*b),
            other => wrong("bool", other),
        }
    }
    fn from_reader(reader: &mut Reader<'_>) -> Result<Self, String> {
        match reader.bool() {
            Some(b) => Ok(b),
            None => Self::from_value(&reader.value()?, false),
        }
    }
    fn absent() -> Option<Self> {
        Some(false)
    }
}

impl FromValue for f64 {
    fn from_value(value: &Value, _: bool) -> Result<Self, String> {
        match value {
            Value::Int(n) => Ok(*n as f64),
            Value::Big(n) => Ok(*n as f64),
            Value::Float(n) => Ok(*n),
            other => wrong("number", other),
        }
    }
    fn from_reader(reader: &mut Reader<'_>) -> Result<Self, String> {
        if let Some(n) = reader.double() {
            return Ok(n);
        }
        match reader.integer() {
            Some(n) => Ok(n as f64),
            None => Self::from_value(&reader.value()?, false),
        }
    }
    fn absent() -> Option<Self> {
        Some(0.0)
    }
}

impl FromValue for String {
    fn from_value(value: &Value, _: bool) -> Result<Self, String> {
        match value {
            Value::Text(text) => Ok(text.clone()),
            other => wrong("text", other),
        }
    }
    fn from_reader(reader: &mut Reader<'_>) -> Result<Self, String> {
        match reader.text() {
            Some(text) => Ok(text.to_string()),
            None => Self::from_value(&reader.value()?, false),
        }
    }
    fn absent() -> Option<Self> {
        Some(String::new())
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value, strict: bool) -> Result<Self, String> {
        match value {
            Value::Null => Ok(None),
            other => T::from_value(other, strict).map(Some),
        }
    }
    fn from_reader(reader: &mut Reader<'_>) -> Result<Self, String> {
        match reader.null() {
            true => Ok(None),
            false => T::from_reader(reader).map(Some),
        }
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: &Value, strict: bool) -> Result<Self, String> {
        match value {
            Value::List(items) => (items.iter().enumerate())
                .map(|(i, item)| T::from_value(item, strict).map_err(|e| at(&format!("[{}]", i), &e)))
                .collect(),
            Value::Null => Ok(Vec::new()),
            other => wrong("list", other),
        }
    }
    fn from_reader(reader: &mut Reader<'_>) -> Result<Self, String> {
        match reader.list() {
            Some(n) => (0..n).map(|i| T::from_reader(reader).map_err(|e| at(&format!("[{}]", i), &e))).collect(),
            None => Self::from_value(&reader.value()?, false),
        }
    }
    fn absent() -> Option<Self> {
        Some(Vec::new())
    }
}

impl<T: FromValue> FromValue for BTreeMap<String, T> {
    fn from_value(value: &Value, strict: bool) -> Result<Self, String> {
        match value {
            Value::Map(pairs) => (pairs.iter())
                .map(|(k, v)| Ok((k.clone(), T::from_value(v, strict).map_err(|e| at(k, &e))?)))
                .collect(),
            Value::Null => Ok(BTreeMap::new()),
            other => wrong("map", other),
        }
    }
    fn absent() -> Option<Self> {
        Some(BTreeMap::new())
    }
}

impl FromValue for () {
    fn from_value(value: &Value, strict: bool) -> Result<Self, String> {
        match value {
            Value::Map(pairs) if strict => match pairs.first() {
                Some((key, _)) => Err(format!("unknown key {:?}", key)),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

/// Puts where something is before what is wrong with it. For [`record!`](crate::record).
#[doc(hidden)]
pub fn at(key: &str, error: &str) -> String {
    let dot = if error.starts_with("want ") || error.starts_with("unknown key ") { ": " } else { "." };
    let dot = if error.starts_with('[') { "" } else { dot };
    format!("{}{}{}", key, dot, error)
}

/// Reads one field of a map. For [`record!`](crate::record).
#[doc(hidden)]
pub fn field<T: FromValue>(map: &Value, key: &str, strict: bool, default: Option<T>) -> Result<T, String> {
    match map.get(key) {
        None | Some(Value::Null) if default.is_some() => {}
        Some(value) => return T::from_value(value, strict).map_err(|e| at(key, &e)),
        None => {}
    }
    absent(key, default)
}

/// What a field is that is not there. For [`record!`](crate::record).
#[doc(hidden)]
pub fn absent<T: FromValue>(key: &str, default: Option<T>) -> Result<T, String> {
    default.or_else(T::absent).ok_or_else(|| format!("{}: missing", key))
}

/// Wants a map with no key but these. For [`record!`](crate::record).
#[doc(hidden)]
pub fn known(value: &Value, strict: bool, keys: &[&str]) -> Result<(), String> {
    match value {
        Value::Map(pairs) if strict => match pairs.iter().find(|(k, _)| !keys.contains(&k.as_str())) {
            Some((key, _)) => Err(format!("unknown key {:?}", key)),
            None => Ok(()),
        },
        Value::Map(_) => Ok(()),
        other => wrong("map", other),
    }
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl FromValue for $t {
            fn from_value(value: &Value, _: bool) -> Result<Self, String> {
                match value {
                    Value::Int(n) => <$t>::try_from(*n).map_err(|_| format!("want a number of {}, got {}", stringify!($t), n)),
                    Value::Big(n) => <$t>::try_from(*n).map_err(|_| format!("want a number of {}, got {}", stringify!($t), n)),
                    other => wrong("whole number", other),
                }
            }
            fn from_reader(reader: &mut Reader<'_>) -> Result<Self, String> {
                let whole = reader.integer();
                match whole.map(<$t>::try_from) {
                    Some(Ok(n)) => Ok(n),
                    Some(Err(_)) => Self::from_value(&Value::Int(whole.unwrap_or_default()), false),
                    None => Self::from_value(&reader.value()?, false),
                }
            }
            fn absent() -> Option<Self> { Some(0) }
        }
        impl IntoValue for $t {
            fn into_value(self) -> Value {
                match i64::try_from(self) {
                    Ok(n) => Value::Int(n),
                    Err(_) => Value::Big(self as u64),
                }
            }
        }
    )*};
}

integers!(u8, u16, u32, u64, usize, i8, i16, i32, i64);

impl IntoValue for Value {
    fn into_value(self) -> Value {
        self
    }
}

impl IntoValue for () {
    fn into_value(self) -> Value {
        Value::Null
    }
}

impl IntoValue for bool {
    fn into_value(self) -> Value {
        Value::Bool(self)
    }
}

impl IntoValue for f64 {
    fn into_value(self) -> Value {
        if self.is_finite() {
            Value::Float(self)
        } else {
            Value::Null
        }
    }
}

impl IntoValue for &str {
    fn into_value(self) -> Value {
        Value::Text(self.to_string())
    }
}

impl IntoValue for String {
    fn into_value(self) -> Value {
        Value::Text(self)
    }
}

impl IntoValue for Cow<'_, str> {
    fn into_value(self) -> Value {
        Value::Text(self.into_owned())
    }
}

impl<T: IntoValue> IntoValue for Option<T> {
    fn into_value(self) -> Value {
        self.map_or(Value::Null, T::into_value)
    }
}

impl<T: IntoValue> IntoValue for Vec<T> {
    fn into_value(self) -> Value {
        Value::List(self.into_iter().map(T::into_value).collect())
    }
}

impl<T: IntoValue> IntoValue for BTreeMap<String, T> {
    fn into_value(self) -> Value {
        Value::Map(self.into_iter().map(|(k, v)| (k, v.into_value())).collect())
    }
}

/// Makes structs of maps and maps of structs: each field is a key of its name.
///
/// A key that is absent or null takes the default after `=`, or else what its type has for
/// it: 0, empty, `None`. A type without either must be there.
///
/// ```
/// stavily::record! {
///     /// What the workflow says.
///     pub struct Config {
///         /// The highest value that is well.
///         pub max: f64,
///         pub name: String = "world".to_string(),
///     }
/// }
/// let c: Config = stavily::Value::map().with("max", 80).read().unwrap();
/// assert_eq!((c.max, c.name.as_str()), (80.0, "world"));
/// ```
#[macro_export]
macro_rules! record {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$fmeta:meta])* $fvis:vis $field:ident : $type:ty $(= $default:expr)? ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        $vis struct $name { $( $(#[$fmeta])* $fvis $field : $type ),* }

        impl $crate::FromValue for $name {
            fn from_value(value: &$crate::Value, strict: bool) -> ::core::result::Result<Self, ::std::string::String> {
                $crate::value::known(value, strict, &[$(stringify!($field)),*])?;
                Ok($name { $( $field: $crate::value::field(
                    value, stringify!($field), strict, $crate::record!(@default $($default)?),
                )? ),* })
            }

            fn from_reader(
                reader: &mut $crate::Reader<'_>,
            ) -> ::core::result::Result<Self, ::std::string::String> {
                $( let mut $field: ::core::option::Option<$type> = ::core::option::Option::None; )*
                for _ in 0..reader.map()? {
                    let key = reader.key()?;
                    $( if key == stringify!($field) && $field.is_none() {
                        $field = reader.field(key, $crate::record!(@some $($default)?))?;
                        continue;
                    } )*
                    reader.pass()?;
                }
                Ok($name { $( $field: match $field {
                    ::core::option::Option::Some(value) => value,
                    ::core::option::Option::None => $crate::value::absent(
                        stringify!($field), $crate::record!(@default $($default)?),
                    )?,
                } ),* })
            }
        }

        impl $crate::IntoValue for $name {
            fn into_value(self) -> $crate::Value {
                $crate::Value::Map(::std::vec![
                    $( (::std::string::String::from(stringify!($field)), $crate::IntoValue::into_value(self.$field)) ),*
                ])
            }
        }
    };
    (@some) => { false };
    (@some $default:expr) => { true };
    (@default) => { ::core::option::Option::None };
    (@default $default:expr) => { ::core::option::Option::Some($default) };
}
