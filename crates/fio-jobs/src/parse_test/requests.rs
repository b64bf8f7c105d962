//! Directions, block sizes, durability.

use super::*;

#[test]
fn modes() {
    for (text, mode, reads, writes, random) in [
        ("read", Mode::Read, true, false, false),
        ("write", Mode::Write, false, true, false),
        ("randread", Mode::RandRead, true, false, true),
        ("randwrite", Mode::RandWrite, false, true, true),
        ("rw", Mode::ReadWrite, true, true, false),
        ("readwrite", Mode::ReadWrite, true, true, false),
        ("randrw", Mode::RandReadWrite, true, true, true),
    ] {
        assert_eq!(options(&format!("rw={text}")).mode, mode);
        assert_eq!(options(&format!("readwrite={text}")).mode, mode);
        assert_eq!(
            (mode.reads(), mode.writes(), mode.is_random()),
            (reads, writes, random)
        );
    }
    for trim in ["trim", "randtrim", "trimwrite", "randtrimwrite"] {
        refused(
            &format!("rw={trim}"),
            ErrorKind::Unsupported,
            "trims are not offered",
        );
    }
    assert_eq!(
        message("rw=rand"),
        "test.fio:2:4: rw: \"rand\" is none of read, write, randread, randwrite, rw, readwrite, randrw, trim, randtrim, trimwrite, randtrimwrite"
    );
    refused("rw= read", ErrorKind::Value, "blank behind the =");
}

#[test]
fn modes_with_a_number() {
    let options = options("rw=randread:8\nrw_sequencer=identical");
    assert_eq!(
        (options.mode, options.modifier, options.sequencer),
        (Mode::RandRead, 8, Sequencer::Identical)
    );
    assert_eq!(self::options("rw=write:4k").modifier, 4096);
    refused("rw=read:-4k", ErrorKind::Unsupported, "backwards");
    refused(
        "rw=read:2\nrw_sequencer=identical",
        ErrorKind::Conflict,
        "random modes",
    );
    refused("rw=read:x", ErrorKind::Value, "no number");
}

#[test]
fn mixes() {
    assert_eq!(options("rw=randrw\nrwmixread=70").read_percent, 70);
    assert_eq!(options("rw=randrw\nrwmixwrite=30").read_percent, 70);
    // The later one holds, as the documentation says.
    assert_eq!(
        options("rw=randrw\nrwmixread=70\nrwmixwrite=40").read_percent,
        60
    );
    refused("rwmixread=101", ErrorKind::Value, "at most 100");
}

#[test]
fn the_documentations_block_sizes() {
    const K: u64 = 1024;
    for (text, read, write) in [
        ("256k", 256, 256),
        ("8k,32k", 8, 32),
        ("8k,32k,", 8, 32),
        (",8k", 4, 8),
        (",8k,", 4, 8),
        ("8k,", 8, 4),
        ("1k,2k,3k", 1, 2),
    ] {
        let options = options(&format!("bs={text}"));
        assert_eq!(
            (options.block.read, options.block.write),
            (BlockSize::Fixed(read * K), BlockSize::Fixed(write * K)),
            "{text}"
        );
        assert_eq!(
            self::options(&format!("blocksize={text}")).block.read.max(),
            read * K
        );
    }
    refused("bs=0", ErrorKind::Value, "at least 1");
    refused("bs=2g", ErrorKind::Value, "at most");
    refused("bs=4k,4k,4k,4k", ErrorKind::Value, "three");
    refused("bs=20%", ErrorKind::Value, "percentage");
}

#[test]
fn the_documentations_block_size_ranges() {
    let options = options("bsrange=1k-4k,2k-8k\nbs_unaligned");
    assert_eq!(
        options.block,
        PerDirection {
            read: BlockSize::Range {
                min: 1024,
                max: 4096
            },
            write: BlockSize::Range {
                min: 2048,
                max: 8192
            }
        }
    );
    assert!(options.block_unaligned);
    assert_eq!(
        self::options("blocksize_range=1k:4k").block.write,
        BlockSize::Range {
            min: 1024,
            max: 4096
        }
    );
    assert_eq!(self::options("bsrange=4k-1k").block.read.min(), 1024);
    assert_eq!(
        self::options("bsrange=,1k-2k").block.read,
        BlockSize::Fixed(4096)
    );
    assert_eq!(
        self::options("bsrange=4k-4k").block.read,
        BlockSize::Fixed(4096)
    );
    refused("bsrange=4k", ErrorKind::Value, "no range");
    refused("bsrange=1k-4k/8k-32k", ErrorKind::Value, "fio ignores");
    refused("bsrange=0-4k", ErrorKind::Value, "from 1");
}

fn split(parts: &[(u64, u8)]) -> BlockSize {
    BlockSize::Split(
        parts
            .iter()
            .map(|&(kib, percent)| SplitPart {
                bytes: kib << 10,
                percent,
            })
            .collect(),
    )
}

#[test]
fn the_documentations_block_size_splits() {
    assert_eq!(
        options("bssplit=4k/10:64k/50:32k/40").block.read,
        split(&[(4, 10), (64, 50), (32, 40)])
    );
    assert_eq!(
        options("bssplit=4k/50:1k/:32k/").block.write,
        split(&[(4, 50), (1, 25), (32, 25)])
    );
    let both = options("bssplit=2k/50:4k/50,4k/90:8k/10").block;
    assert_eq!(
        (both.read, both.write),
        (split(&[(2, 50), (4, 50)]), split(&[(4, 90), (8, 10)]))
    );
    // What is missing goes to the last one; nothing of 0 % is left; one size alone is no split.
    assert_eq!(
        options("bssplit=4k/50:8k/40").block.read,
        split(&[(4, 50), (8, 50)])
    );
    assert_eq!(
        options("bssplit=4k/:8k/:16k/").block.read,
        split(&[(4, 33), (8, 33), (16, 34)])
    );
    assert_eq!(
        options("bssplit=4k/100:8k/").block.read,
        BlockSize::Fixed(4096)
    );
    assert_eq!(options("bssplit=16k").block.read, BlockSize::Fixed(16384));
    refused("bssplit=4k/60:8k/50", ErrorKind::Value, "add up to 110");
    refused("bssplit=4k/50:,8k/", ErrorKind::Value, "empty");
    refused(
        "bssplit=4k/50:8k/50,",
        ErrorKind::Value,
        "one list for both",
    );
    refused(
        &format!("bssplit={}", ["4k/1"; 65].join(":")),
        ErrorKind::Value,
        "more than 64",
    );
}

/// As fio 3.33 prints the sizes of the same jobs when it starts them.
#[test]
fn block_sizes_given_in_several_ways_are_what_fio_makes_of_them() {
    assert_eq!(
        options("bsrange=1k-4k\nbs=8k").block.read,
        BlockSize::Range {
            min: 1024,
            max: 4096
        }
    );
    assert_eq!(
        options("bsrange=1k-2k\nbssplit=4k/50:8k/").block.read,
        split(&[(4, 50), (8, 50)])
    );
    assert_eq!(
        options("bssplit=4k/100\nblocksize=2k").block.read,
        BlockSize::Fixed(4096)
    );
    assert!(
        warnings("[global]\nbsrange=1k-4k\n[a]\nbs=8k")[0]
            .ends_with("bs: has no effect: the job has a bsrange, which fio prefers")
    );
    refused(
        "bssplit=4k/50:8k/\nbsrange=1k-2k",
        ErrorKind::Conflict,
        "mix both up",
    );
}

#[test]
fn alignment_of_random_blocks() {
    let options = options("rw=randread\nbs=8k\nba=2k,4k");
    assert_eq!(
        (
            options.block_align.read,
            options.block_align.write,
            options.covers()
        ),
        (Some(2048), Some(4096), false)
    );
    assert!(warnings("[a]\nrw=randread\nblockalign=512")[0].contains("random map"));
    // The block's own size is no alignment of its own, and without random offsets there is none.
    assert_eq!(self::options("rw=randread\nba=4k").block_align.read, None);
    assert_eq!(self::options("rw=read\nba=2k").block_align.read, None);
}

#[test]
fn direct_and_buffered_are_each_others_opposite() {
    assert!(options("direct=1").direct && options("buffered=0").direct);
    assert!(!options("direct=1\nbuffered=1").direct && options("buffered=1\ndirect=1").direct);
    for text in ["direct", "direct=2", "direct=yes", "direct="] {
        assert!(parse(&format!("[j]\n{text}")).is_err(), "{text}");
    }
}

#[test]
fn sync_and_fsync() {
    for (text, expected) in [
        ("none", SyncMode::None),
        ("0", SyncMode::None),
        ("sync", SyncMode::Sync),
        ("1", SyncMode::Sync),
        ("dsync", SyncMode::Dsync),
    ] {
        assert_eq!(options(&format!("sync={text}")).sync, expected);
    }
    let options = options("fsync=32\nfdatasync=1\nend_fsync=1\nfsync_on_close=1");
    assert_eq!(
        (
            options.fsync,
            options.fdatasync,
            options.end_fsync,
            options.fsync_on_close
        ),
        (32, 1, true, true)
    );
    refused(
        "sync_file_range=write:8",
        ErrorKind::Unsupported,
        "fdatasync",
    );
    refused("write_barrier=8", ErrorKind::Unsupported, "fdatasync");
}
