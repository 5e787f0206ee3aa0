use sha2::{Digest, Sha256};

/// The cache key of a salt: its first 128 hash bits, so that nobody can find a salt that shares another's pages.
/// No salt is the key 0, which all requests without one share.
pub fn cache_key(salt: &str) -> u128 {
    if salt.is_empty() {
        return 0;
    }
    let digest = Sha256::digest(salt.as_bytes());
    let (head, _) = digest.split_at(16);
    u128::from_le_bytes(head.try_into().expect("a SHA-256 digest has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::cache_key;

    #[test]
    fn salts_are_told_apart() {
        assert_eq!(cache_key(""), 0);
        assert_ne!(cache_key("a"), 0);
        assert_ne!(cache_key("a"), cache_key("b"));
        assert_eq!(cache_key("tenant"), cache_key("tenant"));
    }
}
