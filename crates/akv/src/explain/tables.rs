//! What the documents tell of errors: their tables are the one place where that is written.

use std::sync::LazyLock;

use crate::docs;

/// The documents, by their pages.
const DOCUMENTS: [&str; 2] = ["troubleshooting", "pkcs11"];

/// An error, or several with the same remedy.
#[derive(Debug)]
pub(crate) struct Row {
    /// What it is called, as text.
    pub(crate) name: String,
    /// Codes, and parts of what programs print.
    pub(crate) codes: Vec<String>,
    /// Numbers beside them: of HTTP, or of the provider's reason.
    pub(crate) numbers: Vec<u32>,
    pub(crate) cause: String,
    pub(crate) remedy: String,
    /// The page of the documents that it is from.
    pub(crate) document: &'static str,
    /// Whether it is a reason of the provider.
    pub(crate) is_reason: bool,
}

/// All rows of all tables of errors.
pub(crate) fn rows() -> &'static [Row] {
    static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
        let all = DOCUMENTS.iter();
        all.flat_map(|page| of_document(page, docs::text(page).unwrap_or_default()))
            .collect()
    });
    &ROWS
}

/// The tables of errors have three columns, and the second says why.
fn of_document(document: &'static str, text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut heading = None;
    for line in text.lines() {
        let Some(cells) = cells(line) else {
            heading = None;
            continue;
        };
        match (heading.as_deref(), cells.as_slice()) {
            (None, [first, second, _]) if second == "cause" => heading = Some(first.clone()),
            (None, _) => heading = Some(String::new()),
            (Some(""), _) => {}
            (Some(_), [first, ..]) if first.starts_with("---") => {}
            (Some(heading), [first, cause, remedy]) => rows.push(Row {
                name: plain(&first.replace(['`', '*'], ""), document),
                codes: codes(first),
                numbers: numbers(first),
                cause: plain(cause, document),
                remedy: plain(remedy, document),
                document,
                is_reason: heading == "reason",
            }),
            _ => {}
        }
    }
    rows
}

/// The cells of a table's line.
fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.strip_prefix('|')?.trim_end().strip_suffix('|')?;
    let escaped = inner.replace("\\|", "\u{0}");
    let cells = escaped.split('|');
    let cells = cells.map(|cell| cell.trim().replace('\u{0}', "|"));
    Some(cells.collect())
}

/// What stands in a cell as code.
fn codes(cell: &str) -> Vec<String> {
    let spans = cell.split('`').skip(1).step_by(2);
    spans.map(str::to_owned).collect()
}

/// The numbers of a cell that are not in code.
fn numbers(cell: &str) -> Vec<u32> {
    let outside = cell.split('`').step_by(2);
    let words = outside.flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric()));
    words.filter_map(|word| word.parse().ok()).collect()
}

/// Markdown as text: links as what they are called and the command that shows where they lead.
fn plain(markdown: &str, document: &str) -> String {
    let mut text = String::new();
    let mut rest = markdown;
    while let Some((before, after)) = rest.split_once('[') {
        text += before;
        let link = after.split_once("](").and_then(|(name, after)| {
            let (target, after) = after.split_once(')')?;
            Some((name, target, after))
        });
        let Some((name, target, after)) = link else {
            text.push('[');
            rest = after;
            continue;
        };
        let shown = docs::page(target, document);
        match target.trim_start_matches("../").starts_with(name) {
            true => text += &format!("'akv docs {shown}'"),
            false => text += &format!("{name} ('akv docs {shown}')"),
        }
        rest = after;
    }
    text += rest;
    quoted(&text)
}

/// Text in which names stand in quotes, and code that has more than one word.
fn quoted(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let shown = parts.map(|(at, part)| match at % 2 == 1 && part.contains(' ') {
        true => format!("'{part}'"),
        false => part.replace('*', "'"),
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_errors_are_read_and_others_are_not() {
        let text = "| a | b | c |\n|---|---|---|\n| `x` | y | z |\n\n\
                    | code | cause | remedy |\n|---|---|---|\n\
                    | 403 `A`, `B` | see [here](#there) | [x.md](x.md#y), `a \\| b`, `c` |\n\nend\n";
        let rows = of_document("d", text);
        let [row] = rows.as_slice() else {
            panic!("{rows:?}")
        };
        assert_eq!(row.codes, ["A", "B"]);
        assert_eq!(row.numbers, [403]);
        assert_eq!(row.name, "403 A, B");
        assert_eq!(row.cause, "see here ('akv docs d#there')");
        assert_eq!(row.remedy, "'akv docs x#y', 'a | b', c");
    }

    #[test]
    fn both_documents_have_rows() {
        for document in DOCUMENTS {
            let count = rows().iter().filter(|row| row.document == document).count();
            assert!(count > 30, "{document}: {count}");
        }
        assert!(rows().iter().filter(|row| row.is_reason).count() > 50);
    }

    #[test]
    fn each_page_that_a_row_names_is_there() {
        let texts = rows().iter().flat_map(|row| [&row.cause, &row.remedy]);
        let named = texts.flat_map(|text| text.split("'akv docs ").skip(1));
        let pages: Vec<&str> = named.filter_map(|rest| rest.split('\'').next()).collect();
        assert!(pages.len() > 20, "{pages:?}");
        for page in pages {
            assert!(docs::find(page).is_ok(), "{page}");
        }
    }
}
