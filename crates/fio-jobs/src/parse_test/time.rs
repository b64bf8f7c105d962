//! Times and rates.

use super::*;

#[test]
fn times() {
    let options = options(
        "runtime=10m\ntime_based\nramp_time=500ms\nstartdelay=1s-2s\nthinktime=50\nthinktime_spin=20us\nthinktime_blocks=4",
    );
    assert_eq!(
        (options.runtime, options.time_based, options.ramp_time),
        (
            Some(Duration::from_secs(600)),
            true,
            Duration::from_millis(500)
        )
    );
    assert_eq!(
        options.start_delay,
        (Duration::from_secs(1), Duration::from_secs(2))
    );
    let micros = Duration::from_micros;
    assert_eq!(
        (
            options.thinktime,
            options.thinktime_spin,
            options.thinktime_blocks
        ),
        (micros(50), micros(20), 4)
    );
    assert_eq!(
        self::options("timeout=30").runtime,
        Some(Duration::from_secs(30))
    );
    assert_eq!(
        self::options("startdelay=5").start_delay,
        (Duration::from_secs(5), Duration::from_secs(5))
    );
    assert_eq!(self::options("runtime=0").runtime, None);
    refused("runtime=5sec", ErrorKind::Value, "microseconds");
    refused("runtime=1.5", ErrorKind::Value, "take it for 1");
}

#[test]
fn time_based_needs_a_runtime_as_in_fio() {
    let file = read("[a]\ntime_based=1");
    assert!(!file.groups[0].jobs[0].options.time_based);
    assert_eq!(
        file.warnings[0].to_string(),
        "test.fio:1:2: warning: time_based has no effect without a runtime"
    );
}

#[test]
fn the_documentations_rates() {
    let rate = |text: &str| options(text).rate;
    assert_eq!(
        rate("rate=1m,500k"),
        PerDirection {
            read: Some(1 << 20),
            write: Some(500 << 10)
        }
    );
    assert_eq!(
        rate("rate=,500k"),
        PerDirection {
            read: None,
            write: Some(500 << 10)
        }
    );
    assert_eq!(
        rate("rate=500k,"),
        PerDirection {
            read: Some(500 << 10),
            write: None
        }
    );
    assert_eq!(
        rate("rate=500k\nrate=,0"),
        PerDirection {
            read: Some(500 << 10),
            write: None
        }
    );
    assert_eq!(
        options("rate_iops=100,200").rate_iops,
        PerDirection {
            read: Some(100),
            write: Some(200)
        }
    );
    refused(
        "rate=1m\nrate_iops=100",
        ErrorKind::Conflict,
        "exclude each other",
    );
    refused("rate_process=poisson", ErrorKind::Unsupported, "linear");
    assert!(warnings("[a]\nrate_min=1k")[0].contains("rate_min: has no effect here"));
}
