//! Bytes that say where they belong, and random numbers from a seed.

/// splitmix64 by Sebastiano Vigna: each number from the one before.
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Numbers that depend on a seed only.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(mix(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// The bytes of a pattern from `offset` on. No byte is zero, so that a hole is never mistaken for
/// it.
pub(crate) fn bytes(seed: u64, offset: usize, len: usize) -> Vec<u8> {
    let first = offset / 8;
    let mut bytes = vec![0; len.next_multiple_of(8) + 8];
    for (n, place) in bytes.chunks_exact_mut(8).enumerate() {
        let word = mix(seed.rotate_left(32) ^ (first + n) as u64) | 0x0101_0101_0101_0101;
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes.drain(..offset % 8);
    bytes.truncate(len);
    bytes
}

/// Where bytes differ from what they should be: none, or words for it.
pub(crate) fn difference(seen: &[u8], wanted: &[u8], base: usize) -> Option<String> {
    if seen == wanted {
        return None;
    }
    if seen.len() != wanted.len() {
        return Some(format!("{} bytes instead of {}", seen.len(), wanted.len()));
    }
    let differ = |&(a, b): &(&u8, &u8)| a != b;
    let first = seen.iter().zip(wanted).position(|pair| differ(&pair))?;
    let count = seen.iter().zip(wanted).filter(differ).count();
    let zeros = if seen[first..].iter().take(16).all(|&byte| byte == 0) {
        ", zeros there"
    } else {
        ""
    };
    Some(format!(
        "{count} of {} bytes differ, the first at {:#x}{zeros}",
        wanted.len(),
        base + first
    ))
}

/// Where bytes differ from the pattern of the seed at `offset`.
pub(crate) fn mismatch(seen: &[u8], seed: u64, offset: usize) -> Option<String> {
    difference(seen, &bytes(seed, offset, seen.len()), offset)
}
