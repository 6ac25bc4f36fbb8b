//! Grey values: from bytes to standardised numbers and back. Knows nothing of files, labels or splits.

use super::encoding::Scale;

/// What each byte becomes: ((v / 255) − mean) / sd.
#[derive(Debug, Clone)]
pub(super) struct Pixels {
    scale: Scale,
    values: [f32; 256],
}

impl Pixels {
    /// Nothing if the scale is not one that different bytes stay different and finite under.
    pub(super) fn of(scale: Scale) -> Option<Self> {
        let mut values = [0.0; 256];
        for (byte, value) in (0_u8..=255).zip(&mut values) {
            *value = ((f64::from(byte) / 255.0 - scale.mean) / scale.sd) as f32;
        }
        let usable = values.iter().all(|value| value.is_finite()) && values.is_sorted_by(|a, b| a < b);
        usable.then_some(Self { scale, values })
    }

    /// The mean and the population standard deviation of pixels / 255, from how often each byte occurs. Nothing if all are equal.
    pub(super) fn fit(counts: &[u64; 256]) -> Option<Scale> {
        let total = counts.iter().sum::<u64>() as f64;
        let values = || (0_u8..=255).map(|byte| f64::from(byte) / 255.0).zip(counts.iter().map(|count| *count as f64));
        let mean = values().map(|(value, count)| value * count).sum::<f64>() / total;
        let sd = (values().map(|(value, count)| (value - mean).powi(2) * count).sum::<f64>() / total).sqrt();
        (counts.iter().filter(|count| **count > 0).count() > 1).then_some(Scale { mean, sd })
    }

    /// The number for each byte.
    pub(super) fn standardised(&self, bytes: &[u8]) -> impl Iterator<Item = f32> {
        bytes.iter().map(|byte| self.values[usize::from(*byte)])
    }

    /// The byte that became each number; nothing if a number is not that of a byte.
    pub(super) fn bytes(&self, values: &[f32]) -> Option<Vec<u8>> {
        let byte = |value: &f32| {
            let byte = ((f64::from(*value) * self.scale.sd + self.scale.mean) * 255.0).round() as u8;
            (self.values[usize::from(byte)].to_bits() == value.to_bits()).then_some(byte)
        };
        values.iter().map(byte).collect()
    }
}

/// Names of the pixels of an image of the shape channels, height, width: the columns of its inputs.
pub(super) fn names([channels, height, width]: [u32; 3]) -> impl Iterator<Item = String> {
    let rows = (0..channels).flat_map(move |channel| (0..height).map(move |row| (channel, row)));
    rows.flat_map(move |(channel, row)| (0..width).map(move |column| format!("pixel[{channel},{row},{column}]")))
}
