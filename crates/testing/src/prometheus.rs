//! Prometheus' text format, read more strictly than Prometheus itself does: what it would take and
//! ignore, or node_exporter refuse together with all other files, is a mistake here.

use std::collections::{BTreeMap, BTreeSet};

/// What a file says.
#[derive(Debug, Default)]
pub struct Metrics {
    samples: Vec<Sample>,
    /// The type of each family.
    types: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut metrics = Self::default();
        let mut helped = BTreeSet::new();
        let mut family: Option<String> = None;
        if !text.ends_with('\n') {
            return Err("the last line has no end".to_owned());
        }
        for line in text.lines() {
            let problem = |problem: &str| format!("{problem}: {line}");
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').ok_or_else(|| problem("no help"))?;
                if help.is_empty() || !helped.insert(name.to_owned()) {
                    return Err(problem("an empty or a second HELP"));
                }
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').ok_or_else(|| problem("no type"))?;
                metrics
                    .begin(name, kind, &helped)
                    .map_err(|it| problem(&it))?;
                family = Some(name.to_owned());
            } else if !line.starts_with('#') {
                let sample = sample(line).map_err(|it| problem(&it))?;
                let family = family.as_deref().ok_or_else(|| problem("no TYPE before"))?;
                metrics.add(family, sample).map_err(|it| problem(&it))?;
            }
        }
        metrics.check_histograms()?;
        Ok(metrics)
    }

    fn begin(&mut self, name: &str, kind: &str, helped: &BTreeSet<String>) -> Result<(), String> {
        if !helped.contains(name) {
            return Err("no HELP before".to_owned());
        }
        let is_fit = match kind {
            "counter" => name.ends_with("_total"),
            "gauge" | "histogram" => !name.ends_with("_total"),
            _ => false,
        };
        if !is_name(name) || !is_fit {
            return Err("the name doesn't fit the type".to_owned());
        }
        match self.types.insert(name.to_owned(), kind.to_owned()) {
            None => Ok(()),
            Some(_) => Err("a second TYPE".to_owned()),
        }
    }

    fn add(&mut self, family: &str, sample: Sample) -> Result<(), String> {
        let suffix = sample.name.strip_prefix(family);
        let suffix = suffix.ok_or("it belongs to no family, or to an earlier one")?;
        let is_fit = match self.types[family].as_str() {
            "histogram" => matches!(suffix, "_bucket" | "_sum" | "_count"),
            _ => suffix.is_empty(),
        };
        let is_same = |other: &Sample| other.name == sample.name && other.labels == sample.labels;
        if !is_fit || self.samples.iter().any(is_same) {
            return Err("its name doesn't fit, or it is there twice".to_owned());
        }
        self.samples.push(sample);
        Ok(())
    }

    fn check_histograms(&self) -> Result<(), String> {
        let mut last: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for sample in &self.samples {
            let mut others = sample.labels.clone();
            let end = others.remove("le");
            let of = |name: &str| format!("{name} {others:?}");
            if let Some(name) = sample.name.strip_suffix("_bucket") {
                let end = match end.as_deref() {
                    Some("+Inf") => f64::INFINITY,
                    Some(end) => end.parse().map_err(|_| format!("le is {end}"))?,
                    None => return Err(format!("a bucket has no le: {sample:?}")),
                };
                let before = last.insert(of(name), (end, sample.value));
                if before.is_some_and(|(at, count)| at >= end || count > sample.value) {
                    return Err(format!("buckets don't ascend: {sample:?}"));
                }
            } else if let Some(name) = sample.name.strip_suffix("_count")
                && last.get(&of(name)) != Some(&(f64::INFINITY, sample.value))
            {
                return Err(format!("it isn't the last bucket's: {sample:?}"));
            }
        }
        Ok(())
    }

    /// The sum of the values that have a name and these labels. None: there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let fits = |sample: &&Sample| {
            let has = |(name, value): &(&str, &str)| {
                sample.labels.get(*name).map(String::as_str) == Some(value)
            };
            sample.name == name && labels.iter().all(has)
        };
        let found = self.samples.iter().filter(fits).map(|sample| sample.value);
        found.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }

    /// The names of all series that there may be.
    pub fn names(&self) -> BTreeSet<String> {
        let of = |(name, kind): (&String, &String)| match kind.as_str() {
            "histogram" => ["_bucket", "_sum", "_count"]
                .map(|suffix| format!("{name}{suffix}"))
                .to_vec(),
            _ => vec![name.clone()],
        };
        self.types.iter().flat_map(of).collect()
    }

    /// The names of all labels.
    pub fn labels(&self) -> BTreeSet<String> {
        let samples = self.samples.iter();
        samples.flat_map(|it| it.labels.keys().cloned()).collect()
    }
}

fn is_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let mut bytes = text.bytes();
    bytes.next().is_some_and(is_letter) && bytes.all(|it| is_letter(it) || it.is_ascii_digit())
}

/// A line such as `name{label="value"} 1`.
fn sample(line: &str) -> Result<Sample, String> {
    let (name, mut rest) = line.split_once('{').ok_or("no labels")?;
    if !is_name(name) {
        return Err("no name".to_owned());
    }
    let mut labels = BTreeMap::new();
    loop {
        let (label, after) = rest.split_once("=\"").ok_or("no label")?;
        let (value, after) = quoted(after)?;
        if !is_name(label) || value.is_empty() {
            return Err(format!("the label '{label}' has no name or no value"));
        }
        if labels.insert(label.to_owned(), value).is_some() {
            return Err(format!("the label '{label}' is there twice"));
        }
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => {
                let value = after.strip_prefix("} ").ok_or("no end of the labels")?;
                return Ok(Sample {
                    name: name.to_owned(),
                    labels,
                    value: value.parse().map_err(|_| "no number".to_owned())?,
                });
            }
        }
    }
}

/// A value up to its closing quote, and what follows.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, other @ ('\\' | '"'))) => value.push(other),
                _ => return Err("an escape that is none".to_owned()),
            },
            other => value.push(other),
        }
    }
    Err("a value has no end".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# process 1\n\
        # HELP a_total A.\n# TYPE a_total counter\na_total{x=\"\\\"\\n\\\\\"} 3\n\
        # HELP b_seconds B.\n# TYPE b_seconds histogram\n\
        b_seconds_bucket{le=\"1\"} 1\nb_seconds_bucket{le=\"+Inf\"} 2\n";

    #[test]
    fn a_good_file_is_read() {
        let metrics = Metrics::read(GOOD).unwrap();
        assert_eq!(metrics.sum("a_total", &[("x", "\"\n\\")]), Some(3.0));
        assert_eq!(metrics.sum("a_total", &[("x", "y")]), None);
        assert_eq!(metrics.sum("b_seconds_bucket", &[]), Some(3.0));
    }

    #[test]
    fn mistakes_are_found() {
        for (from, to) in [
            ("# HELP a_total A.\n", ""),
            ("# TYPE a_total counter", "# TYPE a_total gauge"),
            ("x=\"", "1x=\""),
            ("\\n", "\\t"),
            ("} 3", "} three"),
            ("} 3\n", "} 3\na_total{x=\"\\\"\\n\\\\\"} 3\n"),
            ("} 2\n", "} 0\n"),
            ("} 2\n", "} 2"),
            ("} 2\n", "} 2\na_total{x=\"late\"} 3\n"),
            ("le=\"1\"", "le=\"one\""),
        ] {
            let bad = GOOD.replacen(from, to, 1);
            assert_ne!(bad, GOOD);
            assert!(Metrics::read(&bad).is_err(), "{bad}");
        }
    }
}
