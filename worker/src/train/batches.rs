//! Which rows each lane sees in which order, and what is dropped: decided by its seed and phase, whoever its neighbours are.

use rand::{RngExt as _, seq::SliceRandom as _};

use super::{
    bundle::{Batch, Lane, Phase},
    forward::Net,
};
use crate::random;

/// The batches of a bundle.
pub struct Batches {
    /// Distinct (phase, seed) and their current order.
    orders: Vec<(Phase, u64, Vec<i32>)>,
    /// Which of them each lane follows.
    of_lane: Vec<usize>,
    batch_size: usize,
    rows: usize,
    /// Share dropped of each lane; empty where nothing is dropped.
    dropout: Vec<f64>,
    dropout_widths: Vec<usize>,
}

impl Batches {
    /// The batches of `lanes` over so many train rows.
    #[must_use]
    pub fn new(lanes: &[Lane], rows: usize, net: &Net) -> Self {
        let mut orders: Vec<(Phase, u64, Vec<i32>)> = Vec::new();
        let of_lane = (lanes.iter())
            .map(|lane| {
                let known = orders.iter().position(|(phase, seed, _)| *phase == lane.phase && *seed == lane.seed);
                known.unwrap_or_else(|| {
                    orders.push((lane.phase, lane.seed, vec![0; rows]));
                    orders.len() - 1
                })
            })
            .collect();
        let dropout: Vec<f64> = lanes.iter().map(|lane| lane.training.dropout).collect();
        let drops = dropout.iter().any(|share| *share > 0.0);
        Self {
            orders,
            of_lane,
            batch_size: lanes[0].training.batch_size as usize,
            rows,
            dropout: if drops { dropout } else { Vec::new() },
            dropout_widths: net.dropout_widths().to_vec(),
        }
    }

    /// Steps of an epoch: as many batches as it takes for none to be larger than the batch size.
    #[must_use]
    pub const fn per_epoch(&self) -> usize {
        self.rows.div_ceil(self.batch_size)
    }

    /// Puts the rows into the order of `epoch`, from 1.
    pub fn shuffle(&mut self, epoch: u32) {
        for (phase, seed, order) in &mut self.orders {
            for (index, row) in (0..).zip(order.iter_mut()) {
                *row = index;
            }
            order.shuffle(&mut random::generator(phase.purpose(), &[*seed, u64::from(epoch)]));
        }
    }

    /// The batch of that place in the epoch, which is step `step` of the training, from 0.
    #[must_use]
    pub fn batch(&self, place: usize, step: u64) -> Batch {
        // Dealt evenly: what a division leaves over would be a batch of its own, and one of a single row throws a net as far as a
        // whole one does.
        let start = place * self.rows / self.per_epoch();
        let end = (place + 1) * self.rows / self.per_epoch();
        let rows = self.of_lane.iter().flat_map(|order| self.orders[*order].2[start..end].iter().copied()).collect();
        Batch { rows, dropout: self.factors(end - start, step) }
    }

    /// Zero with the lane's probability, 1 / (1 − probability) otherwise (Srivastava et al. 2014, inverted). One stream a seed, so that
    /// nets of one seed and rate lose the same values.
    fn factors(&self, rows: usize, step: u64) -> Vec<Vec<f32>> {
        if self.dropout.is_empty() {
            return Vec::new();
        }
        (0_u64..)
            .zip(&self.dropout_widths)
            .map(|(place, width)| {
                (self.of_lane.iter().zip(&self.dropout))
                    .flat_map(|(order, share)| {
                        let (phase, seed, _) = &self.orders[*order];
                        let mut generator = random::generator(phase.dropout(), &[*seed, step, place]);
                        let kept = (1.0 / (1.0 - share)) as f32;
                        (0..rows * width)
                            .map(|_| if generator.random::<f64>() < *share { 0.0 } else { kept })
                            .collect::<Vec<f32>>()
                    })
                    .collect()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::train::tests::{lane, mlp, sgd, training};

    proptest! {
        /// Every row once an epoch; no batch larger than asked for, none smaller than another by more than a row, and none that
        /// could be spared.
        #[test]
        fn rows_are_dealt_evenly(rows in 1_usize..400, batch_size in 1_u32..120) {
            let model = mlp(2, &[3]);
            let lanes = [lane(&model, 5, training(sgd(0.1), batch_size, 1))];
            let mut batches = Batches::new(&lanes, rows, &Net::of(&model));
            batches.shuffle(1);
            let dealt: Vec<Vec<i32>> = (0..batches.per_epoch()).map(|place| batches.batch(place, 0).rows).collect();
            let sizes = || dealt.iter().map(Vec::len);
            let (smallest, largest) = (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0));
            prop_assert!(largest <= batch_size as usize && largest - smallest <= 1);
            prop_assert!((dealt.len() - 1) * (batch_size as usize) < rows);
            let mut all = dealt.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..i32::try_from(rows).expect("few")).collect::<Vec<_>>());
        }
    }
}
