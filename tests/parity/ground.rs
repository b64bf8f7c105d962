//! The ground that cases are run on: the pairs of files or devices, and the engine.
//!
//! Files are made once for each shape and laid out anew only when a case has changed them.

use super::case::{Cache, Call, Case, Way};
use super::requests::{raw, safe};
use crate::common::device::Loop;
use crate::common::files::{self, SHAPES};
use crate::common::mapping::patterned;
use crate::common::sys::{self, PAGE};
use crate::common::zoo::{self, Kind, OTHER_SEED, SHORT_BYTES};
use nofault::{Backend, Engine, File, IoPath, OpenOptions};
use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of the file that `OtherFile` buffers map.
const OTHER_BYTES: usize = 4 << 20;

/// The size of a device: longer than one pass on devices, which is 1 MiB.
const DEVICE_BYTES: usize = 1280 << 10;
const DEVICE_SEED: u64 = 9;

/// Two devices that are alike, over images in the folder.
pub(crate) fn devices(folder: &Path, sector: u32) -> Result<[Loop; 2], String> {
    let device = |name: &str| Loop::new(&folder.join(name), DEVICE_BYTES, DEVICE_SEED, sector);
    Ok([device("device-a")?, device("device-b")?])
}

/// What differed, in words.
#[derive(Debug)]
pub(crate) struct Difference(String);

impl Difference {
    pub(crate) fn new(what: String) -> Self {
        Self(what)
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

/// One side's files beside the one that the request is about.
pub(crate) struct Side {
    pub(crate) other: [std::fs::File; 2],
    pub(crate) short: [std::fs::File; 2],
}

/// Two files of one shape, or two devices.
pub(crate) struct Pair {
    pub(crate) direct: File,
    pub(crate) ours: std::fs::File,
    pub(crate) theirs: std::fs::File,
    /// Bytes, before the case.
    pub(crate) size: u64,
    changed: bool,
}

pub(crate) struct Ground {
    engine: Engine,
    folder: PathBuf,
    devices: Option<[Loop; 2]>,
    /// What is on a device before a case.
    device_bytes: Vec<u8>,
    sides: [Side; 2],
    pairs: HashMap<usize, Pair>,
    outcomes: HashMap<&'static str, usize>,
}

impl Ground {
    pub(crate) fn new(backend: Backend, folder: &Path) -> Self {
        let two = |name: &str, bytes: usize, seed: u64| {
            [0, 1].map(|shared| {
                files::make_patterned(&folder.join(format!("{name}-{shared}")), bytes, seed)
            })
        };
        let side = |name: &str| Side {
            other: two(&format!("other-{name}"), OTHER_BYTES, OTHER_SEED),
            short: two(&format!("short-{name}"), SHORT_BYTES, 5),
        };
        Self {
            engine: crate::common::setup::engine(backend),
            folder: folder.to_path_buf(),
            devices: None,
            device_bytes: patterned(DEVICE_BYTES, DEVICE_SEED),
            sides: [side("a"), side("b")],
            pairs: HashMap::new(),
            outcomes: HashMap::new(),
        }
    }

    /// How the cases ended, to see that a run was not all errors.
    pub(crate) fn summary(&self) -> String {
        format!("{:?}", self.outcomes)
    }

    /// Cases on two devices instead of files: each case finds the same bytes on them.
    pub(crate) fn on_devices(self, devices: [Loop; 2]) -> Self {
        Self {
            devices: Some(devices),
            ..self
        }
    }

    fn new_pair(&self, shape: usize) -> Pair {
        let open = |path: &Path| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(&self.engine, path)
                .expect("open the direct file")
        };
        match &self.devices {
            Some([a, b]) => {
                let direct = open(a.path());
                assert_eq!(*direct.path(), IoPath::Direct);
                Pair {
                    direct,
                    ours: a.open(),
                    theirs: b.open(),
                    size: DEVICE_BYTES as u64,
                    changed: true,
                }
            }
            None => {
                let path = |side: &str| self.folder.join(format!("{shape}-{side}"));
                let (ours, theirs) = (files::make(&path("a")), files::make(&path("b")));
                Pair {
                    direct: open(&path("a")),
                    ours,
                    theirs,
                    size: SHAPES[shape].size(),
                    changed: true,
                }
            }
        }
    }

    pub(crate) fn run(&mut self, case: &Case) -> Result<(), Difference> {
        // Devices have one shape.
        let shape = if self.devices.is_some() {
            0
        } else {
            case.shape
        };
        if !self.pairs.contains_key(&shape) {
            let pair = self.new_pair(shape);
            self.pairs.insert(shape, pair);
        }
        let pair = self.pairs.get_mut(&shape).expect("made just now");
        if pair.changed {
            for file in [&pair.ours, &pair.theirs] {
                match self.devices {
                    Some(_) => file
                        .write_all_at(&self.device_bytes, 0)
                        .expect("lay out a device"),
                    None => SHAPES[shape].lay_out(file),
                }
            }
            pair.changed = false;
        }
        // Also when the comparison below fails: the next case must not inherit anything.
        pair.changed = case.way == Way::Write
            || case
                .pieces
                .iter()
                .any(|piece| matches!(piece.kind, Kind::SameRange { .. }));
        if matches!(case.cache, Cache::Dropped) {
            sys::drop_cache(pair.ours.as_raw_fd());
        }
        let result = match case.call {
            Call::Raw(_) | Call::RawVectored(_) => raw(case, &self.engine, pair, &self.sides),
            _ => safe(case, &self.engine, pair),
        };
        if case.way == Way::Read {
            self.refresh(case);
        }
        let ended = result?;
        *self.outcomes.entry(ended).or_default() += 1;
        Ok(())
    }

    /// A read may have filled the other files through a shared mapping.
    fn refresh(&self, case: &Case) {
        let shared = |kind| matches!(kind, Kind::OtherFile { shared: true });
        let longest = case
            .pieces
            .iter()
            .filter(|piece| shared(piece.kind))
            .map(|piece| piece.len)
            .max();
        let beyond = case
            .pieces
            .iter()
            .any(|piece| piece.kind == Kind::BeyondEnd { shared: true });
        for side in &self.sides {
            if let Some(len) = longest {
                zoo::refresh_other(&side.other[1], (len + 8 * PAGE).min(OTHER_BYTES));
            }
            if beyond {
                // From nothing, so that the rest of the last page is zero again.
                sys::ftruncate(side.short[1].as_raw_fd(), 0);
                side.short[1]
                    .write_all_at(&patterned(SHORT_BYTES, 5), 0)
                    .expect("the short file");
            }
        }
    }
}
