//! `docs/cli.md` says what can be typed: it is made from the definition, and this test fails where they differ.
//!
//! `REEF_WRITE_DOCS=1 cargo test -p reef --test it docs` writes it again.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, Command, CommandFactory as _};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");

/// What the definition cannot say. Everything below the mark is made.
const MARK: &str =
    "<!-- Made from the definition by `REEF_WRITE_DOCS=1 cargo test -p reef --test it docs`. -->";

fn text(page: &mut String, line: &str) {
    writeln!(page, "{line}").unwrap();
}

fn command(page: &mut String, path: &str, definition: &Command) {
    let path = format!("{path} {}", definition.get_name());
    let path = path.trim();
    if definition.get_subcommands().next().is_none() {
        text(page, &format!("\n## `{path}`\n"));
        let about = definition
            .get_long_about()
            .or_else(|| definition.get_about());
        let about = about.map(ToString::to_string).unwrap_or_default();
        text(page, about.trim());
        let args: Vec<&Arg> = definition
            .get_arguments()
            .filter(|arg| {
                !arg.is_global_set() && !["help", "version"].contains(&arg.get_id().as_str())
            })
            .collect();
        if !args.is_empty() {
            text(
                page,
                "\n| Option | Environment | Default | Meaning |\n|---|---|---|---|",
            );
        }
        for arg in args {
            row(page, arg);
        }
    }
    for inner in definition.get_subcommands() {
        command(page, path, inner);
    }
}

fn row(page: &mut String, arg: &Arg) {
    let value = arg
        .get_value_names()
        .filter(|_| arg.get_action().takes_values())
        .and_then(|names| names.first())
        .map(ToString::to_string);
    let short = arg
        .get_short()
        .map(|short| format!("-{short}, "))
        .unwrap_or_default();
    let name = match (arg.get_long(), value) {
        (Some(long), Some(value)) => format!("`{short}--{long} {value}`"),
        (Some(long), None) => format!("`{short}--{long}`"),
        (None, value) => format!("`{}`", value.unwrap_or_default()),
    };
    let env = arg
        .get_env()
        .map(|env| format!("`{}`", env.to_string_lossy()))
        .unwrap_or_default();
    let takes = arg.get_action().takes_values();
    let default: Vec<String> = arg
        .get_default_values()
        .iter()
        .filter(|_| takes)
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    let default = match (default.is_empty(), arg.is_required_set()) {
        (false, _) => default.join(", "),
        (true, true) => "required".to_owned(),
        (true, false) => String::new(),
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let choices: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|_| takes)
        .map(|choice| {
            let about = choice
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            match about.trim_end_matches('.') {
                "" => format!("`{}`", choice.get_name()),
                about => format!("`{}`: {about}", choice.get_name()),
            }
        })
        .collect();
    let choices = if choices.is_empty() || choices.len() > 5 {
        String::new()
    } else {
        format!(" ({})", choices.join("; "))
    };
    let help = help.replace('\n', " ").replace('|', "\\|");
    text(
        page,
        &format!("| {name} | {env} | {default} | {help}{choices} |"),
    );
}

fn reference() -> String {
    let mut definition = reef::cli::Cli::command();
    definition.build();
    let mut page = String::new();
    text(&mut page, "\n## Options of every command\n");
    text(
        &mut page,
        "| Option | Environment | Default | Meaning |\n|---|---|---|---|",
    );
    for arg in definition.get_arguments().filter(|arg| arg.is_global_set()) {
        row(&mut page, arg);
    }
    for inner in definition
        .get_subcommands()
        .filter(|inner| inner.get_name() != "help")
    {
        if inner
            .get_subcommands()
            .any(|inner| inner.get_name() != "help")
        {
            for action in inner
                .get_subcommands()
                .filter(|inner| inner.get_name() != "help")
            {
                command(&mut page, &format!("reef {}", inner.get_name()), action);
            }
        } else {
            command(&mut page, "reef", inner);
        }
    }
    page
}

#[test]
fn page_of_the_command_line_is_current() {
    let file = Path::new(FILE);
    let written = std::fs::read_to_string(file).unwrap();
    let (head, made) = written.split_once(MARK).unwrap();
    let reference = reference();
    if std::env::var_os("REEF_WRITE_DOCS").is_some() {
        std::fs::write(file, format!("{head}{MARK}\n{reference}")).unwrap();
        return;
    }
    assert_eq!(
        made.trim(),
        reference.trim(),
        "docs/cli.md is not what the definition says; see the head of this test"
    );
}

#[test]
fn tests_that_the_page_of_faults_names_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("docs/faults.md")).unwrap();
    let named = page.split('`').filter_map(|span| span.split_once("::"));
    let mut count = 0;
    for (file, test) in named {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        assert!(text.contains(&format!("fn {test}(")), "{file}::{test}");
        count += 1;
    }
    assert!(count > 40, "{count} tests");
}
