//! What of a coordinator's credentials ends soon.

use std::{path::Path, time::SystemTime};

use time::OffsetDateTime;

use super::{
    certificates::{Described, TlsFiles, time_left},
    tls::WARN_DAYS,
    tokens::Tokens,
};

/// The days before its end from which on a token is warned of.
const WARN_DAYS_OF_TOKENS: i64 = 14;

/// Says which certificates of `tls` and which tokens in `folder` end soon or have ended, each with what to do. A file
/// that cannot be read is left out: whoever needs it says so.
#[must_use]
pub fn warnings(tls: Option<&TlsFiles>, folder: &Path, now: SystemTime) -> Vec<String> {
    let moment = OffsetDateTime::from(now);
    let mut found = Vec::new();
    for path in tls.into_iter().flat_map(TlsFiles::certificates) {
        let Ok(described) = Described::read(path) else { continue };
        let days = described.days_left(moment);
        if days < WARN_DAYS {
            let (file, date) = (path.display(), described.ends.date());
            found.push(if days < 0 {
                format!(
                    "the certificate {file} expired on {date} ({}); clients refuse it. `secateur cert renew` renews it, and SIGHUP makes the coordinator read it",
                    time_left(days)
                )
            } else {
                format!(
                    "the certificate {file} expires on {date} ({} left): `secateur cert renew` renews it, and SIGHUP makes the coordinator read it",
                    time_left(days)
                )
            });
        }
    }
    let tokens = Tokens::read(folder).ok().flatten();
    for token in tokens.iter().flat_map(Tokens::list) {
        let Some(end) = token.expires_at.and_then(|end| OffsetDateTime::from_unix_timestamp(end.cast_signed()).ok())
        else {
            continue;
        };
        let days = (end - moment).whole_seconds().div_euclid(24 * 3600);
        // One that has ended is no news; its owner was told at each of the days before.
        if (0..WARN_DAYS_OF_TOKENS).contains(&days) {
            let name = &token.name;
            found.push(format!(
                "the token {name} expires on {} ({} left): `secateur token rotate {name} --expires TIME` replaces it",
                end.date(),
                time_left(days)
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::security::{Role, authority, certificates::TlsFiles};

    #[test]
    fn what_ends_soon_is_said_in_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        authority::init(folder, &["head".to_owned()], 100).expect("makes them");
        let now = SystemTime::now();
        let day = Duration::from_secs(24 * 3600);
        let create = |name: &str, days: Option<u32>| {
            let lifetime = days.map(|days| day * days);
            Tokens::change(folder, |tokens| tokens.create(name, Role::Read, now, lifetime, None)).expect("creates");
        };
        create("forever", None);
        create("alice", Some(90));
        let tls = TlsFiles {
            certificate: authority::cert(folder, "server"),
            key: authority::key(folder, "server"),
            client_authority: Some(authority::cert(folder, "ca")),
        };
        let found = |days: u32| {
            let said = warnings(Some(&tls), folder, now + day * days);
            said.iter().map(|said| said.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        let server = format!("the certificate {}", tls.certificate.display());
        assert_eq!(found(0), Vec::<String>::new());
        assert_eq!(found(69), Vec::<String>::new());
        assert_eq!(found(72), vec![server.clone()]);
        assert_eq!(found(80), vec![server.clone(), "the token alice".to_owned()]);
        assert_eq!(found(95), vec![server.clone()]);
        let expired = warnings(Some(&tls), folder, now + day * 101 + day / 2);
        assert!(
            expired.len() == 1 && expired[0].contains("expired on") && expired[0].contains("1 day ago"),
            "{expired:?}"
        );
        let missing = TlsFiles { certificate: folder.join("none"), ..tls.clone() };
        assert_eq!(warnings(Some(&missing), folder, now), Vec::<String>::new());
    }
}
