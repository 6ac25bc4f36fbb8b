//! Whose work a worker holds. Leases belong to one coordinator; another one at the same address knows nothing of them.

use tonic::Status;
use tracing::info;

/// The coordinator that the worker was last attached to.
#[derive(Debug, Default)]
pub(super) struct Home(String);

impl Home {
    /// The coordinator whose work is held; empty if none is.
    pub(super) fn holder(&self, holds_nothing: bool) -> &str {
        if holds_nothing { "" } else { &self.0 }
    }

    /// Notes by which coordinator the worker is welcomed.
    ///
    /// # Errors
    /// If it is another one than that whose work the worker holds.
    pub(super) fn greeted(&mut self, coordinator: &str, holds_nothing: bool) -> Result<(), Status> {
        let same = self.0 == coordinator || self.0.is_empty() || coordinator.is_empty();
        if !same && !holds_nothing {
            let own = &self.0;
            return Err(Status::unavailable(format!(
                "this is coordinator {coordinator}, and the worker holds work of coordinator {own}: start {own} again at this address, or restart the worker to give that work up"
            )));
        }
        if !same {
            info!(coordinator, before = self.0, "another coordinator than before answers at this address");
        }
        coordinator.clone_into(&mut self.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_given_to_the_coordinator_that_it_is_of_and_to_no_other() {
        let mut home = Home::default();
        assert_eq!(home.holder(false), "");
        home.greeted("a", false).expect("the first one");
        assert_eq!((home.holder(true), home.holder(false)), ("", "a"));
        let refused = home.greeted("b", false).expect_err("a stranger");
        assert!(refused.message().contains("coordinator b") && refused.message().contains("coordinator a"));
        assert_eq!(home.holder(false), "a");
        home.greeted("a", false).expect("is back");
        home.greeted("b", true).expect("nothing is lost");
        assert_eq!(home.holder(false), "b");
    }
}
