//! JSON that others send. It is read more strictly than by serde alone, which takes an array where
//! an object is due, and its errors name the member that is wrong and never a type of this program.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, Expected, IntoDeserializer};
use serde::de::{Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Value;

/// Why a text is not what it should be.
#[derive(Debug)]
pub(crate) enum JsonError {
    /// It isn't JSON from this line and column on.
    Syntax(usize, usize),
    /// The whole of it, or the member of this path, is something else than it should be.
    Wrong(String, Problem),
}

/// What is wrong with a member.
#[derive(Debug)]
pub(crate) enum Problem {
    Value,
    NotAnObject,
    Lacks(&'static str),
    /// And what is known in its place.
    Unknown(String, &'static [&'static str]),
    Other(String),
}

/// Reads a text.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, JsonError> {
    let value: Value = serde_json::from_slice(text)
        .map_err(|error| JsonError::Syntax(error.line(), error.column()))?;
    serde_path_to_error::deserialize(Strict(value)).map_err(|error| {
        let path = error.path().to_string();
        JsonError::Wrong(path, error.into_inner())
    })
}

impl fmt::Display for JsonError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, problem) = match self {
            Self::Syntax(line, column) => {
                return write!(formatter, "it is not JSON at line {line}, column {column}");
            }
            Self::Wrong(path, problem) => (path, problem),
        };
        match path.as_str() {
            "." => formatter.write_str("the whole ")?,
            path => write!(formatter, "'{path}' ")?,
        }
        match problem {
            Problem::Value => formatter.write_str("has a value of a wrong type or size"),
            Problem::NotAnObject => formatter.write_str("has to be an object"),
            Problem::Lacks(member) => write!(formatter, "lacks the member '{member}'"),
            Problem::Unknown(name, known) => {
                let known = known.join(", ");
                write!(formatter, "has the unknown '{name}'; known are {known}")
            }
            Problem::Other(text) => write!(formatter, "is wrong: {text}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

impl std::error::Error for Problem {}

impl serde::de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self::Value
    }

    fn invalid_value(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self::Value
    }

    fn invalid_length(_: usize, _: &dyn Expected) -> Self {
        Self::Value
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::Unknown(variant.to_owned(), known)
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::Unknown(field.to_owned(), known)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Lacks(field)
    }
}

/// A value that makes a struct only of an object.
struct Strict(Value);

impl IntoDeserializer<'_, Problem> for Strict {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Strict {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::String(text) => visitor.visit_string(text),
            Value::Array(values) => {
                let values = values.into_iter().map(Self);
                visitor.visit_seq(SeqDeserializer::new(values))
            }
            Value::Object(members) => {
                let members = members.into_iter();
                let members = members.map(|(name, value)| (name, Self(value)));
                visitor.visit_map(MapDeserializer::new(members))
            }
            Value::Number(number) => number.deserialize_any(visitor).map_err(|_| Problem::Value),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match self.0 {
            Value::Object(_) => self.deserialize_any(visitor),
            _ => Err(Problem::NotAnObject),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(name.into_deserializer()),
            _ => Err(Problem::invalid_type(
                Unexpected::Other("no name"),
                &"a name",
            )),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    struct Outer {
        inner: Option<Inner>,
        #[serde(default)]
        list: Vec<Inner>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    struct Inner {
        count: i64,
    }

    #[test]
    fn objects_are_read_and_arrays_are_not_taken_for_them() {
        let read = |text: &str| read::<Outer>(text.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(read("{}"), Ok(Outer::default()));
        let inner = Some(Inner { count: 7 });
        let outer = Outer {
            inner,
            list: Vec::new(),
        };
        assert_eq!(read(r#"{"inner": {"count": 7, "more": []}}"#), Ok(outer));
        for (text, words) in [
            ("", "line 1"),
            ("{", "not JSON"),
            ("[]", "the whole has to be an object"),
            ("null", "the whole has to be an object"),
            (r#"{"inner": [7]}"#, "'inner' has to be an object"),
            (
                r#"{"list": [{"count": 1}, [2]]}"#,
                "'list[1]' has to be an object",
            ),
            (r#"{"list": {}}"#, "'list' has a value of a wrong type"),
            (r#"{"inner": {}}"#, "'inner' lacks the member 'count'"),
            (
                r#"{"inner": {"count": "x"}}"#,
                "'inner.count' has a value of a wrong type",
            ),
            (
                r#"{"inner": {"count": 1e300}}"#,
                "'inner.count' has a value",
            ),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(words), "{text}: {message}");
            assert!(
                !message.contains("Inner") && !message.contains("i64"),
                "{message}"
            );
        }
    }
}
