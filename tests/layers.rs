//! The library's layers are true: no source file names a layer above its own.
//!
//! `docs/ARCHITECTURE.md` says what each layer is for. Comments and documentation may point upwards,
//! code may not; so comments and strings are taken out before names are looked for.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// From the lowest layer to the highest. A layer may name those before it, and itself.
const LAYERS: [&str; 13] = [
    "sys",
    "memory",
    "transfer",
    "open_file",
    "driver",
    "engine",
    "file",
    "blocking",
    "handle",
    "sim",
    "tokio",
    "tokio_uring",
    "guide",
];

/// The text without comments, strings and character literals.
fn code_only(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |end| end + 2)
        } else {
            0
        };
        if skip > 0 {
            rest = &rest[skip..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The first names of a path or of a group of paths: `a` of `a::b`, `a` and `c` of `{a::b, c}`.
fn first_names(text: &str) -> Vec<&str> {
    let text = text.trim_start();
    let Some(group) = text.strip_prefix('{') else {
        return vec![identifier(text)];
    };
    let (mut names, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(identifier(group[start..at].trim_start()));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(identifier(group[start..at].trim_start()));
                start = at + 1;
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// What the code names at the root of the crate, by `crate::` or by so many `super::` that they end
/// there. `depth` is how many modules the file's own module lies below the root.
fn names_at_root(code: &str, depth: usize) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        names.extend(first_names(&code[at + "crate::".len()..]));
    }
    let upwards = "super::".repeat(depth);
    for (at, _) in code.match_indices(&upwards) {
        let before = code[..at].chars().next_back();
        if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            names.extend(first_names(&code[at + upwards.len()..]));
        }
    }
    names.into_iter().map(str::to_owned).collect()
}

/// The layer that each name belongs to which `lib.rs` gives out under its own name.
fn given_out(lib: &str) -> HashMap<String, String> {
    let mut from = HashMap::new();
    for (at, _) in lib.match_indices("pub use ") {
        let path = &lib[at + "pub use ".len()..];
        let layer = identifier(path);
        let Some(list) = path[layer.len()..].split(';').next() else {
            continue;
        };
        for name in list.split(|c: char| !c.is_alphanumeric() && c != '_') {
            if !name.is_empty() && name != "as" {
                from.insert(name.to_owned(), layer.to_owned());
            }
        }
    }
    from
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder of the library") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn rank(layer: &str) -> Option<usize> {
    LAYERS.iter().position(|known| *known == layer)
}

#[test]
fn no_layer_names_a_higher_one() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    if fs::read_dir(&src).is_err() {
        println!(
            "SKIP no_layer_names_a_higher_one: {} can't be reached",
            src.display()
        );
        return;
    }
    let lib = code_only(&fs::read_to_string(src.join("lib.rs")).expect("lib.rs"));
    let given_out = given_out(&lib);
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut upwards = Vec::new();
    for file in files {
        let inside = file
            .strip_prefix(&src)
            .expect("below src")
            .with_extension("");
        let parts: Vec<&str> = inside.iter().filter_map(|part| part.to_str()).collect();
        if parts == ["lib"] {
            continue;
        }
        let own = rank(parts[0]);
        assert!(
            own.is_some(),
            "{} is in no layer: name it in LAYERS",
            file.display()
        );
        let depth = parts.len() - usize::from(parts.last() == Some(&"mod"));
        let code = code_only(&fs::read_to_string(&file).expect("a source file"));
        for name in names_at_root(&code, depth) {
            let layer = given_out.get(&name).unwrap_or(&name);
            if rank(layer) > own {
                upwards.push(format!("{}: {name} (of {layer})", inside.display()));
            }
        }
    }
    assert!(
        upwards.is_empty(),
        "lower layers name higher ones:\n{}",
        upwards.join("\n")
    );
}

#[test]
fn names_are_found_in_every_form_that_code_has() {
    let code = code_only(
        "use crate::{file::{A, B}, engine}; // crate::handle\nlet a = super::super::sys::b(\"crate::x\");",
    );
    assert_eq!(names_at_root(&code, 2), ["file", "engine", "sys"]);
    assert_eq!(names_at_root(&code, 1), ["file", "engine", "super"]);
}
