//! The journal's vocabulary: what is durable, as versioned data. Writing it is the shell's business.
//!
//! Any change to what these types look like as JSON raises [`JOURNAL_VERSION`] and needs a way to read the versions before.

use std::sync::Arc;

use secateur_proto::{
    ids::{LeaseId, StageKey, SweepId},
    outcome::{Checkpoint, Failure, StageOutcome},
};
use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{event::Timestamp, share::Share, snapshot::Part};
use crate::sweep::plan::PackedPlan;

/// Version of [`Entry`] as JSON.
pub const JOURNAL_VERSION: u32 = 6;

/// The oldest version that can be read: 2 to 4 have fewer kinds of records and fewer fields, and those alike; to 5 a plan is no short text.
const OLDEST_VERSION: u32 = 2;

/// A durable fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// A life of the coordinator began.
    Started,
    /// A new sweep.
    SweepSubmitted {
        /// Its plan, as frozen.
        #[serde(with = "shared")]
        plan: Arc<PackedPlan>,
    },
    /// A stopped or cancelled sweep goes on.
    SweepResumed {
        /// Which.
        sweep: SweepId,
    },
    /// A sweep was given up.
    SweepCancelled {
        /// Which.
        sweep: SweepId,
    },
    /// A sweep was stopped from outside.
    SweepStopped {
        /// Which.
        sweep: SweepId,
        /// For a person.
        reason: String,
    },
    /// A sweep has another part of the workers.
    SweepShareChanged {
        /// Which.
        sweep: SweepId,
        /// What it is now.
        share: Share,
    },
    /// Stages that had failed are open again, and with them those below that had failed for no other reason.
    StagesReopened {
        /// Those that had failed by themselves.
        stages: Vec<StageKey>,
    },
    /// A sweep that did not run was forgotten: its stages that no other sweep lists are no longer known.
    SweepForgotten {
        /// Which.
        sweep: SweepId,
    },
    /// A stage ended. Stages below it that end with it have no record of their own: they follow.
    StageEnded {
        /// Which.
        stage: StageKey,
        /// How.
        outcome: StageOutcome,
    },
    /// An open stage can be gone on with from there, which is later than from where it could before.
    Checkpointed {
        /// Which.
        stage: StageKey,
        /// From where.
        checkpoint: Checkpoint,
    },
    /// An attempt failed, and another one is worth it.
    AttemptFailed {
        /// At which stage.
        stage: StageKey,
        /// The width of the bundle that it was a lane of.
        lanes: u32,
        /// Why.
        failure: Failure,
        /// The name of the worker.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worker: Option<String>,
        /// Which attempt it was, so that it is not counted again when its worker says it again. Unknown of versions before 5.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<AttemptId>,
    },
    /// A part of all that the records before come to: from a whole snapshot on they are not needed. Written in another way than the others.
    #[serde(skip)]
    Snapshot(Part),
}

/// An attempt at a stage, unlike any other in all lives of a coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptId {
    /// The lease that it was a part of.
    pub lease: LeaseId,
    /// The number that the lease gave it.
    pub number: u32,
}

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    version: u32,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub record: Record,
}

/// A line that is no entry.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableEntry {
    /// Not the JSON of an entry.
    #[error("the journal entry cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// Written by another version.
    #[error(
        "the journal entry is of version {found}, and this secateur reads versions {OLDEST_VERSION} to {JOURNAL_VERSION}"
    )]
    Version {
        /// The version in the entry.
        found: u32,
    },
}

impl Entry {
    /// An entry of the current version.
    #[must_use]
    pub const fn new(at: Timestamp, record: Record) -> Self {
        Self { version: JOURNAL_VERSION, at, record }
    }

    /// The version that it was written in.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// One line of JSON.
    ///
    /// # Panics
    /// Never: there is no map with keys other than strings.
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = match &self.record {
            Record::Snapshot(part) => {
                serde_json::to_string(&SnapshotLine { version: self.version, at: self.at, snapshot: part })
            }
            _ => serde_json::to_string(self),
        };
        text.expect("an entry is plain data")
    }

    /// Reads what [`Entry::to_json`] wrote.
    ///
    /// # Errors
    /// If it is no entry, or one of another version.
    pub fn from_json(text: &str) -> Result<Self, UnreadableEntry> {
        #[derive(Deserialize)]
        struct Header {
            version: u32,
            snapshot: Option<IgnoredAny>,
        }
        let Header { version, snapshot } = serde_json::from_str(text)?;
        if !(OLDEST_VERSION..=JOURNAL_VERSION).contains(&version) {
            return Err(UnreadableEntry::Version { found: version });
        }
        if snapshot.is_some() {
            let SnapshotLine { version, at, snapshot } = serde_json::from_str(text)?;
            return Ok(Self { version, at, record: Record::Snapshot(snapshot) });
        }
        Ok(serde_json::from_str(text)?)
    }
}

/// An entry that is a part of a snapshot. It has no tag within, which would have all of it read twice.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SnapshotLine<P> {
    version: u32,
    at: Timestamp,
    snapshot: P,
}

/// A shared plan: a long one is written as a short text, and one that a person could read as the plan that it is. Versions before 6 had
/// the plan itself, however long.
pub(super) mod shared {
    use std::fmt;

    use serde::{
        Deserialize as _, Deserializer, Serialize as _, Serializer,
        de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
    };

    use super::{Arc, PackedPlan};

    /// The stages of a plan that is long.
    const LONG: usize = 1_000;

    pub(in crate::scheduler) fn serialize<S: Serializer>(
        plan: &Arc<PackedPlan>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if plan.stage_count() < LONG {
            plan.as_ref().serialize(serializer)
        } else {
            serializer.collect_str(&plan.as_text())
        }
    }

    pub(in crate::scheduler) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<PackedPlan>, D::Error> {
        deserializer.deserialize_any(Either).map(Arc::new)
    }

    struct Either;

    impl<'de> Visitor<'de> for Either {
        type Value = PackedPlan;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a plan")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<PackedPlan, E> {
            PackedPlan::from_text(text).map_err(|error| E::custom(format_args!("the plan cannot be read: {error}")))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PackedPlan, A::Error> {
            PackedPlan::deserialize(MapAccessDeserializer::new(map))
        }
    }
}
