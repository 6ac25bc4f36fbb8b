//! The sequence of Sobol (1967): points that fill a cube evenly. The direction numbers are those of Joe & Kuo (2008), file
//! `new-joe-kuo-6.21201`. The seed shifts each dimension by random bits (a digital shift), which leaves the points as even.

use super::{bits, unit};

/// Bits of a number of the sequence.
const BITS: usize = 32;

/// Of each dimension but the first: the degree and the inner coefficients of its primitive polynomial, and its first direction numbers.
const DIRECTIONS: [(usize, u32, &[u32]); 20] = [
    (1, 0, &[1]),
    (2, 1, &[1, 3]),
    (3, 1, &[1, 3, 1]),
    (3, 2, &[1, 1, 1]),
    (4, 1, &[1, 1, 3, 3]),
    (4, 4, &[1, 3, 5, 13]),
    (5, 2, &[1, 1, 5, 5, 17]),
    (5, 4, &[1, 1, 5, 5, 5]),
    (5, 7, &[1, 1, 7, 11, 19]),
    (5, 11, &[1, 1, 5, 1, 1]),
    (5, 13, &[1, 1, 1, 3, 11]),
    (5, 14, &[1, 3, 5, 5, 31]),
    (6, 1, &[1, 3, 3, 9, 7, 49]),
    (6, 13, &[1, 1, 1, 15, 21, 21]),
    (6, 16, &[1, 3, 1, 13, 27, 49]),
    (6, 19, &[1, 1, 1, 15, 7, 5]),
    (6, 22, &[1, 3, 1, 15, 13, 25]),
    (6, 25, &[1, 1, 5, 5, 19, 61]),
    (7, 1, &[1, 3, 7, 11, 23, 15, 103]),
    (7, 4, &[1, 3, 7, 13, 13, 15, 69]),
];

/// The most settings that a Sobol sequence can vary.
pub(crate) const DIMENSIONS: usize = DIRECTIONS.len() + 1;

/// The direction numbers of a dimension, the highest bit first.
fn directions(dimension: usize) -> [u32; BITS] {
    let mut directions = [0; BITS];
    let Some((degree, coefficients, first)) = dimension.checked_sub(1).map(|row| DIRECTIONS[row]) else {
        return std::array::from_fn(|bit| 1 << (BITS - 1 - bit));
    };
    for bit in 0..BITS {
        directions[bit] = if bit < degree {
            first[bit] << (BITS - 1 - bit)
        } else {
            let before = directions[bit - degree];
            let inner = (1..degree).filter(|place| coefficients >> (degree - 1 - place) & 1 == 1);
            inner.fold(before ^ (before >> degree), |sum, place| sum ^ directions[bit - place])
        };
    }
    directions
}

/// The number at a position of a dimension, in the order of Antonov & Saleev (1979).
fn number(position: u64, dimension: usize) -> u32 {
    let gray = position ^ (position >> 1);
    let directions = directions(dimension);
    (0..BITS).filter(|bit| gray >> bit & 1 == 1).fold(0, |sum, bit| sum ^ directions[bit])
}

/// The share of its range that a setting has in a draw.
pub(super) fn share(seed: u64, draw: u64, dimension: usize, path: &str) -> f64 {
    let shift = bits("sobol search", seed, 0, path);
    unit((u64::from(number(draw, dimension)) << 32) ^ shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first ten points in three dimensions as the authors print them (`sobol.cc` of Joe & Kuo with N = 10, D = 3).
    #[test]
    fn the_first_points_are_those_of_joe_and_kuo() {
        let expected = [
            [0.0, 0.0, 0.0],
            [0.5, 0.5, 0.5],
            [0.75, 0.25, 0.25],
            [0.25, 0.75, 0.75],
            [0.375, 0.375, 0.625],
            [0.875, 0.875, 0.125],
            [0.625, 0.125, 0.875],
            [0.125, 0.625, 0.375],
            [0.1875, 0.3125, 0.9375],
            [0.6875, 0.8125, 0.4375],
        ];
        for (position, point) in (0..).zip(expected) {
            let found = [0, 1, 2].map(|dimension| f64::from(number(position, dimension)) / 2_f64.powi(32));
            assert_eq!(found, point, "{position}");
        }
    }

    /// Of the first 2ᵏ points each dimension has exactly one in every interval of length 2⁻ᵏ, shifted or not.
    #[test]
    fn every_dimension_is_even_with_any_seed() {
        for dimension in 0..DIMENSIONS {
            for seed in [0, 1, 7] {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 256")]
                let mut intervals: Vec<u32> =
                    (0..256).map(|draw| (share(seed, draw, dimension, "a.setting") * 256.0) as u32).collect();
                intervals.sort_unstable();
                assert!(intervals.into_iter().eq(0..256), "dimension {dimension}, seed {seed}");
            }
        }
    }
}
