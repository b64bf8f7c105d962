//! A map of blocks, each free or taken, that finds the next free one without a look at each.

/// A bit for each block, and a bit for each 64 bits that are all set, and so on.
#[derive(Clone, Debug)]
pub(super) struct BlockMap {
    /// The blocks' own bits first, and the single word that stands for all of them last.
    levels: Vec<Vec<u64>>,
    bound: u64,
}

impl BlockMap {
    /// A map of so many blocks, all of them free.
    pub(super) fn new(bound: u64) -> BlockMap {
        let (mut levels, mut bits) = (Vec::new(), bound);
        loop {
            let words = bits.div_ceil(64).max(1);
            levels.push(vec![0; words as usize]);
            if words == 1 {
                break;
            }
            bits = words;
        }
        let mut map = BlockMap { levels, bound };
        map.clear();
        map
    }

    /// How many blocks there are.
    pub(super) fn bound(&self) -> u64 {
        self.bound
    }

    /// Makes all blocks free.
    pub(super) fn clear(&mut self) {
        let mut bits = self.bound;
        for level in &mut self.levels {
            level.fill(0);
            // The bits behind the last one are never free.
            let (word, used) = ((bits / 64) as usize, bits % 64);
            if let Some(last) = level.get_mut(word) {
                *last = !0 << used;
            }
            bits = bits.div_ceil(64).max(1);
        }
    }

    pub(super) fn is_taken(&self, block: u64) -> bool {
        self.levels[0]
            .get((block / 64) as usize)
            .is_none_or(|word| word & 1 << (block % 64) != 0)
    }

    /// Takes blocks from `first` on up to the first that is taken, `most` at most. How many there
    /// were.
    pub(super) fn take(&mut self, first: u64, most: u64) -> u64 {
        let mut taken = 0;
        while taken < most && !self.is_taken(first + taken) {
            let mut at = first + taken;
            for level in &mut self.levels {
                let word = &mut level[(at / 64) as usize];
                *word |= 1 << (at % 64);
                if *word != !0 {
                    break;
                }
                at /= 64;
            }
            taken += 1;
        }
        taken
    }

    /// The first free block from `from` on, or else the first one of all; None if all are taken.
    pub(super) fn next_free(&self, from: u64) -> Option<u64> {
        self.free_from(from).or_else(|| self.free_from(0))
    }

    fn free_from(&self, from: u64) -> Option<u64> {
        let (mut level, mut at) = (0, from);
        // Up, until a word has a free bit at or behind the place where the search is.
        loop {
            let word = *self.levels.get(level)?.get((at / 64) as usize)?;
            let free = !word & (!0 << (at % 64));
            if free != 0 {
                at = at / 64 * 64 + u64::from(free.trailing_zeros());
                break;
            }
            at = at / 64 + 1;
            level += 1;
        }
        // Down, to the first free bit of what is not full.
        while level > 0 {
            level -= 1;
            let free = !self.levels[level][at as usize];
            at = at * 64 + u64::from(free.trailing_zeros());
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_finds_what_a_look_at_each_block_finds() {
        for bound in [0, 1, 63, 64, 65, 4095, 4096, 4097, 10_000] {
            let mut map = BlockMap::new(bound);
            let mut taken = vec![false; bound as usize];
            let mut rng = super::super::Rng::new(bound, super::super::Stream::Offsets);
            for _ in 0..2 {
                loop {
                    let from = rng.below(bound);
                    let free = |from: u64| (from..bound).find(|&at| !taken[at as usize]);
                    let expected = free(from).or_else(|| free(0));
                    assert_eq!(map.next_free(from), expected, "{bound} from {from}");
                    let Some(first) = expected else { break };
                    let most = 1 + rng.below(100);
                    let run = taken[first as usize..]
                        .iter()
                        .take(most as usize)
                        .take_while(|&&taken| !taken)
                        .count();
                    assert_eq!(map.take(first, most), run as u64);
                    taken[first as usize..][..run].fill(true);
                    assert!(map.is_taken(first));
                }
                map.clear();
                taken.fill(false);
            }
        }
    }
}
