//! The keychain of macOS.

use std::path::Path;

use ccm_core::{Error, Result};
use security_framework::passwords::{
    delete_generic_password, get_generic_password, set_generic_password,
};
use zeroize::Zeroizing;

/// The name of the item.
const SERVICE: &str = "ccm";
/// The keychain's code for an item that is not there (errSecItemNotFound in Apple's SecBase.h).
const NOT_FOUND: i32 = -25300;

/// The keychain that keeps the key of one sign-in.
#[derive(Debug, Clone)]
pub(super) struct Keyring {
    account: String,
}

impl Keyring {
    /// Every session has one, if it can be unlocked.
    pub(super) fn find(auth_file: &Path) -> Option<Self> {
        let file = std::path::absolute(auth_file).unwrap_or_else(|_| auth_file.to_owned());
        Some(Self {
            account: file.to_string_lossy().into_owned(),
        })
    }

    /// What it keeps; `None` for nothing.
    pub(super) fn get(&self) -> Result<Option<Zeroizing<String>>> {
        match get_generic_password(SERVICE, &self.account) {
            Ok(bytes) => Ok(String::from_utf8(bytes).ok().map(Zeroizing::new)),
            Err(error) if error.code() == NOT_FOUND => Ok(None),
            Err(error) => {
                Err(Error::unavailable("the keychain can't be opened").with_source(error))
            }
        }
    }

    pub(super) fn set(&self, secret: &str) -> Result<()> {
        set_generic_password(SERVICE, &self.account, secret.as_bytes())
            .map_err(|error| Error::unavailable("the keychain takes no key").with_source(error))
    }

    pub(super) fn clear(&self) {
        if let Err(error) = delete_generic_password(SERVICE, &self.account) {
            tracing::debug!("the keychain can't be cleared: {error}");
        }
    }
}
