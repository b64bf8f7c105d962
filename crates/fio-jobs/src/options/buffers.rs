//! The memory of the buffers and what is in them.

use super::super::error::Fault;
use super::super::kinds::Memory;
use super::super::value::Value;
use super::{Draft, Known, set, show_bytes, show_flag};

const RANDOM: &str = "what is written is random";

pub(super) const TABLE: &[Known] = &[
    Known::typed("mem", &["iomem"], set_memory, |o| {
        let named = |word: &str, file: &Option<String>| match file {
            Some(file) => format!("{word}:{file}"),
            None => word.to_owned(),
        };
        match &o.memory {
            Memory::Malloc => None,
            Memory::Shm => Some("shm".to_owned()),
            Memory::ShmHuge => Some("shmhuge".to_owned()),
            Memory::Mmap(file) => Some(named("mmap", file)),
            Memory::MmapHuge(file) => Some(named("mmaphuge", file)),
            Memory::MmapShared(file) => Some(named("mmapshared", file)),
        }
    }),
    Known::typed(
        "iomem_align",
        &["mem_align"],
        |d, v| set(&mut d.options.memory_align, v.count(0..=1 << 30)),
        |o| show_bytes(o.memory_align),
    ),
    Known::kept("hugepage-size"),
    Known::ignored("lockmem", "no memory is locked to make it scarce"),
    Known::typed(
        "zero_buffers",
        &[],
        |d, v| set(&mut d.options.zero_buffers, v.flag()),
        |o| show_flag(o.zero_buffers, false),
    ),
    Known::typed(
        "refill_buffers",
        &[],
        |d, v| set(&mut d.options.refill_buffers, v.flag()),
        |o| show_flag(o.refill_buffers, false),
    ),
    Known::typed(
        "scramble_buffers",
        &[],
        |d, v| set(&mut d.options.scramble_buffers, v.boolean()),
        |o| show_flag(o.scramble_buffers, true),
    ),
    Known::ignored("buffer_pattern", RANDOM),
    Known::ignored("buffer_compress_percentage", RANDOM),
    Known::ignored("buffer_compress_chunk", RANDOM),
    Known::ignored("dedupe_percentage", RANDOM),
    Known::ignored("dedupe_mode", RANDOM),
    Known::ignored("dedupe_working_set_percentage", RANDOM),
    Known::ignored("dedupe_global", RANDOM),
];

fn set_memory(draft: &mut Draft, value: Value<'_>) -> Result<(), Fault> {
    let text = value.text()?;
    let (word, file) = text
        .split_once(':')
        .map_or((text, None), |(word, file)| (word, Some(file.to_owned())));
    if file.as_deref() == Some("") {
        return Err(Fault::value(format!(
            "{word} names a file that has no name"
        )));
    }
    draft.options.memory = match (word, file) {
        ("malloc", None) => Memory::Malloc,
        ("shm", None) => Memory::Shm,
        ("shmhuge", None) => Memory::ShmHuge,
        ("mmap", file) => Memory::Mmap(file),
        ("mmaphuge", file) => Memory::MmapHuge(file),
        ("mmapshared", file) => Memory::MmapShared(file),
        ("cudamalloc", _) => {
            return Err(Fault::unsupported(
                "the memory of graphics cards is not offered here",
            ));
        }
        _ => {
            let words = "malloc, shm, shmhuge, mmap, mmaphuge, mmapshared; the last three may have a file: mmap:/path";
            return Err(Fault::value(format!("{text:?} is none of {words}")));
        }
    };
    Ok(())
}
