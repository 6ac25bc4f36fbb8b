//! Gradient boosting on histograms: each tree is a Newton step on the log loss, grown leaf by leaf where the loss falls most
//! (Friedman 2001; Ke et al. 2017). Quantiles, gains and leaf values are those of scikit-learn's `HistGradientBoostingClassifier`.

use secateur_proto::spec::BoostingSpec;
use serde::Serialize;

use super::{Diverged, Rows, binning::Binned, log_loss, sigmoid};

/// The least sum of second derivatives of a leaf: rows whose class is certain give no step of a defined size.
const MIN_HESSIAN: f64 = 1e-3;

/// Boosted trees.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Boosting {
    /// The log-odds before the first tree: those of the weighted train rows.
    pub initial: f64,
    /// What each adds to the log-odds.
    pub trees: Vec<Tree>,
}

/// A tree: its nodes, the root first, parents before children.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tree(pub Vec<Node>);

/// A node of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Node {
    /// Which way a row goes.
    Split {
        /// The input.
        feature: u32,
        /// Rows with at most this value go left, all others right.
        threshold: f32,
        /// The index of that node.
        left: u32,
        /// The index of that node.
        right: u32,
    },
    /// What the tree adds to the log-odds of rows that come here.
    Leaf(f64),
}

impl Tree {
    fn value(&self, inputs: &[f32]) -> f64 {
        let mut node = 0;
        loop {
            match self.0[node as usize] {
                Node::Leaf(value) => return value,
                Node::Split { feature, threshold, left, right } => {
                    node = if inputs[feature as usize] <= threshold { left } else { right };
                }
            }
        }
    }
}

impl Boosting {
    /// Boosts trees on `train` until the log loss of `validation` no longer falls, and keeps those up to its lowest.
    ///
    /// # Errors
    /// If the log-odds of a row are no longer finite.
    pub fn fit(spec: BoostingSpec, train: Rows<'_>, validation: Rows<'_>, weights: [f64; 2]) -> Result<Self, Diverged> {
        let binned = Binned::of(train, spec.bins as usize);
        let of_class = |class: f64| train.weighted(weights).filter(|row| row.1 == class).map(|row| row.2).sum::<f64>();
        let initial = libm::log(of_class(1.0) / of_class(0.0));
        if !initial.is_finite() {
            return Err(Diverged { step: 0 });
        }
        let mut grower = Grower::new(spec, &binned, train.len());
        let mut logits = vec![initial; train.len()];
        let mut validated = vec![initial; validation.len()];
        let mut trees = Vec::new();
        let (mut best, mut lowest) = (0, mean_loss(validation, weights, &validated));
        for _ in 0..spec.trees {
            let diverged = Diverged { step: trees.len() as u64 + 1 };
            let tree = grower.grow(train, weights, &mut logits);
            for (logit, inputs) in validated.iter_mut().zip(validation.iter()) {
                *logit += tree.value(inputs);
            }
            trees.push(tree);
            let loss = mean_loss(validation, weights, &validated);
            if !loss.is_finite() || !logits.iter().all(|logit| logit.is_finite()) {
                return Err(diverged);
            }
            if loss < lowest {
                (best, lowest) = (trees.len(), loss);
            } else if trees.len() - best >= spec.patience as usize {
                break;
            }
        }
        trees.truncate(best);
        Ok(Self { initial, trees })
    }

    /// The log-odds of a row.
    #[must_use]
    pub fn logit(&self, inputs: &[f32]) -> f64 {
        self.trees.iter().fold(self.initial, |sum, tree| sum + tree.value(inputs))
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.trees.iter().flat_map(|tree| &tree.0)
    }

    /// Leaves and splits of all trees.
    pub(super) fn counts(&self) -> [u64; 2] {
        let leaves = self.nodes().filter(|node| matches!(node, Node::Leaf(_))).count();
        [leaves as u64, (self.nodes().count() - leaves) as u64]
    }

    /// Leaves that add nothing.
    pub(super) fn zeros(&self) -> u64 {
        self.nodes().filter(|node| matches!(node, Node::Leaf(0.0))).count() as u64
    }
}

fn mean_loss(rows: Rows<'_>, weights: [f64; 2], logits: &[f64]) -> f64 {
    let losses = rows.weighted(weights).zip(logits);
    let (sum, of_weights) = losses.fold((0.0, 0.0), |(sum, of_weights), ((_, target, weight), logit)| {
        (sum + weight * log_loss(*logit, target), of_weights + weight)
    });
    sum / of_weights
}

/// The derivatives of the loss, and rows: of a bin, a leaf, or what lies left of a threshold.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    gradient: f64,
    hessian: f64,
    rows: u32,
}

impl Sums {
    fn plus(self, other: Self) -> Self {
        Self {
            gradient: self.gradient + other.gradient,
            hessian: self.hessian + other.hessian,
            rows: self.rows + other.rows,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            gradient: self.gradient - other.gradient,
            hessian: self.hessian - other.hessian,
            rows: self.rows - other.rows,
        }
    }

    /// Twice by how much the best value of a leaf lowers the loss, to the second order.
    fn gain(self, l2: f64) -> f64 {
        self.gradient * self.gradient / (self.hessian + l2)
    }
}

/// The best split of a leaf.
#[derive(Debug, Clone, Copy)]
struct Split {
    gain: f64,
    /// An index of the binned inputs.
    feature: usize,
    /// The last bin that goes left.
    bin: usize,
    left: Sums,
}

/// A leaf that may be split further.
struct Leaf {
    /// The index of its node.
    node: usize,
    /// Its part of the grower's rows.
    begin: usize,
    end: usize,
    sums: Sums,
    histogram: Vec<Sums>,
    split: Option<Split>,
}

/// Grows one tree after another on the same rows.
struct Grower<'a> {
    spec: BoostingSpec,
    binned: &'a Binned,
    /// Where the bins of each input begin in a histogram.
    offsets: Vec<usize>,
    /// The length of a histogram.
    bins: usize,
    /// First and second derivative of the loss of each row.
    derivatives: Vec<[f64; 2]>,
    /// All rows, ordered by leaf; in each leaf ascending.
    order: Vec<u32>,
    /// Those that go right, while a leaf is split.
    right: Vec<u32>,
}

impl<'a> Grower<'a> {
    fn new(spec: BoostingSpec, binned: &'a Binned, rows: usize) -> Self {
        let mut bins = 0;
        let offsets = (binned.thresholds.iter())
            .map(|thresholds| {
                bins += thresholds.len() + 1;
                bins - thresholds.len() - 1
            })
            .collect();
        Self {
            spec,
            binned,
            offsets,
            bins,
            derivatives: vec![[0.0; 2]; rows],
            order: Vec::with_capacity(rows),
            right: Vec::new(),
        }
    }

    /// The next tree, which is added to the log-odds of the train rows.
    fn grow(&mut self, rows: Rows<'_>, weights: [f64; 2], logits: &mut [f64]) -> Tree {
        let mut sums = Sums::default();
        for ((derivatives, logit), (_, target, weight)) in
            self.derivatives.iter_mut().zip(logits.iter()).zip(rows.weighted(weights))
        {
            let probability = sigmoid(*logit);
            *derivatives = [weight * (probability - target), weight * probability * (1.0 - probability)];
            sums = sums.plus(Sums { gradient: derivatives[0], hessian: derivatives[1], rows: 1 });
        }
        self.order.clear();
        self.order.extend(0..sums.rows);
        let mut nodes = vec![Node::Leaf(0.0)];
        let mut leaves = vec![self.leaf(0, [0, rows.len()], sums, None)];
        while leaves.len() < self.spec.leaves as usize {
            // Of equal gains the leaf that was made first.
            let best = (leaves.iter().enumerate())
                .filter_map(|(place, leaf)| Some((place, leaf.split?)))
                .reduce(|best, other| if other.1.gain > best.1.gain { other } else { best });
            let Some((place, split)) = best else { break };
            let parent = leaves.swap_remove(place);
            let [left, right] = [nodes.len(), nodes.len() + 1];
            nodes.extend([Node::Leaf(0.0); 2]);
            nodes[parent.node] = self.split_node(split, [left, right]);
            leaves.extend(self.children(parent, split, [left, right]));
            // So that the order is that in which leaves were made, whatever was removed.
            leaves.sort_unstable_by_key(|leaf| leaf.node);
        }
        for leaf in &leaves {
            let value = self.value(leaf.sums);
            nodes[leaf.node] = Node::Leaf(value);
            for row in &self.order[leaf.begin..leaf.end] {
                logits[*row as usize] += value;
            }
        }
        Tree(nodes)
    }

    /// What a leaf with these sums adds to the log-odds.
    fn value(&self, sums: Sums) -> f64 {
        if sums.hessian < MIN_HESSIAN {
            return 0.0;
        }
        -self.spec.learning_rate * sums.gradient / (sums.hessian + self.spec.l2)
    }

    fn split_node(&self, split: Split, [left, right]: [usize; 2]) -> Node {
        let narrow = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
        Node::Split {
            feature: narrow(self.binned.features[split.feature]),
            threshold: self.binned.thresholds[split.feature][split.bin],
            left: narrow(left),
            right: narrow(right),
        }
    }

    /// The bin of a row's input.
    fn bin(&self, row: u32, feature: usize) -> usize {
        self.binned.bins[row as usize * self.offsets.len() + feature].into()
    }

    /// Both children of a leaf. The histogram of the smaller one is summed, that of the other one is what is left of the parent's.
    fn children(&mut self, parent: Leaf, split: Split, [left, right]: [usize; 2]) -> [Leaf; 2] {
        let Leaf { begin, end, sums, mut histogram, .. } = parent;
        let mut rights = std::mem::take(&mut self.right);
        rights.clear();
        let mut middle = begin;
        for place in begin..end {
            let row = self.order[place];
            if self.bin(row, split.feature) <= split.bin {
                self.order[middle] = row;
                middle += 1;
            } else {
                rights.push(row);
            }
        }
        self.order[middle..end].copy_from_slice(&rights);
        self.right = rights;
        let is_left_smaller = middle - begin <= end - middle;
        let smaller = self.histogram(if is_left_smaller { [begin, middle] } else { [middle, end] });
        histogram.iter_mut().zip(&smaller).for_each(|(bin, other)| *bin = bin.minus(*other));
        let (of_left, of_right) = if is_left_smaller { (smaller, histogram) } else { (histogram, smaller) };
        [
            self.leaf(left, [begin, middle], split.left, Some(of_left)),
            self.leaf(right, [middle, end], sums.minus(split.left), Some(of_right)),
        ]
    }

    fn leaf(&self, node: usize, [begin, end]: [usize; 2], sums: Sums, histogram: Option<Vec<Sums>>) -> Leaf {
        let histogram = histogram.unwrap_or_else(|| self.histogram([begin, end]));
        let split = self.best_split(&histogram, sums);
        // A leaf that cannot be split has no children to make histograms for.
        let histogram = if split.is_some() { histogram } else { Vec::new() };
        Leaf { node, begin, end, sums, histogram, split }
    }

    fn histogram(&self, [begin, end]: [usize; 2]) -> Vec<Sums> {
        let mut histogram = vec![Sums::default(); self.bins];
        let features = self.offsets.len();
        for row in &self.order[begin..end] {
            let [gradient, hessian] = self.derivatives[*row as usize];
            let bins = &self.binned.bins[*row as usize * features..][..features];
            for (offset, bin) in self.offsets.iter().zip(bins) {
                let sums = &mut histogram[offset + usize::from(*bin)];
                sums.gradient += gradient;
                sums.hessian += hessian;
                sums.rows += 1;
            }
        }
        histogram
    }

    /// The split that lowers the loss most; of equal ones the first. `None` if none lowers it, or leaves would be too small.
    fn best_split(&self, histogram: &[Sums], sums: Sums) -> Option<Split> {
        let (l2, min_rows) = (self.spec.l2, self.spec.min_rows);
        let fits = |sums: Sums| sums.rows >= min_rows && sums.hessian >= MIN_HESSIAN;
        if sums.rows < min_rows.saturating_mul(2) {
            return None;
        }
        let without = sums.gain(l2);
        let mut best: Option<Split> = None;
        for (feature, (offset, thresholds)) in self.offsets.iter().zip(&self.binned.thresholds).enumerate() {
            let mut left = Sums::default();
            for (bin, of_bin) in histogram[*offset..][..thresholds.len()].iter().enumerate() {
                // Only rounding is in an empty bin.
                if of_bin.rows == 0 {
                    continue;
                }
                left = left.plus(*of_bin);
                let right = sums.minus(left);
                if !fits(left) {
                    continue;
                }
                if !fits(right) {
                    break;
                }
                let gain = left.gain(l2) + right.gain(l2) - without;
                if gain > best.map_or(0.0, |best| best.gain) {
                    best = Some(Split { gain, feature, bin, left });
                }
            }
        }
        best
    }
}
