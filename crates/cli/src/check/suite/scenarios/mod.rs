//! The scenarios, one file each, and the list of them.
//!
//! To add one: a file with its story on top and a `pub(super) const SCENARIO`, and a line each
//! below. It may use the context, the I/O that it is given, std and libc, and nothing of the
//! engine.

mod append_allocate;
mod append_read;
mod append_unfaulted;
mod appends_at_once;
mod buffer_changed;
mod cold_buffer_extents;
mod direct_toggled;
mod extend_stat;
mod file_size_limit;
mod filled_hole;
mod fork_in_flight;
mod fuse_mapping;
mod half_bad_buffers;
mod holes;
mod huge_pages;
mod interleaved_writers;
mod invalidation;
mod last_block;
mod last_reference;
mod mixed_processes;
mod no_space;
mod own_fault_handler;
mod page_onto_itself;
mod read_ahead;
mod reclaimed_buffers;
mod same_file_mapping;
mod selftest;
mod slow_fault_handler;
mod sub_block_end;
mod swapped_out;
mod touched_page_write;
mod write_verify;

use super::Scenario;

/// All, in the order of the table.
pub(crate) static ALL: &[Scenario] = &[
    half_bad_buffers::SCENARIO,
    same_file_mapping::SCENARIO,
    cold_buffer_extents::SCENARIO,
    touched_page_write::SCENARIO,
    page_onto_itself::SCENARIO,
    invalidation::SCENARIO,
    last_block::SCENARIO,
    append_unfaulted::SCENARIO,
    appends_at_once::SCENARIO,
    append_allocate::SCENARIO,
    append_read::SCENARIO,
    extend_stat::SCENARIO,
    sub_block_end::SCENARIO,
    holes::SCENARIO,
    filled_hole::SCENARIO,
    interleaved_writers::SCENARIO,
    write_verify::SCENARIO,
    mixed_processes::SCENARIO,
    read_ahead::SCENARIO,
    direct_toggled::SCENARIO,
    last_reference::SCENARIO,
    huge_pages::SCENARIO,
    buffer_changed::SCENARIO,
    slow_fault_handler::SCENARIO,
    own_fault_handler::SCENARIO,
    fuse_mapping::SCENARIO,
    swapped_out::SCENARIO,
    fork_in_flight::SCENARIO,
    reclaimed_buffers::SCENARIO,
    no_space::SCENARIO,
    file_size_limit::SCENARIO,
];

/// By name; those that test the watchdog are found but not listed.
pub(crate) fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter()
        .chain(selftest::ALL)
        .find(|scenario| scenario.name == name)
}
