//! Engines, depth, memory.

use super::*;

#[test]
fn engines_and_depth() {
    for (text, engine) in [
        ("io_uring", IoEngine::IoUring),
        ("libaio", IoEngine::Libaio),
        ("posixaio", IoEngine::Posixaio),
        ("psync", IoEngine::Psync),
        ("sync", IoEngine::Sync),
        ("vsync", IoEngine::Vsync),
        ("pvsync", IoEngine::Pvsync),
        ("pvsync2", IoEngine::Pvsync2),
    ] {
        assert_eq!(options(&format!("ioengine={text}")).engine, engine);
    }
    let options = options(
        "ioengine=io_uring\niodepth=32\niodepth_batch=8\niodepth_batch_complete=4\niodepth_batch_complete_max=16\niodepth_low=16",
    );
    assert_eq!(
        (
            options.depth,
            options.batch_submit,
            options.batch_complete_min
        ),
        (32, 8, 4)
    );
    assert_eq!(
        (options.batch_complete_max, options.depth_low),
        (Some(16), Some(16))
    );
    let clamped = self::options(
        "ioengine=io_uring\niodepth=2\niodepth_batch_submit=8\niodepth_low=5\niodepth_batch_complete_min=4\niodepth_batch_complete_max=3",
    );
    assert_eq!(
        (
            clamped.batch_submit,
            clamped.depth_low,
            clamped.batch_complete_max
        ),
        (2, None, None)
    );
    assert!(warnings("[a]\niodepth=2")[0].contains("iodepth=2 has no effect with ioengine=psync"));
    refused("ioengine=null", ErrorKind::Unsupported, "io_uring, libaio");
    refused("iodepth=0", ErrorKind::Value, "at least 1");
    refused("iodepth=65537", ErrorKind::Value, "at most");
    refused("io_submit_mode=offload", ErrorKind::Unsupported, "inline");
}

#[test]
fn options_of_engines_belong_to_their_engines() {
    let options = options("ioengine=io_uring\nfixedbufs\nregisterfiles=1\nnonvectored=1");
    assert!(options.fixed_buffers && options.registered_files);
    assert_eq!(
        options
            .fio_only
            .iter()
            .map(|option| option.name)
            .collect::<Vec<_>>(),
        ["nonvectored"]
    );
    // The order of the lines does not count.
    assert!(self::options("fixedbufs\nioengine=io_uring").fixed_buffers);
    for name in [
        "hipri",
        "sqthread_poll",
        "force_async=1",
        "cmdprio_percentage=10",
    ] {
        let warnings = warnings(&format!("[a]\nioengine=io_uring\n{name}"));
        assert!(warnings[0].contains("has no effect here"), "{warnings:?}");
    }
    refused(
        "fixedbufs",
        ErrorKind::Conflict,
        "psync, has no such option",
    );
    refused(
        "ioengine=libaio\nhipri",
        ErrorKind::Conflict,
        "libaio, has no such option",
    );
    // Inherited, and then another engine: they are lost, as in fio.
    let file =
        read("[global]\nioengine=io_uring\nfixedbufs\nnonvectored=1\n[a]\nioengine=libaio\n[b]");
    let kept: Vec<(bool, usize)> = file
        .jobs()
        .map(|job| (job.options.fixed_buffers, job.options.fio_only.len()))
        .collect();
    assert_eq!(kept, [(false, 0), (true, 1)]);
}

#[test]
fn a_job_can_be_printed_for_another_engine() {
    let mut file =
        read("[a]\nioengine=io_uring\niodepth=8\nfixedbufs\nhipri\nnonvectored=1\nfallocate=none");
    file.groups[0].jobs[0].options.set_engine(IoEngine::Libaio);
    assert_eq!(
        file.to_string(),
        "[a]\nioengine=libaio\niodepth=8\nfallocate=none\n"
    );
    file.groups[0].jobs[0].options.set_engine(IoEngine::Psync);
    assert_eq!(parse(&file.to_string()), Ok(file));
}

#[test]
fn memory() {
    let file = |name: &str| Some(name.to_owned());
    for (text, expected) in [
        ("malloc", Memory::Malloc),
        ("shm", Memory::Shm),
        ("shmhuge", Memory::ShmHuge),
        ("mmap", Memory::Mmap(None)),
        ("mmap:/tmp/a:b", Memory::Mmap(file("/tmp/a:b"))),
        ("mmaphuge", Memory::MmapHuge(None)),
        ("mmaphuge:/huge/file", Memory::MmapHuge(file("/huge/file"))),
        ("mmapshared", Memory::MmapShared(None)),
    ] {
        assert_eq!(options(&format!("iomem={text}")).memory, expected);
        assert_eq!(options(&format!("mem={text}")).memory, expected);
    }
    assert_eq!(options("iomem_align=64k").memory_align, 65536);
    assert_eq!(options("mem_align=512").memory_align, 512);
    let buffers = options("zero_buffers\nrefill_buffers\nscramble_buffers=0");
    assert!(buffers.zero_buffers && buffers.refill_buffers && !buffers.scramble_buffers);
    refused("mem=cudamalloc", ErrorKind::Unsupported, "graphics");
    refused("mem=malloc:x", ErrorKind::Value, "none of");
    refused("mem=mmap:", ErrorKind::Value, "no name");
    assert!(
        warnings("[a]\nbuffer_compress_percentage=50")[0].contains("what is written is random")
    );
}
