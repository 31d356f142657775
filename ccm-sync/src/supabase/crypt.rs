//! What is kept of a sign-in, so that a copy of the file alone is of no use: encrypted and authenticated.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ccm_core::{Error, ErrorKind, Result};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The version of the file.
const VERSION: u32 = 1;
/// What the file is for. Part of what is authenticated, so that nothing else that was encrypted with the key passes for it.
const PURPOSE: &str = "ccm supabase session";
/// How many bytes a key has.
const KEY_LEN: usize = 32;

/// A key. Not shown, and cleared when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key(Zeroizing<[u8; KEY_LEN]>);

impl Key {
    /// A new one.
    pub(super) fn random() -> Result<Self> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        fill(&mut *key)?;
        Ok(Self(key))
    }

    /// As text, for whoever keeps it.
    pub(super) fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64_STANDARD.encode(*self.0))
    }

    /// One that was kept; `None` if the text is none.
    pub(super) fn read(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(text.trim()).ok()?);
        let key = <[u8; KEY_LEN]>::try_from(bytes.as_slice()).ok()?;
        Some(Self(Zeroizing::new(key)))
    }

    fn cipher(&self) -> Result<LessSafeKey> {
        let key = UnboundKey::new(&AES_256_GCM, &*self.0);
        key.map(LessSafeKey::new)
            .map_err(|_| Error::internal("the cipher can't be set up"))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// The file's content.
#[derive(Serialize, Deserialize)]
struct Sealed {
    version: u32,
    /// Where the key is.
    key: String,
    nonce: String,
    data: String,
}

/// What an encrypted file says in the open.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Label {
    /// Where its key is.
    pub(super) key: String,
}

/// Encrypts `plain`. `place` says where the key is, in the open but authenticated.
pub(super) fn seal(key: &Key, place: &str, plain: &[u8]) -> Result<Vec<u8>> {
    let mut nonce = [0; NONCE_LEN];
    fill(&mut nonce)?;
    let mut data = plain.to_vec();
    key.cipher()?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            associated(VERSION, place),
            &mut data,
        )
        .map_err(|_| Error::internal("the sign-in can't be encrypted"))?;
    let sealed = Sealed {
        version: VERSION,
        key: place.to_owned(),
        nonce: BASE64_STANDARD.encode(nonce),
        data: BASE64_STANDARD.encode(data),
    };
    serde_json::to_vec(&sealed)
        .map_err(|error| Error::internal("the sign-in can't be written").with_source(error))
}

/// What the file says in the open.
///
/// # Errors
/// `Corrupt` for something else, `TooNew` for a file of a newer program.
pub(super) fn label(bytes: &[u8]) -> Result<Label> {
    let sealed = parse(bytes)?;
    Ok(Label { key: sealed.key })
}

/// Decrypts what [`seal`] made.
///
/// # Errors
/// `Corrupt` for anything that was changed, and for another key.
pub(super) fn open(key: &Key, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let sealed = parse(bytes)?;
    let nonce = BASE64_STANDARD.decode(&sealed.nonce).ok();
    let nonce = nonce.and_then(|nonce| <[u8; NONCE_LEN]>::try_from(nonce).ok());
    let data = BASE64_STANDARD.decode(&sealed.data).ok();
    let (Some(nonce), Some(data)) = (nonce, data) else {
        return Err(corrupt());
    };
    let mut data = Zeroizing::new(data);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let aad = associated(sealed.version, &sealed.key);
    let length = key
        .cipher()?
        .open_in_place(nonce, aad, &mut data)
        .map_err(|_| corrupt())?
        .len();
    data.truncate(length);
    Ok(data)
}

fn parse(bytes: &[u8]) -> Result<Sealed> {
    let sealed: Sealed = serde_json::from_slice(bytes).map_err(|_| corrupt())?;
    if sealed.version > VERSION {
        return Err(Error::new(
            ErrorKind::TooNew,
            "the kept sign-in was written by a newer program",
        ));
    }
    Ok(sealed)
}

fn associated(version: u32, place: &str) -> Aad<Vec<u8>> {
    Aad::from(format!("{PURPOSE}\0{version}\0{place}").into_bytes())
}

fn corrupt() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "the kept sign-in is damaged, or was written on another machine",
    )
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    SystemRandom::new()
        .fill(bytes)
        .map_err(|_| Error::internal("the machine has no random numbers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_with_its_key_only() {
        let (key, other) = (Key::random().unwrap(), Key::random().unwrap());
        let sealed = seal(&key, "file", b"hunter2").unwrap();
        let text = String::from_utf8(sealed.clone()).unwrap();
        assert!(!text.contains("hunter2"));
        assert_eq!(label(&sealed).unwrap().key, "file");
        assert_eq!(&**open(&key, &sealed).unwrap(), b"hunter2");
        assert_eq!(
            open(&other, &sealed).unwrap_err().kind(),
            ErrorKind::Corrupt
        );
        assert_ne!(
            seal(&key, "file", b"hunter2").unwrap(),
            sealed,
            "never twice the same"
        );
        assert_eq!(Key::read(&key.text()), Some(key.clone()));
        assert!(!format!("{key:?}").contains(&**key.text()));
    }

    #[test]
    fn any_change_is_noticed() {
        let key = Key::random().unwrap();
        let sealed = seal(&key, "file", b"hunter2").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            let Ok(opened) = open(&key, &changed) else {
                continue;
            };
            // Only what means the same: the case of a letter that JSON or base64 does not look at.
            panic!("byte {at} was changed unnoticed: {opened:?}");
        }
        for bad in [
            "",
            "{}",
            "null",
            "{\"version\":1,\"key\":\"file\",\"nonce\":\"\",\"data\":\"\"}",
        ] {
            assert_eq!(
                open(&key, bad.as_bytes()).unwrap_err().kind(),
                ErrorKind::Corrupt
            );
        }
        let newer = String::from_utf8(sealed)
            .unwrap()
            .replace("\"version\":1", "\"version\":2");
        assert_eq!(
            label(newer.as_bytes()).unwrap_err().kind(),
            ErrorKind::TooNew
        );
    }

    #[test]
    fn keys_are_read_from_text_that_is_one() {
        for bad in ["", "x", "AAAA", "!"] {
            assert_eq!(Key::read(bad), None, "{bad}");
        }
    }
}
