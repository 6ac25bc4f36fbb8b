//! The state of a lane's training at the end of an epoch, and the file of it. Another process that goes on from there computes the
//! same, bit for bit.
//!
//! The file is safetensors of bytes, each tensor a file of its own that is read, and checked, as such a file is anywhere else:
//! `parameters`, `best` and `moment.<n>` are nets, `mask` and `healed` masks, `plan`, `plan.begin` and `plan.last` pruning plans. What
//! there is none of has no tensor. The metadata entry `state` is JSON and says of which stage and epoch it is, with the curve so far.
//! Nothing of it is trusted when it is read.

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

/// The version of the file. One of another version is not read.
const FORMAT: u32 = 1;

/// All that a lane's training goes on from.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingState {
    /// The epoch that has ended, from 1.
    pub epoch: u32,
    /// The net.
    pub parameters: Parameters,
    /// Steps since the optimiser's moments began.
    pub steps: i32,
    /// The optimiser's moments, as nets.
    pub moments: Vec<Parameters>,
    /// What was removed.
    pub mask: Option<Mask>,
    /// What a penalty had driven to zero when it was over.
    pub healed: Option<Mask>,
    /// The net of the best epoch so far, and which that is.
    pub best: Option<(u32, Parameters)>,
    /// Every epoch so far, and what the net was before the first.
    pub curve: Vec<EpochRecord>,
    /// What the schedule of its mask goes on from.
    pub plan: Option<PruningPlan>,
}

/// The plans of a pruning's training, as they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedPlans {
    /// What the training began with.
    pub begin: Vec<u8>,
    /// That of the last change of a mask that changes while the net trains, once it was made.
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
    /// When it was taken, as far as lanes have to agree on it to go on in one bundle.
    #[must_use]
    pub const fn moment(&self) -> (u32, i32, usize) {
        (self.epoch, self.steps, self.moments.len())
    }

    /// All that stays zero.
    #[must_use]
    pub fn frozen(&self) -> Option<Mask> {
        Mask::either(self.mask.as_ref(), self.healed.as_ref())
    }

    /// Writes the state of the stage `key`, with the plans of a pruning.
    ///
    /// # Errors
    /// If it is not one of `model`.
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

    /// Reads the state at the end of `epoch` of the stage `key`, which trains as `spec` says, and the plans of a pruning.
    ///
    /// # Errors
    /// If the bytes are not that, or nothing that such a training can go on from.
    pub fn read(
        bytes: &[u8],
        key: StageKey,
        spec: &StageSpec,
        epoch: u32,
    ) -> Result<(Self, Option<SavedPlans>), InvalidTensors> {
        let no_training = || inconsistent("the stage trains nothing");
        let Training { model, spec: training, schedule, .. } = spec.training().ok_or_else(no_training)?;
        let (_, metadata) = SafeTensors::read_metadata(bytes)?;
        let header = metadata.metadata().as_ref().and_then(|entries| entries.get("state"));
        let header = header.ok_or_else(|| inconsistent("the file is not the state of a training"))?;
        let header: Header = serde_json::from_str(header)
            .map_err(|error| InvalidTensors::Inconsistent(format!("the state of a training: {error}")))?;
        header.check(key, epoch, training.epochs)?;
        let file = SafeTensors::deserialize(bytes)?;
        let part = |name: &str| optional_bytes(&file, name);
        let net = |bytes| checkpoint::read_parameters(model, bytes);
        let mask = |bytes| checkpoint::read_mask(model, bytes);
        let parameters = part("parameters")?.ok_or_else(|| inconsistent("the state has no net"))?;
        let best = match (header.best, part("best")?) {
            (Some(epoch), Some(best)) => Some((epoch, net(best)?)),
            (None, None) => None,
            _ => return Err(inconsistent("the state has a best epoch without its net, or the other way round")),
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
            return Err(inconsistent("the state has a mask or a plan where its stage has none, or lacks them"));
        }
        let nets = [Some(&state.parameters), state.best.as_ref().map(|(_, best)| best)];
        if let Some(frozen) = state.frozen()
            && nets.into_iter().flatten().any(|net| frozen.violations(net) > 0)
        {
            return Err(inconsistent("a weight that the state says was removed is not zero"));
        }
        Ok((state, plans))
    }
}

impl Header {
    fn check(&self, key: StageKey, epoch: u32, epochs: u32) -> Result<(), InvalidTensors> {
        if self.format != FORMAT {
            return Err(InvalidTensors::Inconsistent(format!(
                "the state is of format {}, and this worker reads {FORMAT}",
                self.format
            )));
        }
        if self.stage != key || self.epoch != epoch {
            return Err(inconsistent("the state is of another stage or epoch"));
        }
        // Of so many steps that none could be added there is no training.
        if epoch == 0 || epoch >= epochs || !(0..i32::MAX / 2).contains(&self.steps) {
            return Err(inconsistent("the state is of an epoch or a step after which nothing is to be trained"));
        }
        let epochs = || self.curve.iter().map(|record| record.epoch);
        let is_whole = epochs().next() == Some(0)
            && epochs().next_back() == Some(epoch)
            && epochs().is_sorted_by(|one, two| one < two);
        if !is_whole || self.best.is_some_and(|best| best == 0 || !epochs().any(|epoch| epoch == best)) {
            return Err(inconsistent("the state's curve is not that of its epochs"));
        }
        Ok(())
    }
}

fn inconsistent(what: &str) -> InvalidTensors {
    InvalidTensors::Inconsistent(what.to_owned())
}
