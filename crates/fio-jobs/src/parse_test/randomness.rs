//! Random offsets, seeds, verification.

use super::*;

#[test]
fn the_documentations_distributions() {
    for (text, expected) in [
        ("random", Distribution::Random),
        (
            "zipf:1.2",
            Distribution::Zipf {
                theta: 1.2,
                center: None,
            },
        ),
        (
            "zipf:1.2:0.25",
            Distribution::Zipf {
                theta: 1.2,
                center: Some(0.25),
            },
        ),
        (
            "zipf",
            Distribution::Zipf {
                theta: 1.1,
                center: None,
            },
        ),
        (
            "pareto:0.2",
            Distribution::Pareto {
                power: 0.2,
                center: None,
            },
        ),
        (
            "pareto",
            Distribution::Pareto {
                power: 0.2,
                center: None,
            },
        ),
        (
            "normal:20",
            Distribution::Normal {
                deviation: 20.0,
                center: None,
            },
        ),
        (
            "normal:20:0.1",
            Distribution::Normal {
                deviation: 20.0,
                center: Some(0.1),
            },
        ),
    ] {
        let options = options(&format!("rw=randread\nrandom_distribution={text}"));
        assert_eq!(options.distribution, expected);
        assert_eq!(options.covers(), text == "random");
    }
    for text in [
        "zipf:1",
        "zipf:-1",
        "zipf:nan",
        "pareto:1.2",
        "pareto:0",
        "normal:100",
        "zipf:1.2:2",
        "zipf:1.2:0:0",
        "other",
        "random:1",
    ] {
        assert!(
            parse(&format!("[j]\nrandom_distribution={text}")).is_err(),
            "{text}"
        );
    }
    refused(
        "random_distribution=zoned:60/10:30/20:8/30:2/40",
        ErrorKind::Unsupported,
        "zipf",
    );
    refused(
        "random_distribution=zoned_abs:60/20G:30/100G:10/500g",
        ErrorKind::Unsupported,
        "zipf",
    );
}

#[test]
fn what_makes_random_numbers_repeatable() {
    let options = options("rw=randread\nnorandommap\nrandrepeat=0\nallrandrepeat=1\nrandseed=0x10");
    assert!(
        options.norandommap && !options.randrepeat && options.allrandrepeat && !options.covers()
    );
    assert_eq!(options.randseed, Some(16));
    assert!(self::options("rw=randread\nnorandommap=0").covers());
    assert!(self::options("random_generator=lfsr").fio_only[0].name == "random_generator");
    refused(
        "percentage_random=50",
        ErrorKind::Unsupported,
        "random altogether",
    );
}

#[test]
fn verification() {
    for (text, expected) in [
        ("crc32c", Some(Verify::Crc32c)),
        ("crc32c-intel", Some(Verify::Crc32c)),
        ("crc32", Some(Verify::Crc32)),
        ("0", None),
    ] {
        assert_eq!(options(&format!("verify={text}")).verify, expected);
    }
    let options = options(
        "rw=write\nverify=pattern\nverify_pattern=0xff%o\"abcd\"-12\ndo_verify=0\nverify_fatal=1",
    );
    assert_eq!(options.verify, Some(Verify::Pattern));
    assert!(!options.do_verify && options.verify_fatal);
    assert_eq!(
        options.verify_pattern[..2],
        [PatternPart::Bytes(vec![0xff]), PatternPart::Offset]
    );
    for other in ["md5", "sha512", "xxhash", "crc16", "meta", "null"] {
        refused(
            &format!("verify={other}"),
            ErrorKind::Unsupported,
            "take crc32c, crc32 or pattern",
        );
    }
    refused("verify=crc33", ErrorKind::Value, "none of");
    refused(
        "verify=pattern",
        ErrorKind::Conflict,
        "needs a verify_pattern",
    );
    refused("verify_interval=512", ErrorKind::Unsupported, "one header");
    refused(
        "verify_backlog=1024",
        ErrorKind::Unsupported,
        "once it was written",
    );
    for mode in ["randwrite", "randrw"] {
        assert!(
            warnings(&format!(
                "[a]\nrw={mode}\nverify=crc32c\ntime_based\nruntime=5"
            ))[0]
                .contains("nothing will be verified")
        );
    }
    // What is read is verified as it comes.
    assert_eq!(
        warnings("[a]\nrw=randread\nverify=crc32c\ntime_based\nruntime=5"),
        [""; 0]
    );
}
