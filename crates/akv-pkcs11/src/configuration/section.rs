//! An object of the configuration file. Keys are found in any case, as the TLS Offload Library
//! writes them itself in several; those that nobody asks for are known in the end.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;
use std::rc::Rc;

use serde_json::error::Category;
use serde_json::{Map, Value};

use super::json::Json;

/// An object, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Section {
    file: Rc<str>,
    /// Where it is in the file: `tokens[0]`; empty for all of it.
    place: String,
    values: Map<String, Value>,
    /// The places that were asked for, in lower case.
    asked: Rc<RefCell<BTreeSet<String>>>,
}

impl Section {
    /// The whole of a file.
    pub(super) fn parse(path: &Path, text: &[u8]) -> Result<Self, String> {
        let file = path.display().to_string();
        let Json(value) = serde_json::from_slice(text).map_err(|error| {
            let problem = match error.classify() {
                Category::Data => "has",
                _ => "is not JSON:",
            };
            format!("the configuration file '{file}' {problem} {error}")
        })?;
        match value {
            Value::Object(values) => Ok(Self {
                file: file.into(),
                place: String::new(),
                values,
                asked: Rc::default(),
            }),
            _ => Err(format!(
                "the configuration file '{file}' is not a JSON object"
            )),
        }
    }

    /// What is wrong with the value of a key.
    pub(super) fn problem(&self, key: &str, problem: &str) -> String {
        format!("{}: {problem}", self.origin(key))
    }

    /// The place of a key, for errors.
    pub(super) fn origin(&self, key: &str) -> String {
        format!("'{}' in {}", self.place(key), self.file)
    }

    /// The file, and which part of it, for errors.
    pub(super) fn file(&self) -> String {
        match self.place.is_empty() {
            true => self.file.to_string(),
            false => format!("{} of {}", self.place, self.file),
        }
    }

    fn place(&self, key: &str) -> String {
        match self.place.is_empty() {
            true => key.to_owned(),
            false => format!("{}.{key}", self.place),
        }
    }

    /// All keys.
    pub(super) fn names(&self) -> Vec<String> {
        self.values.keys().cloned().collect()
    }

    /// The value of a key; null counts as none.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.asked
            .borrow_mut()
            .insert(self.place(key).to_ascii_lowercase());
        let found = self
            .values
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(key));
        found
            .map(|(_, value)| value)
            .filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<String>, String> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim().to_owned())),
            Some(_) => Err(self.problem(key, "it is not text")),
        }
    }

    pub(super) fn required(&self, key: &str) -> Result<String, String> {
        self.text(key)?
            .ok_or_else(|| self.problem(key, "it is missing"))
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, String> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.problem(key, "it is neither true nor false")),
        }
    }

    pub(super) fn number(
        &self,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, String> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match value.as_u64().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(self.problem(
                key,
                &format!(
                    "it is not a number from {} to {}",
                    range.start(),
                    range.end()
                ),
            )),
        }
    }

    /// Which of two words stands there.
    pub(super) fn choice(&self, key: &str, choices: &[&str]) -> Result<Option<usize>, String> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        let at = choices
            .iter()
            .position(|choice| choice.eq_ignore_ascii_case(&text));
        at.map(Some).ok_or_else(|| {
            self.problem(
                key,
                &format!(
                    "'{}' is neither {}",
                    text.escape_debug(),
                    choices.join(" nor ")
                ),
            )
        })
    }

    /// A value in the form that settings have elsewhere.
    pub(super) fn as_setting(&self, key: &str) -> Result<Option<String>, &'static str> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Bool(flag)) => Ok(Some(flag.to_string())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(Value::Array(_) | Value::Object(_) | Value::Null) => {
                Err("it is neither text, a number, true nor false")
            }
        }
    }

    pub(super) fn section(&self, key: &str) -> Result<Option<Self>, String> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Object(values)) => Ok(Some(self.below(self.place(key), values))),
            Some(_) => Err(self.problem(key, "it is not an object")),
        }
    }

    /// The objects of an array.
    pub(super) fn sections(&self, key: &str) -> Result<Vec<Self>, String> {
        let Some(value) = self.value(key) else {
            return Ok(Vec::new());
        };
        let wrong = || self.problem(key, "it is not an array of objects");
        let items = value.as_array().ok_or_else(wrong)?.iter().enumerate();
        items
            .map(|(at, item)| {
                let values = item.as_object().ok_or_else(wrong)?;
                Ok(self.below(format!("{}[{at}]", self.place(key)), values))
            })
            .collect()
    }

    /// The texts of an array.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<String>>, String> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let wrong = || self.problem(key, "it is not an array of texts");
        let items = value.as_array().ok_or_else(wrong)?.iter();
        let texts = items.map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong));
        texts.collect::<Result<_, _>>().map(Some)
    }

    fn below(&self, place: String, values: &Map<String, Value>) -> Self {
        Self {
            file: Rc::clone(&self.file),
            place,
            values: values.clone(),
            asked: Rc::clone(&self.asked),
        }
    }

    /// The keys that nobody has asked for, each with where it belongs if that is elsewhere. What is
    /// below one that nobody has asked for isn't named.
    pub(super) fn unknown(&self) -> Vec<String> {
        let asked = self.asked.borrow();
        let mut unknown = Vec::new();
        collect(&self.place, &self.values, &asked, &mut unknown);
        let named = unknown.iter().map(|place| match elsewhere(place, &asked) {
            Some(right) => format!("'{place}' (it belongs {right})"),
            None => format!("'{place}'"),
        });
        named.collect()
    }
}

/// Where the key of a place was asked for instead, for a sentence.
fn elsewhere(place: &str, asked: &BTreeSet<String>) -> Option<String> {
    let key = place.rsplit('.').next()?.to_ascii_lowercase();
    let right = asked
        .iter()
        .find(|known| known.rsplit('.').next() == Some(&key))?;
    Some(match right.strip_suffix(&format!(".{key}")) {
        None => "at the top of the file".to_owned(),
        Some(above) if above.starts_with("tokens[") => "into a token, in 'tokens'".to_owned(),
        Some(above) => format!("into '{above}'"),
    })
}

fn collect(
    place: &str,
    values: &Map<String, Value>,
    asked: &BTreeSet<String>,
    unknown: &mut Vec<String>,
) {
    for (key, value) in values {
        let place = match place.is_empty() {
            true => key.clone(),
            false => format!("{place}.{key}"),
        };
        if !asked.contains(&place.to_ascii_lowercase()) {
            unknown.push(place);
            continue;
        }
        match value {
            Value::Object(values) => collect(&place, values, asked, unknown),
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    if let Value::Object(values) = item {
                        collect(&format!("{place}[{at}]"), values, asked, unknown);
                    }
                }
            }
            _ => {}
        }
    }
}
