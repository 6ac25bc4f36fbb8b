//! Who asks, and whose sweeps they may change.

use tonic::Status;

use crate::{
    scheduler::{Person, SweepStatus},
    security::{Caller, Credential, Role},
};

/// The caller as a person, or `None` if the caller is unknown.
pub(super) fn person(caller: &Caller) -> Option<Person> {
    let is_claimed = caller.credential == Credential::None;
    (!caller.is_nameless()).then(|| Person { name: caller.name.clone(), is_claimed })
}

/// Checks that the caller may change a sweep: administrators may change all, others their own. A sweep whose owner was
/// not authenticated or not recorded has no owner: every caller with the role may change it.
pub(super) fn check_owner(caller: &Caller, sweep: &SweepStatus) -> Result<(), Status> {
    if caller.role == Role::Admin {
        return Ok(());
    }
    match sweep.submitted_by.as_ref().filter(|owner| !owner.is_claimed && owner.name != caller.name) {
        None => Ok(()),
        Some(owner) => Err(Status::permission_denied(format!(
            "sweep {} ({}) belongs to {}: ask {} or an administrator to change it",
            sweep.name, sweep.id, owner.name, owner.name
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(name: &str, role: Role, credential: Credential) -> Caller {
        Caller { name: name.to_owned(), role, credential, peer: None }
    }

    #[test]
    fn callers_without_credentials_are_known_by_what_they_say() {
        let claimed = person(&caller("ada", Role::Admin, Credential::None)).expect("a name");
        assert!(claimed.is_claimed && claimed.name == "ada");
        let known = person(&caller("ada", Role::Submit, Credential::Certificate)).expect("a name");
        assert!(!known.is_claimed);
        assert_eq!(person(&Caller::anybody(None)), None);
    }
}
