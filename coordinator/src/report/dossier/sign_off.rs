//! Who decides.

use super::{Block, Chapter, DossierSource, table};

const ROLES: [&str; 5] =
    ["Model developer", "Model owner", "Independent validator", "Model risk management", "Approver"];

#[expect(clippy::unnecessary_wraps, reason = "the form of every chapter")]
pub(super) fn chapter(_: &DossierSource<'_>) -> Option<Chapter> {
    let mut grid = table(&["role", "name", "decision and conditions", "date", "signature"]);
    grid.rows.extend(ROLES.map(|role| {
        let mut row = vec![String::new(); grid.columns.len()];
        role.clone_into(&mut row[0]);
        row
    }));
    let text = "Nobody has signed this dossier until names, decisions and dates stand here.";
    Some(Chapter::new("Sign-off", vec![Block::Text(text.to_owned()), Block::Form(grid)]))
}
