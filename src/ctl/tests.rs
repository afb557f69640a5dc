//! The command line by itself; what it does to a server is in `admin/tests.rs`.

use clap::CommandFactory;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Command::command().debug_assert();
}

/// `docs/postroadctl.md` is what operators read.
#[test]
fn every_command_and_flag_is_in_the_documentation() {
    let text = include_str!("../../docs/postroadctl.md");
    let mut missing = Vec::new();
    let mut commands = vec![("postroadctl".to_owned(), Command::command())];
    while let Some((path, command)) = commands.pop() {
        if command.get_subcommands().next().is_none() && !text.contains(&path) {
            missing.push(path.clone());
        }
        let flags = command.get_arguments().filter_map(|argument| argument.get_long());
        missing.extend(flags.filter(|flag| !text.contains(&format!("--{flag}"))).map(ToOwned::to_owned));
        let below =
            command.get_subcommands().map(|below| (format!("{path} {}", below.get_name()), below.clone()));
        commands.extend(below);
    }
    assert_eq!(missing, Vec::<String>::new());
}
