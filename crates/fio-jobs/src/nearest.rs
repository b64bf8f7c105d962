//! The name that somebody may have meant.

/// The nearest of `names` to `wrong`, by how many letters must be put in, taken out, changed or
/// swapped with their neighbour. None if that would change more than a third of the word, rounded
/// up.
pub(super) fn nearest<'n>(wrong: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let wrong = wrong.to_ascii_lowercase().replace('-', "_");
    // Nobody's typing error is longer than the longest option, and the work is the product of both
    // lengths.
    if wrong.len() > 64 {
        return None;
    }
    let (distance, name) = names
        .map(|name| (distance(wrong.as_bytes(), name.as_bytes()), name))
        .min_by_key(|&(distance, _)| distance)?;
    (distance <= wrong.len().div_ceil(3)).then_some(name)
}

fn distance(a: &[u8], b: &[u8]) -> usize {
    // Three rows of the usual table: the one being filled, and two above it for swapped neighbours.
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut row = above.clone();
    for i in 1..=a.len() {
        row[0] = i;
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (above[j] + 1).min(row[j - 1] + 1).min(above[j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        std::mem::swap(&mut before, &mut above);
        std::mem::swap(&mut above, &mut row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_letters_put_in_taken_out_changed_and_swapped() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("size", "szie", 1),
            ("ab", "ba", 1),
        ] {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
            assert_eq!(distance(b.as_bytes(), a.as_bytes()), expected, "{b} {a}");
        }
    }

    #[test]
    fn a_slip_finds_its_word_and_nonsense_finds_nothing() {
        let names = || ["iodepth", "iodepth_low", "size", "filesize", "rw"].into_iter();
        assert_eq!(nearest("iodpeth", names()), Some("iodepth"));
        assert_eq!(nearest("IODepth", names()), Some("iodepth"));
        assert_eq!(nearest("iodepth-low", names()), Some("iodepth_low"));
        assert_eq!(nearest("sizes", names()), Some("size"));
        assert_eq!(nearest("rx", names()), Some("rw"));
        assert_eq!(nearest("completely_else", names()), None);
        assert_eq!(nearest(&"x".repeat(5000), names()), None);
    }
}
