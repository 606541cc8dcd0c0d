//! Sections of the documents, as they are and as a manual page has them.

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::docs;

fn parser(text: &str) -> Parser<'_> {
    Parser::new_ext(text, Options::ENABLE_TABLES)
}

/// What stands under a heading of a document, with the headings below it.
pub(super) fn section<'a>(document: &'a str, heading: &str) -> Option<&'a str> {
    let (_, content) = sought(document, |title| title == heading)?;
    Some(content)
}

/// The first section whose title is the wanted one: with its heading, and without.
pub(crate) fn sought(document: &str, is_wanted: impl Fn(&str) -> bool) -> Option<(&str, &str)> {
    let mut level: Option<HeadingLevel> = None;
    let mut title = String::new();
    let mut found: Option<(HeadingLevel, usize, usize)> = None;
    for (event, place) in parser(document).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level: own, .. }) => {
                if let Some((above, heading, start)) = found
                    && own <= above
                {
                    let end = place.start;
                    return Some((&document[heading..end], &document[start..end]));
                }
                level = Some(own);
                title.clear();
            }
            Event::Text(text) | Event::Code(text) if level.is_some() => title += &text,
            Event::End(TagEnd::Heading(own)) => {
                level = None;
                if found.is_none() && is_wanted(&title) {
                    found = Some((own, place.start, place.end));
                }
            }
            _ => {}
        }
    }
    found.map(|(_, heading, start)| (&document[heading..], &document[start..]))
}

/// Adds a text in Markdown, of this document. A page has no folder for a link's path to start from:
/// a link is what it is called, with the command that shows where it leads.
pub(super) fn render(roff: &mut Roff, text: &str, document: &str) {
    let mut writer = Writer {
        roff,
        document,
        link: None,
        line: Vec::new(),
        font: Vec::new(),
        numbers: Vec::new(),
        is_literal: false,
        is_first: true,
        heading: Vec::new(),
        cells: Vec::new(),
    };
    for event in parser(text) {
        writer.event(event);
    }
}

struct Writer<'a> {
    roff: &'a mut Roff,
    /// What `akv docs` calls the document.
    document: &'a str,
    /// Where the link that is open leads, and where its words begin in the line.
    link: Option<(String, usize)>,
    /// What is said since the last line.
    line: Vec<Inline>,
    /// The fonts that are open, the last one counts.
    font: Vec<fn(String) -> Inline>,
    /// The next number of each list that is open, if it has numbers.
    numbers: Vec<Option<u64>>,
    /// Lines stay as they are.
    is_literal: bool,
    /// Nothing stands under the heading so far.
    is_first: bool,
    /// The heading of a table.
    heading: Vec<Vec<Inline>>,
    /// The cells of a row so far.
    cells: Vec<Vec<Inline>>,
}

impl Writer<'_> {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.is_literal => {
                for line in text.lines() {
                    self.roff.text([roman(line)]);
                }
            }
            Event::Text(text) => {
                let font = self.font.last().copied().unwrap_or(roman);
                self.line.push(font(text.into_string()));
            }
            Event::Code(text) => self.line.push(bold(text.into_string())),
            Event::SoftBreak | Event::HardBreak => self.line.push(roman(" ")),
            _ => {}
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Paragraph if self.numbers.is_empty() => self.paragraph(),
            Tag::CodeBlock(_) => {
                self.paragraph();
                self.roff.control("RS", ["4"]).control("nf", []);
                self.is_literal = true;
            }
            Tag::List(first) => {
                self.is_first = false;
                self.flush();
                self.numbers.push(*first);
            }
            Tag::Item => self.item(),
            Tag::Emphasis => self.font.push(italic),
            Tag::Strong => self.font.push(bold),
            Tag::Link { dest_url, .. } => {
                self.link = Some((dest_url.to_string(), self.line.len()));
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph | TagEnd::Item => self.flush(),
            TagEnd::Heading(_) => {
                let words: String = self.line.drain(..).map(plain).collect();
                self.roff.control("SS", [words.as_str()]);
                self.is_first = true;
            }
            TagEnd::CodeBlock => {
                self.roff.control("fi", []).control("RE", []);
                self.is_literal = false;
            }
            TagEnd::List(_) => drop(self.numbers.pop()),
            TagEnd::Emphasis | TagEnd::Strong => drop(self.font.pop()),
            TagEnd::Link => self.end_of_link(),
            TagEnd::TableCell => self.cells.push(std::mem::take(&mut self.line)),
            TagEnd::TableHead => self.heading = std::mem::take(&mut self.cells),
            TagEnd::TableRow => self.row(),
            _ => {}
        }
    }

    /// Says where a link leads. What `akv docs` has no page for is in the sources alone.
    fn end_of_link(&mut self) {
        let Some((target, start)) = self.link.take() else {
            return;
        };
        let shown = match target.contains("://") {
            true => roman(target.clone()),
            false => {
                let page = docs::page(&target, self.document);
                if docs::find(&page).is_err() {
                    return;
                }
                bold(format!("akv docs {page}"))
            }
        };
        let words = self.line[start..].iter().cloned().map(plain);
        let words: String = words.collect();
        // Its words are only the name of the file.
        let file = target.rsplit('/').next().unwrap_or_default();
        if file.starts_with(&words) || target == words {
            self.line.truncate(start);
            self.line.push(shown);
            return;
        }
        self.line.extend([roman(" ("), shown, roman(")")]);
    }

    /// Begins a paragraph; under a heading one has begun.
    fn paragraph(&mut self) {
        if !std::mem::take(&mut self.is_first) {
            self.roff.control("PP", []);
        }
    }

    fn flush(&mut self) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.roff.text(line);
        }
    }

    fn item(&mut self) {
        match self.numbers.last_mut() {
            Some(Some(number)) => {
                let shown = format!("{number}.");
                *number += 1;
                self.roff.control("IP", [shown.as_str(), "4"]);
            }
            _ => {
                self.roff.control("IP", ["\\(bu", "2"]);
            }
        }
    }

    /// A row of a table: its first cell as what is explained. The others have their headings,
    /// unless there is no more than an explanation.
    fn row(&mut self) {
        let mut cells = std::mem::take(&mut self.cells)
            .into_iter()
            .zip(&self.heading);
        let Some((first, _)) = cells.next() else {
            return;
        };
        self.is_first = false;
        self.roff.control("TP", []).text(first);
        let last = self.heading.len().saturating_sub(2);
        let mut line = Vec::new();
        for (at, (cell, heading)) in cells.enumerate().filter(|(_, (cell, _))| !cell.is_empty()) {
            if at < last || (last > 0 && !is_meaning(heading)) {
                let words: String = heading.iter().cloned().map(plain).collect();
                if !words.is_empty() {
                    line.push(roman(format!("{words}: ")));
                }
            }
            line.extend(cell);
            line.push(roman(if at < last { "; " } else { "" }));
        }
        self.roff.text(line);
    }
}

/// Whether the heading of a column says no more than that it explains.
fn is_meaning(heading: &[Inline]) -> bool {
    let words: String = heading.iter().cloned().map(plain).collect();
    ["", "meaning", "what", "what it is", "value"].contains(&words.as_str())
}

fn plain(inline: Inline) -> String {
    match inline {
        Inline::Roman(text) | Inline::Italic(text) | Inline::Bold(text) => text,
        Inline::LineBreak => " ".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# A\n\none\n\n```\n# no heading\n```\n\n## B `b`\n\ntwo\n\n### C\n\nthree\n\n## D\n\nfour\n";

    #[test]
    fn a_section_ends_at_the_next_heading_of_its_kind() {
        let of = |heading| section(DOCUMENT, heading).map(str::trim);
        assert_eq!(of("B b"), Some("two\n\n### C\n\nthree"));
        assert_eq!(of("C"), Some("three"));
        assert_eq!(of("D"), Some("four"));
        assert_eq!(of("no heading"), None);
    }

    #[test]
    fn markdown_becomes_roff() {
        let text = "A *b* `c.d`\ne [f](g.md), [pkcs11.md](pkcs11.md#errors), [x](#output), [y](https://z).\n\n- x\n- .y\n\n1. z\n\n```\n.code  \\n\n```\n\n### Sub\n\n\
                    | key | default | meaning |\n|---|---|---|\n| `k` | 3 | m |\n";
        let mut roff = Roff::new();
        render(&mut roff, text, "akv");
        assert_eq!(
            roff.to_roff(),
            "A \\fIb\\fR \\fBc.d\\fR e f, \\fBakv docs pkcs11#errors\\fR, x (\\fBakv docs akv#output\\fR), y \
             (https://z).\n.IP \\(bu 2\nx\n.IP \\(bu 2\n\\&.y\n.IP 1. 4\nz\n\
             .PP\n.RS 4\n.nf\n\\&.code  \\\\n\n.fi\n.RE\n.SS Sub\n.TP\n\\fBk\\fR\ndefault: 3; m\n"
        );
    }
}
