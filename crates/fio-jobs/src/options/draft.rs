//! A job while it is being read, and the rules between its options.

use std::time::Duration;

use super::super::error::{ErrorKind, Fault};
use super::super::job::{BLOCK_BYTES, Options};
use super::super::kinds::{BlockSize, FioOnly, PerDirection, Sequencer, Size, SplitPart, Verify};
use super::super::number::KbBase;
use super::super::value::Value;
use super::Known;

/// What is known of a job, or of the defaults, so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    pub(crate) options: Options,
    /// The name, where it is not the section's.
    pub(crate) name: Option<String>,
    pub(crate) base: KbBase,
    /// `bs`, `bsrange` and `bssplit` as they were given: the first never undoes the others, as in
    /// fio.
    pub(super) bs: PerDirection<Option<u64>>,
    pub(super) ranges: PerDirection<Option<(u64, u64)>>,
    pub(super) splits: PerDirection<Option<Vec<SplitPart>>>,
    /// What has no effect, of the option that is being read.
    pub(crate) notes: Vec<String>,
}

impl Draft {
    /// Keeps an option that only fio heeds. Given again it replaces the earlier one.
    pub(super) fn keep(&mut self, known: &'static Known, value: Value<'_>) -> Result<(), Fault> {
        let value = value
            .text
            .map(|_| value.text())
            .transpose()?
            .map(str::to_owned);
        let option = FioOnly {
            name: known.name,
            value,
            engines: known.engines,
        };
        match self
            .options
            .fio_only
            .iter_mut()
            .find(|kept| kept.name == known.name)
        {
            Some(kept) => *kept = option,
            None => self.options.fio_only.push(option),
        }
        Ok(())
    }

    /// Applies the rules between options, as fio does when it has read a job. The notes are of the
    /// whole job.
    pub(crate) fn finish(&mut self) -> Result<Options, Fault> {
        self.options.block = PerDirection {
            read: self.block(false),
            write: self.block(true),
        };
        let options = &mut self.options;
        let notes = &mut self.notes;
        let conflict = |message: &str| {
            Err(Fault {
                kind: ErrorKind::Conflict,
                message: message.to_owned(),
            })
        };

        if !options.filenames.is_empty() {
            options.directories.clear();
            options.nrfiles = 1;
        }
        if options.time_based && options.runtime.is_none() {
            notes.push("time_based has no effect without a runtime".to_owned());
            options.time_based = false;
        }
        if options.modifier > 0
            && options.sequencer == Sequencer::Identical
            && !options.mode.is_random()
        {
            return conflict("rw_sequencer=identical is for random modes");
        }
        if options.rate != PerDirection::both(None) && options.rate_iops != PerDirection::both(None)
        {
            return conflict("rate and rate_iops exclude each other");
        }
        let least = options.min_block();
        if matches!(options.size, Some(Size::Bytes(size)) if size < least) {
            return conflict("the size is less than one block");
        }

        options.depth_low = options
            .depth_low
            .filter(|&low| low > 0 && low < options.depth);
        options.batch_submit = options.batch_submit.min(options.depth);
        options.batch_complete_max = options
            .batch_complete_max
            .filter(|&most| most > options.batch_complete_min);
        if options.depth > 1 && options.engine.is_synchronous() {
            notes.push(format!(
                "to fio, iodepth={} has no effect with ioengine={}, which has one request in flight",
                options.depth, options.engine
            ));
        }

        for write in [false, true] {
            let least = options.block.get(write).min();
            let align = if write {
                &mut options.block_align.write
            } else {
                &mut options.block_align.read
            };
            *align = align.filter(|&align| align != least && options.mode.is_random());
        }
        if options.block_align != PerDirection::both(None) && !options.norandommap {
            notes.push(
                "blockalign turns the random map off: blocks may come again before all have come"
                    .to_owned(),
            );
        }

        options.thinktime_spin = options.thinktime_spin.min(options.thinktime);
        if options.start_delay.0 > options.start_delay.1 {
            options.start_delay = (options.start_delay.1, options.start_delay.0);
        }
        if options.verify == Some(Verify::Pattern) && options.verify_pattern.is_empty() {
            return conflict("verify=pattern needs a verify_pattern");
        }
        debug_assert!(
            options.time_based
                <= options
                    .runtime
                    .is_some_and(|runtime| runtime > Duration::ZERO)
        );
        Ok(options.clone())
    }

    fn block(&self, write: bool) -> BlockSize {
        if let Some(parts) = self.splits.get(write) {
            return match parts[..] {
                [part] => BlockSize::Fixed(part.bytes),
                _ => BlockSize::Split(parts.clone()),
            };
        }
        match *self.ranges.get(write) {
            Some((min, max)) if min == max => BlockSize::Fixed(min),
            Some((min, max)) => BlockSize::Range { min, max },
            None => BlockSize::Fixed(self.bs.get(write).unwrap_or(BLOCK_BYTES)),
        }
    }
}
