//! `postroad config example`: the whole schema as a node file with every key, default, unit and reason.

use std::fmt::Write as _;

use crate::config::schema::{Effect, Form, KEYS, Key, Kind, Presence, SECTIONS, SectionRow};

/// Characters of a comment line, the `# ` included.
const WIDTH: usize = 110;

const HEAD: &str = "\
# Postroad's node file. Every key is here: with its default where it has one, with an example behind # where
# it can be left out, and marked mandatory where it cannot. An unknown key is an error.
# A variable POSTROAD__SECTION__KEY beats the file; its value is a TOML value, or else a string:
#   POSTROAD__SMTP__LISTEN='[\"0.0.0.0:2525\"]' POSTROAD__NODE__NAME=linda
# Relative paths start from the working directory. SIGHUP, or a change of this file or of one it names, reloads: all
# of the new file is taken or nothing of it. A key that says so is taken at the next start.
";

/// The example, as TOML.
#[must_use]
pub fn example() -> String {
    let mut out = String::from(HEAD);
    for section in SECTIONS.iter().filter(|section| section.form != Form::Inline) {
        write_section(&mut out, section);
    }
    out
}

/// A text as a node file has it.
#[must_use]
pub fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn write_section(out: &mut String, section: &SectionRow) {
    out.push('\n');
    comment(out, &format!("{}.", capitalised(section.about)));
    let name = section.path.trim_end_matches("[]");
    let (header, prefix) = match section.form {
        Form::Table | Form::Inline => (format!("[{name}]"), ""),
        Form::OptionalTable => (format!("[{name}]"), "# "),
        Form::Array => (format!("[[{name}]]"), "# "),
    };
    let _ = writeln!(out, "{prefix}{header}");
    for key in KEYS.iter().filter(|key| key.section == section.path) {
        // An array of tables in a section of its own is not repeated as a key.
        if has_section(key, Form::Array) {
            continue;
        }
        write_key(out, key, prefix);
    }
}

fn has_section(key: &Key, form: Form) -> bool {
    let path = format!("{}[]", key.path());
    key.kind == Kind::Tables && SECTIONS.iter().any(|row| row.path == path && row.form == form)
}

fn write_key(out: &mut String, key: &Key, prefix: &str) {
    comment(out, key.reason);
    let (value, prefix, presence) = match key.presence {
        Presence::Mandatory(example) => (example, prefix, "[mandatory]"),
        Presence::Default(default) => (default, prefix, "[default]"),
        Presence::Optional(example) => (example, "# ", "[no default]"),
    };
    let restart = match key.effect {
        Effect::Live => "",
        Effect::Restart => "; a change needs a restart",
    };
    comment(out, &format!("{presence} {}{restart}", key.expected()));
    if has_section(key, Form::Inline) {
        write_inline(out, key);
        // The example is all there is to say.
        if matches!(key.presence, Presence::Mandatory(_)) {
            return;
        }
    }
    let _ = writeln!(out, "{prefix}{} = {value}", key.name);
}

/// The keys of a key's inline tables, and an example of one.
fn write_inline(out: &mut String, key: &Key) {
    let path = format!("{}[]", key.path());
    let mut example = Vec::new();
    for inner in KEYS.iter().filter(|inner| inner.section == path) {
        comment(out, &format!("{}: {} ({})", inner.name, inner.reason.trim(), inner.expected()));
        let (Presence::Mandatory(value) | Presence::Default(value) | Presence::Optional(value)) =
            inner.presence;
        example.push(format!("{} = {value}", inner.name));
    }
    let _ = writeln!(out, "# {} = [{{ {} }}]", key.name, example.join(", "));
}

/// A comment, broken at spaces. Two marks, so that taking one away from a line never makes prose a key.
fn comment(out: &mut String, text: &str) {
    let mut line = String::from("##");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{line}");
            line = String::from("##");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
