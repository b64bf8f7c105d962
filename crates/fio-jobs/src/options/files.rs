//! Which files, how large, and which part of them.

use super::super::error::Fault;
use super::super::job::FILENAME_FORMAT;
use super::super::kinds::Size;
use super::super::number;
use super::super::value::Value;
use super::{Known, set, show_bytes, show_count, show_flag};

/// How many files one worker may have.
const MAX_FILES: u64 = 1 << 16;

pub(super) const TABLE: &[Known] = &[
    Known::typed(
        "directory",
        &[],
        |d, v| {
            d.options.directories = names(v)?;
            if !d.options.filenames.is_empty() {
                d.notes
                    .push("has no effect on a filename of an earlier [global]".to_owned());
            }
            Ok(())
        },
        |o| show_names(&o.directories),
    ),
    Known::typed(
        "filename",
        &[],
        |d, v| {
            let names = names(v)?;
            let before = d.options.filenames.len();
            if before > 0 {
                d.notes.push(format!(
                    "is added to the {before} that the job has already, {} first; so does fio",
                    d.options.filenames[0]
                ));
            }
            if before + names.len() > MAX_FILES as usize {
                return Err(Fault::value(format!("more than {MAX_FILES} names")));
            }
            let directory = d.options.directories.first();
            d.options
                .filenames
                .extend(names.into_iter().map(|name| match directory {
                    Some(directory) => format!("{directory}/{name}"),
                    None => name,
                }));
            Ok(())
        },
        |o| show_names(&o.filenames),
    ),
    Known::typed(
        "filename_format",
        &[],
        |d, v| set(&mut d.options.filename_format, v.text().map(str::to_owned)),
        |o| (o.filename_format != FILENAME_FORMAT).then(|| o.filename_format.clone()),
    ),
    Known::typed(
        "nrfiles",
        &["nr_files"],
        |d, v| {
            set(
                &mut d.options.nrfiles,
                v.count(1..=MAX_FILES).map(|count| count as u32),
            )
        },
        |o| show_count(o.nrfiles, 1),
    ),
    Known::typed(
        "filesize",
        &[],
        |d, v| {
            let (low, high) = if number::split(v.text.unwrap_or(""), '-').len() > 1
                || number::split(v.text.unwrap_or(""), ':').len() > 1
            {
                v.byte_range()?
            } else {
                v.bytes().map(|bytes| (bytes, bytes))?
            };
            if low == 0 {
                return Err(Fault::value("a file has at least one byte"));
            }
            d.options.filesize = Some((low, high));
            Ok(())
        },
        |o| {
            o.filesize.map(|(low, high)| {
                if low == high {
                    number::show_bytes(low)
                } else {
                    format!("{}-{}", number::show_bytes(low), number::show_bytes(high))
                }
            })
        },
    ),
    // Zero is the whole file.
    Known::typed(
        "size",
        &[],
        |d, v| set(&mut d.options.size, v.size().map(not_zero)),
        |o| o.size.map(number::show_size),
    ),
    Known::typed(
        "io_size",
        &["io_limit"],
        |d, v| set(&mut d.options.io_size, v.size().map(not_zero)),
        |o| o.io_size.map(number::show_size),
    ),
    Known::typed(
        "offset",
        &["fileoffset"],
        |d, v| set(&mut d.options.offset, v.size()),
        |o| not_zero(o.offset).map(number::show_size),
    ),
    Known::typed(
        "offset_increment",
        &[],
        |d, v| set(&mut d.options.offset_increment, v.size()),
        |o| not_zero(o.offset_increment).map(number::show_size),
    ),
    Known::typed(
        "offset_align",
        &[],
        |d, v| set(&mut d.options.offset_align, v.bytes()),
        |o| show_bytes(o.offset_align),
    ),
    Known::typed(
        "number_ios",
        &[],
        |d, v| {
            set(
                &mut d.options.number_ios,
                v.bytes().map(|count| (count > 0).then_some(count)),
            )
        },
        |o| o.number_ios.map(|count| count.to_string()),
    ),
    Known::typed(
        "unlink",
        &[],
        |d, v| set(&mut d.options.unlink, v.boolean()),
        |o| show_flag(o.unlink, false),
    ),
    Known::typed(
        "overwrite",
        &[],
        |d, v| set(&mut d.options.overwrite, v.boolean()),
        |o| show_flag(o.overwrite, false),
    ),
    Known::typed(
        "create_on_open",
        &[],
        |d, v| set(&mut d.options.create_on_open, v.boolean()),
        |o| show_flag(o.create_on_open, false),
    ),
    Known::typed(
        "invalidate",
        &[],
        |d, v| set(&mut d.options.invalidate, v.boolean()),
        |o| show_flag(o.invalidate, true),
    ),
];

fn not_zero(size: Size) -> Option<Size> {
    (size != Size::Bytes(0)).then_some(size)
}

/// Names with colons between them; a colon in a name has a backslash before it.
fn names(value: Value<'_>) -> Result<Vec<String>, Fault> {
    let (mut names, mut name) = (Vec::new(), String::new());
    for letter in value.text()?.chars() {
        match letter {
            ':' if name.ends_with('\\') => {
                name.pop();
                name.push(':');
            }
            ':' => names.push(std::mem::take(&mut name)),
            _ => name.push(letter),
        }
    }
    names.push(name);
    for name in &names {
        match name.as_str() {
            "" => return Err(Fault::value("there is nothing between two colons")),
            "-" => {
                return Err(Fault::unsupported(
                    "standard input and output are not offered",
                ));
            }
            // It could not be told from the escape of the colon behind it.
            name if name.ends_with('\\') => {
                return Err(Fault::value(format!("{name:?} ends with a backslash")));
            }
            _ => {}
        }
    }
    Ok(names)
}

fn show_names(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| {
        names
            .iter()
            .map(|name| name.replace(':', "\\:"))
            .collect::<Vec<_>>()
            .join(":")
    })
}
