use crate::codec::Fault;
use crate::decoder::Decoder;
use crate::value::{at, FromValue, Value};

/// Stands in data that is read into a type, value by value, without a tree of it. What it does
/// not find as it is wanted it leaves where it is. For [`record!`](crate::record).
pub struct Reader<'a>(Decoder<'a>);

type Read<T> = std::result::Result<T, String>;

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(Decoder::new(bytes))
    }

    /// Reads any value.
    pub(crate) fn value(&mut self) -> Read<Value> {
        self.0.value(0).map_err(told)
    }

    /// Reads the head of what is next if `want` has it, else nothing is read.
    fn head<T>(&mut self, want: impl FnOnce(u8, u8, u64) -> Option<T>) -> Option<T> {
        let from = self.0.at;
        let wanted = self.0.head().ok().and_then(|(major, low, n)| want(major, low, n));
        if wanted.is_none() {
            self.0.at = from;
        }
        wanted
    }

    pub(crate) fn integer(&mut self) -> Option<i64> {
        self.head(|major, _, n| match (major, i64::try_from(n)) {
            (0, Ok(n)) => Some(n),
            (1, Ok(n)) => Some(!n),
            _ => None,
        })
    }

    pub(crate) fn bool(&mut self) -> Option<bool> {
        self.head(|major, low, _| match (major, low) {
            (7, 20) => Some(false),
            (7, 21) => Some(true),
            _ => None,
        })
    }

    /// Passes over a null; false when there is none.
    pub(crate) fn null(&mut self) -> bool {
        self.head(|major, low, _| (major == 7 && low == 22).then_some(())).is_some()
    }

    pub(crate) fn double(&mut self) -> Option<f64> {
        self.head(|major, low, n| (major == 7 && low == 27).then(|| f64::from_bits(n)))
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let size = self.head(|major, _, n| (major == 3).then_some(n))?;
        self.0.text(size).ok()
    }

    pub(crate) fn list(&mut self) -> Option<usize> {
        self.head(|major, _, n| (major == 4).then_some(n as usize))
    }

    /// How many pairs the map that comes next has: a key and a value for each follow.
    pub fn map(&mut self) -> Read<usize> {
        match self.head(|major, _, n| (major == 5).then_some(n as usize)) {
            Some(n) => Ok(n),
            None => Err(format!("want map, got {}", self.value()?.kind())),
        }
    }

    /// Reads the key of a pair.
    pub fn key(&mut self) -> Read<&'a str> {
        self.text().ok_or_else(|| "a key that is no text".to_string())
    }

    /// Reads the value of a field; none for null where the field has a default.
    pub fn field<T: FromValue>(&mut self, key: &str, default: bool) -> Read<Option<T>> {
        if default && self.null() {
            return Ok(None);
        }
        T::from_reader(self).map(Some).map_err(|e| at(key, &e))
    }

    /// Passes over a value.
    pub fn pass(&mut self) -> Read<()> {
        self.0.skip(0).map(|_| ()).map_err(told)
    }
}

fn told(fault: Fault) -> String {
    match fault {
        Fault::More => "it ends too soon".to_string(),
        Fault::Bad(why) => why.to_string(),
    }
}
