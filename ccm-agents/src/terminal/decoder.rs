/// Characters out of bytes that come in any pieces. What is no UTF-8 becomes U+FFFD.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// Bytes of a character that is not complete yet.
    partial: Vec<u8>,
}

impl Decoder {
    /// Hands over every character that `bytes` complete.
    pub(super) fn push(&mut self, bytes: &[u8], mut take: impl FnMut(char)) {
        let mut input = std::mem::take(&mut self.partial);
        input.extend_from_slice(bytes);
        let mut chunks = input.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            chunk.valid().chars().for_each(&mut take);
            let invalid = chunk.invalid();
            if chunks.peek().is_none() && is_incomplete(invalid) {
                self.partial = invalid.to_vec();
            } else if !invalid.is_empty() {
                take(char::REPLACEMENT_CHARACTER);
            }
        }
    }

    /// How many bytes are kept for the next piece.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.partial.len()
    }
}

/// Whether these bytes, which are no character, may become one.
fn is_incomplete(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}
