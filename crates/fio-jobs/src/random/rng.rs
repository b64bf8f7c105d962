//! A small generator of random numbers: Steele, Lea and Flood's SplitMix64. It must never change,
//! so that seeds keep their meaning.

/// A generator of random numbers. Not for secrets.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

/// What random numbers are used for. Each use has numbers of its own, so that for example other
/// sizes do not lead to other offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Stream {
    Offsets = 1,
    /// Which block of the region is the likeliest one, and so on.
    Scatter,
    Directions,
    ReadSizes,
    WriteSizes,
    FileSizes,
    StartDelay,
    /// What buffers are filled with.
    Contents,
}

/// Scrambles a number; no two numbers become the same.
pub(super) fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl Rng {
    /// The numbers of one use under this seed.
    pub fn new(seed: u64, stream: Stream) -> Rng {
        Rng {
            state: mix(seed ^ mix(stream as u64)),
        }
    }

    /// Any number of 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number below `bound`, all as likely but for 1 in 2^64 / `bound`; 0 if the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from 0 to less than 1.
    pub fn fraction(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_splitmix64() {
        // The reference's own first numbers for the seed 1234567.
        let mut rng = Rng { state: 1_234_567 };
        let numbers = [rng.next_u64(), rng.next_u64(), rng.next_u64()];
        assert_eq!(
            numbers,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn bounds_are_kept_and_streams_differ() {
        let mut rng = Rng::new(1, Stream::Offsets);
        let mut seen = [0; 7];
        for _ in 0..7000 {
            seen[rng.below(7) as usize] += 1;
            assert!((0.0..1.0).contains(&rng.fraction()));
        }
        assert!(
            seen.iter().all(|&count| (800..1200).contains(&count)),
            "{seen:?}"
        );
        assert_eq!(rng.below(0), 0);
        let first = |seed, stream| Rng::new(seed, stream).next_u64();
        assert_ne!(first(1, Stream::Offsets), first(1, Stream::Directions));
        assert_ne!(first(1, Stream::Offsets), first(2, Stream::Offsets));
    }
}
