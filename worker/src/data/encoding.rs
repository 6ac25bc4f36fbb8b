//! How one column becomes features: fitted on train rows, applied to any row. Knows nothing of tables or files.
//!
//! **Numeric.** A missing value becomes the train median, and a flag says so if any train value is missing; each code for why it is
//! missing has a flag of its own. By the scaling `auto` a heavy-tailed column goes through sign(x) · ln(1 + |x|), by `log` every one, by
//! `quantile` a value becomes the share of smaller train values; then it is standardised by the mean and the population standard
//! deviation of the (imputed, transformed) train values.
//!
//! **Categorical.** One feature of 0 or 1 for each level that holds at least 1 % of the train rows; one for the rarer levels
//! together, and for whatever no train row has; one for a missing value if a train row has it. An unseen value is all zeros
//! where no level is rare.

use serde::{Deserialize, Serialize};

use secateur_proto::spec::{ColumnReading, Scaling};

use super::values::{Levels, Numbers, Values};

/// A level has a feature of its own if it holds at least one in so many train rows.
pub const ROWS_PER_LEVEL: usize = 100;

/// Stands for the value of a column of which every level is rare.
pub const RARE: &str = "(rare)";

/// A column is heavy-tailed if some train value is farther from the median than so many interquartile ranges. Of a billion
/// normal values the farthest is at 4.5; of a thousand exponential ones it is at 6, and of lognormal ones far beyond.
pub const HEAVY_TAIL: f64 = 5.0;

/// The number of quantiles of the train values that scaling by quantiles interpolates between.
const QUANTILES: usize = 257;

/// The farthest that a standardised value may be from 0. No train value of n comes as far as √n standard deviations
/// (Samuelson 1968), and no table has 2³² rows: this only keeps an absurd value of a new row finite.
pub const FARTHEST: f64 = 65_536.0;

/// How one column becomes features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Encoding {
    /// A number: its standardised value, then the flags of the codes, then the missing flag.
    Numeric(Numeric),
    /// One of several texts: the levels in their order, then the pooled levels, then missing.
    Categorical(Categorical),
    /// Nothing to learn from: every train row has the same value, or every level is rare. No feature.
    Constant {
        /// That value, or [`RARE`].
        value: String,
    },
}

/// How a numeric column becomes features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numeric {
    /// Median of the train values, which stands in for a missing one.
    pub median: f64,
    /// Whether there is a feature that is 1 where the value is missing, and no code says why.
    pub missing_flag: bool,
    /// The codes for a missing value that some train row has: a feature each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
    /// Whether the value goes through sign(x) · ln(1 + |x|).
    pub signed_log1p: bool,
    /// Quantiles of the train values at equal distances from the smallest to the largest, where a value becomes the share of smaller ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<f64>,
    /// Nothing if all train values are equal: then the flag is the only feature.
    pub scale: Option<Scale>,
    /// The least and the greatest train value. Decides nothing; it tells which new values are out of the ordinary. `None` in files of
    /// format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
}

/// What a value is standardised by: (value − mean) / sd.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// Mean of the train rows.
    pub mean: f64,
    /// Population standard deviation of the train rows.
    pub sd: f64,
}

/// How a categorical column becomes features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Categorical {
    /// Levels with a feature of their own, sorted.
    pub levels: Vec<String>,
    /// How many rarer levels of train share one feature. They are not named: a level of one row may be a person.
    pub pooled: usize,
    /// Whether missing values have a feature.
    pub missing: bool,
}

/// Why a column cannot be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// No row has a value.
    AllMissing,
    /// No train row has one.
    AllMissingInTrain,
}

impl Encoding {
    /// Fits the encoding of a column on its train rows.
    pub(super) fn fit(values: &Values<'_>, reading: &ColumnReading, train: &[u32]) -> Result<Self, Unfit> {
        match values {
            Values::Numbers(numbers) => fit_numeric(numbers, reading, train),
            Values::Levels(levels) => fit_categorical(levels, train),
        }
    }

    /// Features it makes.
    #[must_use]
    pub fn width(&self) -> usize {
        match self {
            Self::Numeric(numeric) => {
                usize::from(numeric.scale.is_some()) + numeric.codes.len() + usize::from(numeric.missing_flag)
            }
            Self::Categorical(categorical) => {
                categorical.levels.len() + usize::from(categorical.pooled > 0) + usize::from(categorical.missing)
            }
            Self::Constant { .. } => 0,
        }
    }

    /// The names of its features, for people; two columns may in theory make the same one.
    #[must_use]
    pub fn features(&self, column: &str) -> Vec<String> {
        let (value, pooled, missing) = match self {
            Self::Numeric(numeric) => (numeric.scale.is_some(), false, numeric.missing_flag),
            Self::Categorical(categorical) => (false, categorical.pooled > 0, categorical.missing),
            Self::Constant { .. } => (false, false, false),
        };
        let levels = if let Self::Categorical(categorical) = self { categorical.levels.as_slice() } else { &[] };
        let codes = if let Self::Numeric(numeric) = self { numeric.codes.as_slice() } else { &[] };
        let mut names: Vec<String> = levels.iter().map(|level| format!("{column}={level}")).collect();
        names.extend(value.then(|| column.to_owned()));
        names.extend(codes.iter().map(|code| format!("{column} ({code})")));
        names.extend(pooled.then(|| format!("{column} {RARE}")));
        names.extend(missing.then(|| format!("{column} (missing)")));
        names
    }

    /// Says what a file may not say.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Numeric(Numeric { median, scale, missing_flag, codes, signed_log1p, quantiles, range }) => {
                if range.is_some_and(|[low, high]| !low.is_finite() || !high.is_finite() || low > high) {
                    return Err("an invalid range of train values");
                }
                let usable = |scale: &Scale| scale.mean.is_finite() && scale.sd.is_finite() && scale.sd > 0.0;
                if !median.is_finite() || !scale.as_ref().is_none_or(usable) {
                    return Err("a median, mean or standard deviation that is not a usable number");
                }
                let are_usable =
                    quantiles.len() != 1 && quantiles.is_sorted() && quantiles.iter().all(|at| at.is_finite());
                if !are_usable || (*signed_log1p && !quantiles.is_empty()) {
                    return Err("quantiles that are not sorted, or a logarithm beside them");
                }
                if scale.is_none() && !missing_flag && codes.is_empty() {
                    Err("a numeric column without features")
                } else {
                    Ok(())
                }
            }
            Self::Categorical(Categorical { levels, .. }) => {
                if levels.is_sorted_by(|a, b| a < b) {
                    Ok(())
                } else {
                    Err("levels that are not sorted or repeated")
                }
            }
            Self::Constant { .. } => Ok(()),
        }
    }
}

impl Numeric {
    /// Writes the features of one value, or of a missing one with the flag of its code. `out` has the width of the encoding.
    pub(super) fn write(&self, value: Option<f64>, code: Option<usize>, out: &mut [f32]) {
        if let Some(Scale { mean, sd }) = self.scale {
            let value = value.unwrap_or(self.median);
            let value = if self.quantiles.is_empty() {
                logged(value, self.signed_log1p)
            } else {
                share(&self.quantiles, value)
            };
            // A subtraction or division that overflows is beyond the bound as well, so nothing infinite is left.
            out[0] = ((value - mean) / sd).clamp(-FARTHEST, FARTHEST) as f32;
        }
        if let Some(code) = code {
            out[usize::from(self.scale.is_some()) + code] = 1.0;
        } else if let (true, Some(flag)) = (self.missing_flag, out.last_mut()) {
            *flag = if value.is_none() { 1.0 } else { 0.0 };
        }
    }
}

impl Categorical {
    /// Which feature is 1 for a level, or for a missing value; nothing means all zeros.
    pub(crate) fn slot(&self, level: Option<&str>) -> Option<usize> {
        let pooled = (self.pooled > 0).then_some(self.levels.len());
        let missing = self.missing.then_some(self.levels.len() + usize::from(self.pooled > 0));
        match level {
            None => missing.or(pooled),
            Some(level) => self.levels.binary_search_by(|known| known.as_str().cmp(level)).ok().or(pooled),
        }
    }
}

/// The share of values below `value`, by quantiles at equal distances. Equal ones stand for their middle.
fn share(quantiles: &[f64], value: f64) -> f64 {
    let (below, up_to) = (quantiles.partition_point(|at| *at < value), quantiles.partition_point(|at| *at <= value));
    let last = quantiles.len() - 1;
    let at = if below < up_to {
        (below + up_to - 1) as f64 / 2.0
    } else if below == 0 || below > last {
        below.min(last) as f64
    } else {
        let (low, high) = (quantiles[below - 1], quantiles[below]);
        // Halved before they are subtracted, so that huge values do not overflow.
        (below - 1) as f64 + (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0)
    };
    at / last as f64
}

fn logged(value: f64, signed_log1p: bool) -> f64 {
    if signed_log1p { value.abs().ln_1p().copysign(value) } else { value }
}

fn fit_numeric(numbers: &Numbers, reading: &ColumnReading, train: &[u32]) -> Result<Encoding, Unfit> {
    let codes = reading.codes.as_deref().unwrap_or_default();
    let code_of = |row: u32| numbers.codes.get(row as usize).copied().flatten();
    let is_used = |code: usize| train.iter().any(|&row| code_of(row).map(usize::from) == Some(code));
    let used: Vec<String> = (0..codes.len()).filter(|code| is_used(*code)).map(|code| codes[code].clone()).collect();
    let missing_flag = train.iter().any(|&row| numbers.values[row as usize].is_none() && code_of(row).is_none());
    let numbers = &numbers.values;
    let mut sorted: Vec<f64> = train.iter().filter_map(|&row| numbers[row as usize]).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let (Some(&lowest), Some(&highest)) = (sorted.first(), sorted.last()) else {
        let everywhere = numbers.iter().all(Option::is_none);
        return Err(if everywhere { Unfit::AllMissing } else { Unfit::AllMissingInTrain });
    };
    let median = quantile(&sorted, 0.5);
    let has_flag = missing_flag || !used.is_empty();
    let encoding = |signed_log1p, quantiles, scale| {
        let codes = used.clone();
        let range = Some([lowest, highest]);
        Encoding::Numeric(Numeric { median, missing_flag, codes, signed_log1p, quantiles, scale, range })
    };
    let constant = || match has_flag {
        true => encoding(false, Vec::new(), None),
        false => Encoding::Constant { value: lowest.to_string() },
    };
    if lowest == highest {
        return Ok(constant());
    }
    let scale = |transformed: &dyn Fn(f64) -> f64| {
        let values = || train.iter().map(|&row| transformed(numbers[row as usize].unwrap_or(median)));
        let rows = train.len() as f64;
        let mean = values().sum::<f64>() / rows;
        let sd = (values().map(|value| (value - mean).powi(2)).sum::<f64>() / rows).sqrt();
        Scale { mean, sd }
    };
    if reading.scaling == Some(Scaling::Quantile) {
        let quantiles: Vec<f64> =
            (0..QUANTILES).map(|at| quantile(&sorted, at as f64 / (QUANTILES - 1) as f64)).collect();
        let scale = scale(&|value| share(&quantiles, value));
        return Ok(if scale.sd > 0.0 { encoding(false, quantiles, Some(scale)) } else { constant() });
    }
    let range = quantile(&sorted, 0.75) - quantile(&sorted, 0.25);
    let farthest = (highest - median).max(median - lowest);
    let heavy = farthest > HEAVY_TAIL * range;
    let is_logged = match reading.scaling.unwrap_or(Scaling::Auto) {
        Scaling::Log => true,
        Scaling::Standard => false,
        Scaling::Auto | Scaling::Quantile => heavy,
    };
    let scale = |is_logged| scale(&|value| logged(value, is_logged));
    let mut fitted = (is_logged, scale(is_logged));
    // Sums of huge values overflow; those of their logarithms do not.
    if !fitted.1.sd.is_finite() {
        fitted = (true, scale(true));
    }
    // Values may differ by so little that their variance is zero in double precision.
    Ok(if fitted.1.sd > 0.0 { encoding(fitted.0, Vec::new(), Some(fitted.1)) } else { constant() })
}

/// Between the two nearest of the sorted values, in proportion (Hyndman & Fan 1996, type 7).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() - 1) as f64 * share;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    let weight = at - at.floor();
    // Weighted before they are added, so that huge values do not overflow.
    if weight == 0.0 { below } else { below * (1.0 - weight) + above * weight }
}

fn fit_categorical(levels: &Levels<'_>, train: &[u32]) -> Result<Encoding, Unfit> {
    let mut rows_of = vec![0_usize; levels.names.len()];
    let mut missing = 0;
    for &row in train {
        match levels.of_rows[row as usize] {
            Some(level) => rows_of[level as usize] += 1,
            None => missing += 1,
        }
    }
    if missing == train.len() {
        let everywhere = levels.names.is_empty();
        return Err(if everywhere { Unfit::AllMissing } else { Unfit::AllMissingInTrain });
    }
    let mut own = Vec::new();
    let mut pooled = 0;
    for (name, rows) in levels.names.iter().zip(rows_of).filter(|(_, rows)| *rows > 0) {
        if rows.saturating_mul(ROWS_PER_LEVEL) >= train.len() {
            own.push((*name).to_owned());
        } else {
            pooled += 1;
        }
    }
    own.sort_unstable();
    // A single feature would be 1 in every train row.
    if own.len() + usize::from(pooled > 0) + usize::from(missing > 0) == 1 {
        return Ok(Encoding::Constant { value: own.pop().unwrap_or_else(|| RARE.to_owned()) });
    }
    Ok(Encoding::Categorical(Categorical { levels: own, pooled, missing: missing > 0 }))
}
