//! Variables of the coordinator's environment that programs which it starts must not see.

use std::ffi::OsStr;

/// What the names of variables with secrets begin with: the coordinator's own, those of buckets and of PostgreSQL.
const SECRET: [&str; 3] = ["SECATEUR_", "AWS_", "PG"];

/// Whether a variable of that name may hold a secret.
pub(crate) fn is_secret(name: &OsStr) -> bool {
    // Bytes, because a name need not be text.
    let name = name.as_encoded_bytes();
    SECRET.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_stores_and_databases_are_secret_and_paths_are_not() {
        let is_secret = |name: &str| is_secret(OsStr::new(name));
        assert!(["SECATEUR_TOKEN", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD"].into_iter().all(is_secret));
        assert!(!["PATH", "HOME", "SLURM_CONF", "APG"].into_iter().any(is_secret));
    }
}
