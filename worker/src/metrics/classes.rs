//! Metrics of the scores of several classes. Knows nothing of nets.

use secateur_proto::metrics::NotMeasurable;

use super::{CALIBRATION_BINS, MetricError, Ranking, ScoreMetrics, Sums};

/// The metrics of `logits` [rows, `classes`], row-major, against `targets`, each the index of a class. Probabilities are
/// their softmax.
///
/// # Errors
/// If there is not one logit for each row and class, a logit is not finite, or a target is not the index of a class.
pub fn of_class_scores(logits: &[f32], targets: &[f32], classes: usize) -> Result<ScoreMetrics, MetricError> {
    if targets.len().checked_mul(classes) != Some(logits.len()) {
        return Err(MetricError::Lengths { logits: logits.len(), targets: targets.len() });
    }
    if classes < 2 {
        return Err(MetricError::Classes { classes });
    }
    let (mut log_loss, mut brier, mut right) = (0.0, 0.0, 0_usize);
    let mut gaps = [0.0; CALIBRATION_BINS];
    let mut log_odds = vec![Vec::with_capacity(targets.len()); classes];
    let mut probabilities = vec![0.0; classes];
    for (row, (logits, &target)) in logits.chunks_exact(classes).zip(targets).enumerate() {
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(MetricError::NotFinite { row });
        }
        let class = target as usize;
        if class >= classes || class as f32 != target {
            return Err(MetricError::Target { row });
        }
        let scores = RowScores::of(logits, &mut probabilities);
        for (index, &logit) in logits.iter().enumerate() {
            let outcome = if index == class { 1.0 } else { 0.0 };
            brier += (probabilities[index] - outcome).powi(2);
            log_odds[index].push(scores.log_odds(index, logit, probabilities[index]));
        }
        log_loss += scores.log_sum - f64::from(logits[class]);
        right += usize::from(scores.top == class);
        let confidence = probabilities[scores.top];
        // The last bin includes its right edge.
        let bin = ((confidence * CALIBRATION_BINS as f64) as usize).min(CALIBRATION_BINS - 1);
        gaps[bin] += confidence - f64::from(u8::from(scores.top == class));
    }
    let (auc, average_precision) = against_the_rest(&log_odds, targets)?;
    let sums = Sums { rows: targets.len(), log_loss, brier, right, gaps };
    Ok(sums.metrics(auc, Err(NotMeasurable::SeveralClasses), average_precision))
}

/// A metric of ranking, or why it has no value.
type Ranked = Result<f64, NotMeasurable>;

/// The means over the classes of the area under the ROC curve and of the average precision of each against all others (macro averages).
fn against_the_rest(log_odds: &[Vec<f32>], targets: &[f32]) -> Result<(Ranked, Ranked), MetricError> {
    let (mut aucs, mut precisions) = (Ok(0.0), Ok(0.0));
    let classes = log_odds.len() as f64;
    for (class, scores) in log_odds.iter().enumerate() {
        let is_class: Vec<f32> = targets.iter().map(|target| f32::from(u8::from(*target as usize == class))).collect();
        let ranking = Ranking::of(scores, &is_class)?;
        let add = |sum: Ranked, of_class: Ranked| Ok(sum? + of_class?);
        aucs = add(aucs, ranking.auc());
        precisions = add(precisions, ranking.average_precision());
    }
    Ok((aucs.map(|sum| sum / classes), precisions.map(|sum| sum / classes)))
}

/// What the logits of one row come to.
struct RowScores {
    /// The class with the highest logit, the first of those that tie.
    top: usize,
    /// ln Σ e^z over all classes.
    log_sum: f64,
    /// ln Σ e^z over all but the top.
    log_sum_of_others: f64,
}

impl RowScores {
    /// Of two or more finite logits. Writes their softmax.
    fn of(logits: &[f32], probabilities: &mut [f64]) -> Self {
        let mut top = 0;
        for (index, logit) in logits.iter().enumerate() {
            if *logit > logits[top] {
                top = index;
            }
        }
        let others = || logits.iter().enumerate().filter(|(index, _)| *index != top).map(|(_, logit)| *logit);
        let highest = f64::from(logits[top]);
        let second = others().fold(f64::NEG_INFINITY, |second, logit| second.max(logit.into()));
        // Relative to the largest of them, so that neither sum can overflow nor vanish.
        let log_sum_of_others = second + others().map(|logit| (f64::from(logit) - second).exp()).sum::<f64>().ln();
        let log_sum = highest + (log_sum_of_others - highest).exp().ln_1p();
        for (probability, logit) in probabilities.iter_mut().zip(logits) {
            *probability = (f64::from(*logit) - log_sum).exp();
        }
        Self { top, log_sum, log_sum_of_others }
    }

    /// ln p / (1 − p): it orders rows as the probability does, and does not saturate where that is 0 or 1.
    fn log_odds(&self, class: usize, logit: f32, probability: f64) -> f32 {
        let log_sum_of_rest =
            if class == self.top { self.log_sum_of_others } else { self.log_sum + (-probability).ln_1p() };
        (f64::from(logit) - log_sum_of_rest).clamp(f32::MIN.into(), f32::MAX.into()) as f32
    }
}
