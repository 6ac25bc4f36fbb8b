//! The plan of a sweep that has grown: of its parts, one.

use std::collections::{BTreeSet, HashSet};

use secateur_proto::ids::{CellId, StageKey};

use super::{Merged, Plan, Refused, Settings, SweepInfo};

impl Plan {
    /// The plan that the parts of a sweep are together, in their order. Each stage and each cell is there once, trials are in the order of
    /// the parts. The sweep keeps the id that it began with. Everything else is as the last part has it: the file, its goals, and what a
    /// cell is. A cell that was a control is none once a file asks for it as a point.
    ///
    /// Returns `None` if there is no part.
    #[must_use]
    pub fn of_parts(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
        parts.into_iter().reduce(Self::grown_by)
    }

    fn grown_by(mut self, part: Self) -> Self {
        let listed: HashSet<StageKey> = self.stages.iter().map(|stage| stage.key).collect();
        self.stages.extend(part.stages.into_iter().filter(|stage| !listed.contains(&stage.key)));
        let described: HashSet<&CellId> = part.cells.iter().map(|cell| &cell.id).collect();
        self.cells.retain(|cell| !described.contains(&cell.id));
        self.cells.extend(part.cells);
        // The file's cells, then the controls, as in any plan.
        self.cells.sort_by_key(|cell| cell.control.is_some());
        self.trials.extend(part.trials);
        replace(&mut self.merged, part.merged, |point: &Merged| &point.settings);
        replace(&mut self.refused, part.refused, |point: &Refused| &point.settings);
        self.sweep = SweepInfo { id: self.sweep.id, ..part.sweep };
        self
    }
}

/// Puts the points of a later part in the place of those of earlier ones that are the same. A point has more settings than it had where
/// a setting has begun to vary.
fn replace<T>(points: &mut Vec<T>, later: Vec<T>, settings: impl Fn(&T) -> &Settings) {
    let keys = |point: &T| settings(point).keys().cloned().collect::<Vec<_>>();
    let of_keys = |point: &T, keys: &[String]| {
        let values: Vec<_> = keys.iter().map(|key| settings(point).get(key)).collect();
        serde_json::to_string(&values).expect("settings are plain data")
    };
    let kinds: BTreeSet<Vec<String>> = points.iter().map(keys).collect();
    for kind in kinds {
        let again: HashSet<String> = later.iter().map(|point| of_keys(point, &kind)).collect();
        points.retain(|point| keys(point) != kind || !again.contains(&of_keys(point, &kind)));
    }
    points.extend(later);
}
