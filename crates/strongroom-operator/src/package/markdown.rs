//! Text from elsewhere within Markdown: always as code, on one line, of bounded length.

/// As inline code that nothing inside can end.
pub(super) fn code(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|letter| match letter {
            '`' => '\'',
            letter if letter.is_control() => ' ',
            letter => letter,
        })
        .take(300)
        .collect();
    format!("`{}`", if text.trim().is_empty() { "-" } else { text.trim() })
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn nothing_ends_the_code_or_the_line() {
        assert_eq!(code("a`b\n# c"), "`a'b # c`");
        assert_eq!(code(" \n"), "`-`");
        assert_eq!(code(&"x".repeat(1000)).len(), 302);
    }
}
