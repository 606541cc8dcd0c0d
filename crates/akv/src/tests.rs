//! What the help of every command has.

use clap::{Command, CommandFactory, Parser};

use super::{Arguments, OF_ALL, Tool};

/// What fits on a terminal that nobody made wider. A longer line is broken where it isn't to be.
const WIDTH: usize = 76;
/// An object id, for what an example has in its place.
const OBJECT_ID: &str = "11111111-2222-3333-4444-555555555555";

/// All commands that help shows, each with what is typed for it.
fn commands() -> Vec<(String, Command)> {
    let mut root = Arguments::command();
    root.build();
    let mut found = Vec::new();
    let mut left = vec![(String::from("akv"), root)];
    while let Some((line, command)) = left.pop() {
        let below = command.get_subcommands();
        let below = below.filter(|one| !one.is_hide_set() && one.get_name() != "help");
        left.extend(below.map(|one| (format!("{line} {}", one.get_name()), one.clone())));
        found.push((line, command));
    }
    assert!(found.len() > 45, "{}", found.len());
    found
}

fn examples(command: &Command) -> String {
    let help = command.get_after_help().map(ToString::to_string);
    help.unwrap_or_default()
}

/// The words of an example, up to what is the shell's.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut is_quoted, mut inner) = (false, None::<String>);
    for letter in line.chars() {
        match (letter, inner.take()) {
            ('\'', None) => is_quoted = !is_quoted,
            ('$' | '<', None) if !is_quoted => inner = Some(String::new()),
            (')' | '>', Some(text)) => {
                let word = if text == "HEX" { "00" } else { OBJECT_ID };
                words.extend([word.to_owned(), String::new()]);
            }
            (letter, Some(text)) => inner = Some(format!("{text}{letter}")),
            ('#' | '|' | '>' | ';', None) if !is_quoted => break,
            (' ', None) if !is_quoted => words.push(String::new()),
            (letter, None) => words.last_mut().expect("there is one").push(letter),
        }
    }
    words.into_iter().filter(|word| !word.is_empty()).collect()
}

#[test]
fn the_command_line_is_well_formed() {
    Arguments::command().debug_assert();
}

/// The same, with the tools of the TLS Offload Library.
fn commands_and_tools() -> Vec<(String, Command)> {
    let tools = Tool::commands();
    let tools = tools.map(|tool| (tool.get_name().to_owned(), tool));
    commands().into_iter().chain(tools).collect()
}

#[test]
fn every_help_has_examples_that_can_be_pasted() {
    for (line, command) in commands_and_tools() {
        let help = examples(&command);
        assert!(help.starts_with("Example"), "{line}: {help}");
        assert!(help.contains(&format!("\n  {line}")), "{line}: {help}");
        let mut is_continued = false;
        for shown in help.lines() {
            assert!(shown.chars().count() <= WIDTH, "{line}: {shown}");
            assert_eq!(shown.starts_with("      "), is_continued, "{line}: {shown}");
            is_continued = shown.ends_with(" \\");
        }
        assert!(!is_continued, "{line}: {help}");
    }
}

#[test]
fn every_example_is_a_command_line() {
    let mut count = 0;
    for (line, command) in commands() {
        let help = examples(&command).replace(" \\\n     ", "");
        for example in help.lines().filter(|shown| shown.starts_with("  akv ")) {
            let words = words(example);
            let taken = Arguments::try_parse_from(&words);
            assert!(taken.is_ok(), "{line}: {words:?}: {:?}", taken.err());
            count += 1;
        }
    }
    for tool in Tool::commands() {
        for example in examples(&tool).lines().skip(1) {
            let taken = tool.clone().try_get_matches_from(words(example));
            assert!(taken.is_ok(), "{example}: {:?}", taken.err());
        }
    }
    assert!(count > 90, "{count}");
    let example = "  akv a 'b c' --d $(e f | g) --h <HEX> i # j";
    let expected = ["akv", "a", "b c", "--d", OBJECT_ID, "--h", "00", "i"];
    assert_eq!(words(example), expected);
}

#[test]
fn what_all_commands_have_stands_behind_what_is_a_commands_own() {
    for (line, mut command) in commands() {
        let of_all = command
            .get_arguments()
            .filter(|one| one.get_help_heading() == Some(OF_ALL));
        let mut names: Vec<_> = of_all.map(|one| one.get_id().to_string()).collect();
        names.sort();
        let expected = ["debug", "help", "json", "output", "query", "verbose"];
        assert_eq!(names, expected, "{line}");
        let help = command.render_long_help().to_string();
        let (own, of_all) = help.split_once(OF_ALL).expect("the heading");
        for name in expected {
            let option = format!("--{name}");
            assert!(of_all.contains(&option), "{line}: {option}");
            let mut lines = own.lines().map(str::trim_start);
            let is_own = lines.any(|shown| shown.starts_with('-') && shown.contains(&option));
            assert!(!is_own, "{line}: {option}: {own}");
        }
        assert!(!of_all.contains("\nOptions:"), "{line}");
    }
}
