//! The order of rows of each lane, and the dropped values: decided by its seed and phase, independent of other lanes.

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
    /// The order that each lane follows.
    of_lane: Vec<usize>,
    batch_size: usize,
    rows: usize,
    /// The dropout share of each lane; empty if nothing is dropped.
    dropout: Vec<f64>,
    dropout_widths: Vec<usize>,
}

impl Batches {
    /// The batches of `lanes` over `rows` train rows.
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

    /// Steps in an epoch: the fewest batches that do not exceed the batch size.
    #[must_use]
    pub const fn per_epoch(&self) -> usize {
        self.rows.div_ceil(self.batch_size)
    }

    /// Shuffles the rows for `epoch`, from 1.
    pub fn shuffle(&mut self, epoch: u32) {
        for (phase, seed, order) in &mut self.orders {
            for (index, row) in (0..).zip(order.iter_mut()) {
                *row = index;
            }
            order.shuffle(&mut random::generator(phase.purpose(), &[*seed, u64::from(epoch)]));
        }
    }

    /// The batch at `place` in the epoch, which is step `step` of the training, from 0.
    #[must_use]
    pub fn batch(&self, place: usize, step: u64) -> Batch {
        // Divided evenly: a remainder would be a smaller batch, and a batch of a single row moves a net as far as a
        // whole one does.
        let start = place * self.rows / self.per_epoch();
        let end = (place + 1) * self.rows / self.per_epoch();
        let rows = self.of_lane.iter().flat_map(|order| self.orders[*order].2[start..end].iter().copied()).collect();
        Batch { rows, dropout: self.factors(end - start, step) }
    }

    /// Zero with the lane's probability, 1 / (1 − probability) otherwise (Srivastava et al. 2014, inverted). One random
    /// stream for each seed, so that nets of one seed and rate drop the same values.
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
        /// Every row once in an epoch. No batch is larger than requested, sizes differ by at most one row, and there
        /// are as few batches as possible.
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
