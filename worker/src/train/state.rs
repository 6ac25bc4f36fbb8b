//! The state of a lane's training at the end of an epoch, and its file. Another process that resumes from it computes
//! the same, bit for bit.
//!
//! The file is safetensors of bytes. Each tensor is a file of its own, read and verified like such a file anywhere
//! else: `parameters`, `best` and `moment.<n>` are nets, `mask` and `healed` are masks, `plan`, `plan.begin` and
//! `plan.last` are pruning plans. Absent parts have no tensor. The metadata entry `state` is JSON with the stage, the
//! epoch and the curve so far. Nothing in the file is trusted.

use std::collections::HashMap;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use secateur_proto::{
    ids::StageKey,
    spec::{ModelSpec, StageSpec, Training},
};
use serde::{Deserialize, Serialize};

use super::{optimizer, run::EpochRecord};
use crate::{
    net::{Mask, Parameters, checkpoint},
    prune::plan::PruningPlan,
    tensors::{InvalidTensors, optional_bytes},
};

/// The version of the file. Other versions are rejected.
const FORMAT: u32 = 1;

/// Everything that a lane's training resumes from.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingState {
    /// The last completed epoch, from 1.
    pub epoch: u32,
    /// The net.
    pub parameters: Parameters,
    /// Steps since the optimiser's moments began.
    pub steps: i32,
    /// The optimiser's moments, as nets.
    pub moments: Vec<Parameters>,
    /// The mask of kept weights.
    pub mask: Option<Mask>,
    /// The zeros that a penalty had made when it ended, as a mask.
    pub healed: Option<Mask>,
    /// The best epoch so far and its net.
    pub best: Option<(u32, Parameters)>,
    /// Every epoch so far, and the net before the first.
    pub curve: Vec<EpochRecord>,
    /// The plan that the schedule of its mask builds on.
    pub plan: Option<PruningPlan>,
}

/// The plans of a pruning's training, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedPlans {
    /// The initial plan.
    pub begin: Vec<u8>,
    /// The plan of the last change of a changing mask, once it was made.
    pub last: Option<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    stage: StageKey,
    epoch: u32,
    steps: i32,
    best: Option<u32>,
    curve: Vec<EpochRecord>,
}

impl TrainingState {
    /// The time of the state, as far as lanes must agree on it to resume in one bundle.
    #[must_use]
    pub const fn moment(&self) -> (u32, i32, usize) {
        (self.epoch, self.steps, self.moments.len())
    }

    /// Everything that remains zero.
    #[must_use]
    pub fn frozen(&self) -> Option<Mask> {
        Mask::either(self.mask.as_ref(), self.healed.as_ref())
    }

    /// Writes the state of the stage `key`, with the plans of a pruning.
    ///
    /// # Errors
    /// If it does not fit `model`.
    pub fn write(
        &self,
        key: StageKey,
        model: &ModelSpec,
        plans: Option<&SavedPlans>,
    ) -> Result<Vec<u8>, InvalidTensors> {
        let net = |parameters| checkpoint::write_parameters(model, parameters);
        let mask = |mask| checkpoint::write_mask(model, mask);
        let mut files: Vec<(String, Vec<u8>)> = vec![("parameters".to_owned(), net(&self.parameters)?)];
        let mut add = |name: &str, file: Option<Vec<u8>>| files.extend(file.map(|file| (name.to_owned(), file)));
        add("best", self.best.as_ref().map(|(_, best)| net(best)).transpose()?);
        add("mask", self.mask.as_ref().map(mask).transpose()?);
        add("healed", self.healed.as_ref().map(mask).transpose()?);
        add("plan", self.plan.as_ref().map(PruningPlan::write).transpose()?);
        add("plan.begin", plans.map(|plans| plans.begin.clone()));
        add("plan.last", plans.and_then(|plans| plans.last.clone()));
        for (nth, moment) in self.moments.iter().enumerate() {
            add(&format!("moment.{nth}"), Some(net(moment)?));
        }
        let header = Header {
            format: FORMAT,
            stage: key,
            epoch: self.epoch,
            steps: self.steps,
            best: self.best.as_ref().map(|(epoch, _)| *epoch),
            curve: self.curve.clone(),
        };
        let header = serde_json::to_string(&header).expect("a header is plain data");
        let views = (files.iter())
            .map(|(name, bytes)| Ok((name.as_str(), TensorView::new(Dtype::U8, vec![bytes.len()], bytes)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
        Ok(safetensors::serialize(views, Some(HashMap::from([("state".to_owned(), header)])))?)
    }

    /// Reads the state at the end of `epoch` of the stage `key`, which trains as `spec` says, and the plans of a
    /// pruning.
    ///
    /// # Errors
    /// If the bytes are not such a state, or the training cannot resume from it.
    pub fn read(
        bytes: &[u8],
        key: StageKey,
        spec: &StageSpec,
        epoch: u32,
    ) -> Result<(Self, Option<SavedPlans>), InvalidTensors> {
        let no_training = || inconsistent("the stage does not train");
        let Training { model, spec: training, schedule, .. } = spec.training().ok_or_else(no_training)?;
        let (_, metadata) = SafeTensors::read_metadata(bytes)?;
        let header = metadata.metadata().as_ref().and_then(|entries| entries.get("state"));
        let header = header.ok_or_else(|| inconsistent("the file is not a training state"))?;
        let header: Header = serde_json::from_str(header)
            .map_err(|error| InvalidTensors::Inconsistent(format!("training state: {error}")))?;
        header.check(key, epoch, training.epochs)?;
        let file = SafeTensors::deserialize(bytes)?;
        let part = |name: &str| optional_bytes(&file, name);
        let net = |bytes| checkpoint::read_parameters(model, bytes);
        let mask = |bytes| checkpoint::read_mask(model, bytes);
        let parameters = part("parameters")?.ok_or_else(|| inconsistent("the state has no net"))?;
        let best = match (header.best, part("best")?) {
            (Some(epoch), Some(best)) => Some((epoch, net(best)?)),
            (None, None) => None,
            _ => return Err(inconsistent("the state has a best epoch without its net, or a net without its epoch")),
        };
        let most = optimizer::moments(&training.optimizer);
        let moments = (0..most).map_while(|nth| part(&format!("moment.{nth}")).transpose());
        let moments = moments.map(|bytes| net(bytes?)).collect::<Result<Vec<_>, _>>()?;
        if !moments.is_empty() && moments.len() != most {
            return Err(inconsistent("the state lacks a moment of the optimiser"));
        }
        let plans = match (part("plan.begin")?, part("plan.last")?) {
            (Some(begin), last) => Some(SavedPlans { begin: begin.to_vec(), last: last.map(<[u8]>::to_vec) }),
            (None, _) => None,
        };
        let state = Self {
            epoch,
            parameters: net(parameters)?,
            steps: header.steps,
            moments,
            mask: part("mask")?.map(mask).transpose()?,
            healed: part("healed")?.map(mask).transpose()?,
            best,
            curve: header.curve,
            plan: part("plan")?.map(PruningPlan::read).transpose()?,
        };
        if state.mask.is_some() != schedule.is_some() || plans.is_some() != schedule.is_some() {
            return Err(inconsistent("the state has a mask or plan that its stage does not have, or lacks one"));
        }
        let nets = [Some(&state.parameters), state.best.as_ref().map(|(_, best)| best)];
        if let Some(frozen) = state.frozen()
            && nets.into_iter().flatten().any(|net| frozen.violations(net) > 0)
        {
            return Err(inconsistent("a removed weight is not zero in the state"));
        }
        Ok((state, plans))
    }
}

impl Header {
    fn check(&self, key: StageKey, epoch: u32, epochs: u32) -> Result<(), InvalidTensors> {
        if self.format != FORMAT {
            return Err(InvalidTensors::Inconsistent(format!(
                "the state has format {}; this worker supports {FORMAT}",
                self.format
            )));
        }
        if self.stage != key || self.epoch != epoch {
            return Err(inconsistent("the state is of another stage or epoch"));
        }
        // After that many steps no step could be added.
        if epoch == 0 || epoch >= epochs || !(0..i32::MAX / 2).contains(&self.steps) {
            return Err(inconsistent("the state is of the last epoch or has too many steps"));
        }
        let epochs = || self.curve.iter().map(|record| record.epoch);
        let is_whole = epochs().next() == Some(0)
            && epochs().next_back() == Some(epoch)
            && epochs().is_sorted_by(|one, two| one < two);
        if !is_whole || self.best.is_some_and(|best| best == 0 || !epochs().any(|epoch| epoch == best)) {
            return Err(inconsistent("the curve of the state does not match its epochs"));
        }
        Ok(())
    }
}

fn inconsistent(what: &str) -> InvalidTensors {
    InvalidTensors::Inconsistent(what.to_owned())
}
