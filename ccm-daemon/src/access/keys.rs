//! Keys made from the machine's token, one a purpose. A new token makes everything that was made with them worthless.

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::machine::Token;

/// Makes the keys of purposes.
pub(super) struct Keys<'a>(&'a Token);

impl<'a> Keys<'a> {
    pub(super) fn of(token: &'a Token) -> Self {
        Self(token)
    }

    /// The key for `purpose`.
    pub(super) fn key(&self, purpose: &str) -> Key {
        let mut mac = keyed(self.0.reveal().as_bytes());
        mac.update(purpose.as_bytes());
        Key(mac.finalize().into_bytes().into())
    }
}

/// A key of one purpose. Its debug form doesn't show it.
#[derive(Clone)]
pub(super) struct Key([u8; 32]);

impl Key {
    /// What only those who have the key can make of `text`, as hexadecimal digits.
    pub(super) fn sign(&self, text: &[u8]) -> String {
        let mut mac = keyed(&self.0);
        mac.update(text);
        hex(&mac.finalize().into_bytes())
    }

    /// Whether `digits` is what [`sign`](Self::sign) makes of `text`, in a time that tells nothing.
    pub(super) fn is_signature(&self, text: &[u8], digits: &str) -> bool {
        use subtle::ConstantTimeEq;
        bool::from(self.sign(text).as_bytes().ct_eq(digits.as_bytes()))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(...)")
    }
}

/// HMAC with a key of at most one block, which a token just is.
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    Hmac::new(&block.into())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
