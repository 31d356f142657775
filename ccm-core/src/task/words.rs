//! What somebody looks for among tasks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The most characters that a search may have.
pub const MAX_SEARCH_CHARS: usize = 200;

/// Words to be found in titles and texts, each on its own, wherever they stand.
///
/// A word is found as it is written, also inside of a longer one, in letters of either case. What a letter's other case is
/// follows Unicode where that is one letter, so `É` finds `é`, and `ß` only itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Words(Vec<String>);

impl Words {
    /// Takes a text apart at its white space.
    ///
    /// # Errors
    /// `Invalid` when there is no word, more than [`MAX_SEARCH_CHARS`] characters, or a NUL.
    pub fn new(text: &str) -> Result<Self> {
        let chars = text.chars().count();
        if chars > MAX_SEARCH_CHARS {
            return Err(Error::invalid(format!(
                "the search has {chars} characters, and at most {MAX_SEARCH_CHARS} are allowed"
            )));
        }
        if text.contains('\0') {
            return Err(Error::invalid("the search has a NUL character"));
        }
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() {
            return Err(Error::invalid("the search has no word"));
        }
        Ok(Self(words))
    }

    /// The words, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether each of them is in one of `texts`.
    pub fn are_in(&self, texts: &[&str]) -> bool {
        let is_in = |word: &str| texts.iter().any(|text| finds(word, text));
        self.iter().all(is_in)
    }
}

/// A letter and what it is in the other case.
pub fn cases(letter: char) -> impl Iterator<Item = char> {
    let lower = only(letter.to_lowercase()).filter(|lower| *lower != letter);
    let upper = only(letter.to_uppercase()).filter(|upper| *upper != letter);
    [Some(letter), lower, upper].into_iter().flatten()
}

fn only(mut letters: impl Iterator<Item = char>) -> Option<char> {
    let first = letters.next();
    first.filter(|_| letters.next().is_none())
}

fn finds(word: &str, text: &str) -> bool {
    let begins = |rest: &str| {
        let mut rest = rest.chars();
        let mut same = |letter| rest.next().is_some_and(|c| cases(letter).any(|o| o == c));
        word.chars().all(&mut same)
    };
    text.char_indices().any(|(at, _)| begins(&text[at..]))
}

impl FromStr for Words {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl TryFrom<String> for Words {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::new(&text)
    }
}

impl From<Words> for String {
    fn from(words: Words) -> Self {
        words.to_string()
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_found_as_it_is_written() {
        let found = |words: &str, texts: &[&str]| Words::new(words).unwrap().are_in(texts);
        assert!(found("fix BUG", &["Fix it", "a debugger"]));
        assert!(!found("fix bug", &["Fix it", "all of it"]));
        assert!(found("100% a_b", &["a_b is 100% done"]));
        assert!(!found("100%", &["100 done"]));
        assert!(!found("a_b", &["aXb"]));
        assert!(found("ÉCOLE straße", &["école", "Straße"]));
        assert!(!found("strasse", &["Straße"]));
        assert!(!found("k", &["\u{212A}"]));
        assert!(found("ab", &["aab"]));
    }

    #[test]
    fn a_search_has_a_word_and_a_limit() {
        assert!(Words::new(&"a".repeat(200)).is_ok());
        for wrong in ["", " \n", "a\0", &"é".repeat(201)] {
            assert!(Words::new(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(Words::new(" a\tb ").unwrap().to_string(), "a b");
    }
}
