//! Results by the levels of columns. Nothing where no group was named.

use super::{Block, Chapter, DossierSource};
use crate::report::{content, label::Labels};

pub(super) fn chapter(source: &DossierSource<'_>) -> Option<Chapter> {
    let mut grid = content::slices(source.report, &Labels::of(source.report), &[source.cell]);
    if grid.rows.is_empty() {
        return None;
    }
    // They are all of one cell.
    grid.columns.remove(0);
    grid.rows.iter_mut().for_each(|row| _ = row.remove(0));
    let text = "On test rows, over the seeds of the cell. Intervals are of seeds: groups have fewer rows than the whole, so other rows of the \
                same group would vary more. A gap is the largest minus the smallest value of the levels, seed by seed.";
    Some(Chapter::new("Groups", vec![Block::Text(text.to_owned()), Block::Table(grid)]))
}
