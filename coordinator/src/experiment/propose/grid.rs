//! Every combination of the values that the file lists.

use super::{super::expand::Point, Points, Proposer, SweepSpec};

/// Proposes the whole grid.
pub(super) struct Grid;

impl Proposer for Grid {
    fn propose<'a>(&self, spec: &'a SweepSpec, proposed: &[Point]) -> Points<'a> {
        Box::new(spec.grid.points().filter(|point| !spec.is_excluded(point)).skip(proposed.len()))
    }
}
