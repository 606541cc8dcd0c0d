//! `akv docs`: the project's documents, which come with the program. Errors name a page of them by
//! the command that shows it.

use clap::Args;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::manual::markdown::sought;
use crate::output::{Report, one_line, table};

/// Each page's name and text.
macro_rules! pages {
    ($($name:literal)+) => {
        &[$(($name, include_str!(concat!("../../../docs/", $name, ".md")))),+]
    };
}

const PAGES: &[(&str, &str)] = pages! {
    "akv" "algorithms" "applications" "authentication" "azure" "cloud-hsm" "configuration"
    "deployment" "faq" "migration" "networks" "performance" "pkcs11" "post-quantum" "reliability"
    "security" "troubleshooting"
};

/// The page that a new user reads first.
const README: (&str, &str) = ("README", include_str!("../../../README.md"));

#[derive(Args)]
#[command(after_help = "Examples:
  akv docs                                  # all pages
  akv docs authentication | less
  akv docs pkcs11#errors                    # a section, as links name it")]
pub(crate) struct Docs {
    /// The page, or a section of it: PAGE#SECTION; without, all pages are listed
    #[arg(value_name = "PAGE")]
    page: Option<String>,
}

impl Docs {
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        let Some(asked) = &self.page else {
            return Ok(list());
        };
        let text = find(asked)?;
        Ok(Report::new(text, json!({ "page": asked, "text": text })))
    }
}

/// The text of a page, or of a section of it.
pub(crate) fn find(asked: &str) -> Result<&'static str, Failure> {
    let (name, section) = match asked.split_once('#') {
        None => (asked, None),
        Some((name, section)) => (name, Some(section)),
    };
    let text = text(name).ok_or_else(|| {
        Failure::not_found(format!(
            "there is no page '{}': akv docs lists all",
            one_line(name)
        ))
    })?;
    let Some(section) = section else {
        return Ok(text);
    };
    self::section(text, section).ok_or_else(|| {
        Failure::not_found(format!(
            "the page {name} has no section '{}': akv docs {name} shows all of it",
            one_line(section)
        ))
    })
}

/// What `akv docs` calls the target of a link in a document.
pub(crate) fn page(link: &str, document: &str) -> String {
    if link.starts_with('#') {
        return format!("{document}{link}");
    }
    let path = link.trim_start_matches("../").trim_start_matches("docs/");
    path.replacen(".md", "", 1)
}

fn all() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    std::iter::once(&README).chain(PAGES)
}

/// The text of a page.
pub(crate) fn text(name: &str) -> Option<&'static str> {
    let name = name.strip_suffix(".md").unwrap_or(name);
    let (_, text) = all().find(|(page, _)| page.eq_ignore_ascii_case(name))?;
    Some(text)
}

fn list() -> Report {
    let titles: Vec<_> = all().map(|(name, text)| (name, title(text))).collect();
    let rows = titles
        .iter()
        .map(|(name, title)| vec![(**name).to_owned(), (*title).to_owned()]);
    let json: Vec<Value> = titles
        .iter()
        .map(|(name, title)| json!({ "page": name, "title": title }))
        .collect();
    Report::new(
        table(&["Page", "Title"], rows.collect()),
        Value::Array(json),
    )
}

fn title(text: &str) -> &str {
    text.lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches("# ")
}

/// The section that a link leads to, with its heading.
fn section<'a>(text: &'a str, wanted: &str) -> Option<&'a str> {
    let (whole, _) = sought(text, |title| anchor(title) == wanted)?;
    Some(whole)
}

/// What a link to a heading is called.
fn anchor(heading: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    heading.trim().chars().filter_map(kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_is_a_page() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
        let files = std::fs::read_dir(folder).expect("the documents");
        let mut names: Vec<String> = files
            .filter_map(|file| file.ok()?.file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(".md").map(str::to_owned))
            .filter(|name| name != "README")
            .collect();
        names.sort();
        let pages: Vec<&str> = PAGES.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, pages);
    }

    #[test]
    fn a_section_ends_where_the_next_of_its_level_begins() {
        let text = "# T\n\na\n\n## `One`, two\nb\n### In it\n```\n# no heading\n```\n## Next\nc\n";
        let shown = section(text, "one-two").expect("it is there");
        assert_eq!(
            shown,
            "## `One`, two\nb\n### In it\n```\n# no heading\n```\n"
        );
        assert!(section(text, "no-heading").is_none());
    }
}
