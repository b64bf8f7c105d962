//! Lines of a bounded width. Pure text.

/// Greedy lines of at most `width` characters. A word that is longer has a line to itself. Of no
/// words one empty line.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            lines.push(String::new());
            used = 0;
        }
        let Some(line) = lines.last_mut() else { break };
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        line.push_str(word);
        used += length;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_is_lost_and_only_a_long_word_is_too_wide() {
        let text = "a bb ccc dddd µµµµµ a-word-that-is-too-long ff";
        let lines = wrap(text, 8);
        assert_eq!(lines.join(" "), text);
        assert!(
            lines
                .iter()
                .all(|l| l.chars().count() <= 8 || !l.contains(' ')),
            "{lines:?}"
        );
        assert_eq!(lines[0], "a bb ccc");
        assert_eq!(wrap("  ", 8), [""]);
    }
}
