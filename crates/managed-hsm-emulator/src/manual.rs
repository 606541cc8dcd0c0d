//! `managed-hsm-emulator man`: a manual page for each command.

use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, bold, roman};

use crate::CommandLine;

/// The data folder's files are told there, in a table.
const README: &str = include_str!("../README.md");
const FILES: &str = "## The data folder";

/// Writes `man1/managed-hsm-emulator.1` and the others into a folder.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    let folder = folder.join("man1");
    std::fs::create_dir_all(&folder)?;
    let mut root = CommandLine::command().disable_help_subcommand(true);
    root.build();
    let mut names: Vec<String> = root.get_subcommands().map(name).collect();
    write_page(&folder, &root, &names)?;
    let above = vec![name(&root)];
    names.clear();
    for command in root.get_subcommands() {
        write_page(&folder, command, &above)?;
    }
    Ok(())
}

fn name(command: &clap::Command) -> String {
    let name = command.get_display_name();
    name.unwrap_or_else(|| command.get_name()).to_owned()
}

fn write_page(folder: &Path, command: &clap::Command, see_also: &[String]) -> io::Result<()> {
    let page = Page::new(command.clone());
    let mut text = Vec::new();
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    let mut rest = Roff::new();
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
        files(&mut rest);
    }
    if let Some(examples) = command.get_after_help() {
        rest.control("SH", ["EXAMPLES"]).control("nf", []);
        let examples = examples.to_string();
        for line in examples
            .lines()
            .skip_while(|line| line.starts_with("Example"))
        {
            rest.text([roman(line.trim_start())]);
        }
        rest.control("fi", []);
    }
    rest.control("SH", ["SEE ALSO"]);
    let mut words = Vec::new();
    for (at, page) in see_also.iter().enumerate() {
        words.push(bold(page));
        words.push(roman(if at + 1 < see_also.len() {
            "(1), "
        } else {
            "(1)"
        }));
    }
    rest.text(words);
    rest.to_writer(&mut text)?;
    // clap_mangen leaves a line by two breaks around an empty one.
    let text = String::from_utf8_lossy(&text).replace("\n.br\n\n.br\n", "\n.sp\n");
    let name = name(command);
    // Without a date: pages of the same program are the same, whenever they are written.
    let title = format!(
        ".TH {} 1 \"\" \"managed-hsm-emulator {}\" \"managed-hsm-emulator\"\n",
        name.to_uppercase(),
        env!("CARGO_PKG_VERSION")
    );
    std::fs::write(folder.join(format!("{name}.1")), title + &text)
}

/// FILES: those of the data folder, as the README has them.
fn files(roff: &mut Roff) {
    roff.control("SH", ["FILES"]);
    let plain = |cell: &str| cell.trim().replace('`', "");
    let table = README.split(FILES).nth(1).unwrap_or_default();
    let rows = table.lines().skip_while(|line| !line.starts_with("|---"));
    for row in rows.skip(1).take_while(|line| line.starts_with('|')) {
        let mut cells = row.trim_matches('|').split('|').map(plain);
        let (Some(file), Some(meaning)) = (cells.next(), cells.next()) else {
            continue;
        };
        roff.control("TP", [])
            .text([bold(file)])
            .text([roman(meaning)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page_and_the_first_one_tells_the_files() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        let page = |name: &str| {
            let path = folder.path().join("man1").join(format!("{name}.1"));
            std::fs::read_to_string(path).unwrap()
        };
        let first = page("managed-hsm-emulator");
        for text in [
            "\n.SH FILES\n.TP\n\\fBca.pem, ca\\-key.pem\\fR\n",
            "\\fBkeys.sqlite3\\fR",
            "\n.SH EXAMPLES\n.nf\nmanaged\\-hsm\\-emulator serve",
            "\\fBmanaged\\-hsm\\-emulator\\-run\\fR(1)",
        ] {
            assert!(first.contains(text), "{text}: {first}");
        }
        for command in ["serve", "env", "run", "token", "man"] {
            let text = page(&format!("managed-hsm-emulator-{command}"));
            assert!(text.contains("\n.SH OPTIONS\n"), "{text}");
        }
    }
}
