//! The front of four or more objectives.
//!
//! Distinct points in lexicographic order can be dominated by earlier ones alone, and then by one on the front. The front of the first
//! half is found first; what it dominates of the second half is left out; the front of the rest is found in the same way. Whether a front
//! dominates a point is asked of a k-d tree with the best and the worst corner of each node.

use secateur_proto::metrics::Direction;

use super::{Standing, rank};

/// As many points are compared one with another. Smaller in tests, so that small cases divide.
const FEW: usize = if cfg!(test) { 4 } else { 64 };

/// Points in a leaf of the tree.
const LEAF: usize = if cfg!(test) { 2 } else { 8 };

/// Ranks of points, one point after the other.
struct Points {
    ranks: Vec<i64>,
    dimensions: usize,
}

impl Points {
    fn of(&self, index: usize) -> &[i64] {
        &self.ranks[index * self.dimensions..(index + 1) * self.dimensions]
    }

    /// What decides between two of which the first is earlier in the order: all ranks but the first.
    fn rest(&self, index: usize) -> &[i64] {
        &self.of(index)[1..]
    }
}

fn is_no_worse(one: &[i64], two: &[i64]) -> bool {
    one.iter().zip(two).all(|(one, two)| one <= two)
}

pub(super) fn standings(values: &[f64], directions: &[Direction]) -> Vec<Standing> {
    let dimensions = directions.len();
    let count = values.len() / dimensions;
    let mut points = Points { ranks: vec![0; count * dimensions], dimensions };
    let mut standings = vec![Standing::OnFront; count];
    let slots = points.ranks.chunks_exact_mut(dimensions).zip(values.chunks_exact(dimensions));
    for ((slots, point), standing) in slots.zip(&mut standings) {
        for ((slot, value), direction) in slots.iter_mut().zip(point).zip(directions) {
            match rank(*value, *direction) {
                Some(rank) => *slot = rank,
                None => *standing = Standing::NotANumber,
            }
        }
    }
    let is_number = |index: &usize| standings[*index] == Standing::OnFront;
    let mut order: Vec<usize> = (0..count).filter(is_number).collect();
    order.sort_unstable_by(|one, two| points.of(*one).cmp(points.of(*two)).then(one.cmp(two)));
    // Equal points stand alike: the first of them is asked for all.
    let firsts: Vec<usize> =
        order.chunk_by(|one, two| points.of(*one) == points.of(*two)).map(|equal| equal[0]).collect();
    settle(&points, firsts, &mut standings);
    for equal in order.chunk_by(|one, two| points.of(*one) == points.of(*two)) {
        let standing = standings[equal[0]];
        equal.iter().for_each(|index| standings[*index] = standing);
    }
    standings
}

/// Marks which of these points, distinct and in their order, dominate others of them. Returns those that none dominates.
fn settle(points: &Points, order: Vec<usize>, standings: &mut [Standing]) -> Vec<usize> {
    let mut front = order;
    if front.len() <= FEW {
        let mut kept: Vec<usize> = Vec::with_capacity(front.len());
        for index in front {
            let rest = points.rest(index);
            match kept.iter().find(|other| is_no_worse(points.rest(**other), rest)) {
                Some(other) => standings[index] = Standing::DominatedBy(*other),
                None => kept.push(index),
            }
        }
        return kept;
    }
    let second = front.split_off(front.len() / 2);
    front = settle(points, front, standings);
    let tree = Tree::of(points, front.clone());
    let mut left = Vec::with_capacity(second.len());
    for index in second {
        match tree.no_worse_than(points.rest(index)) {
            Some(dominator) => standings[index] = Standing::DominatedBy(dominator),
            None => left.push(index),
        }
    }
    drop(tree);
    front.extend(settle(points, left, standings));
    front
}

/// A k-d tree over all ranks but the first.
struct Tree<'a> {
    points: &'a Points,
    /// Reordered, so that each node has a range of them.
    indices: Vec<usize>,
    /// In the order of their creation, parents before children.
    nodes: Vec<Node>,
    /// The best and the worst corner of each node, one after the other.
    corners: Vec<i64>,
}

struct Node {
    begin: usize,
    end: usize,
    /// The children; 0 of a leaf, as the root is nobody's child.
    children: [usize; 2],
}

impl<'a> Tree<'a> {
    fn of(points: &'a Points, indices: Vec<usize>) -> Self {
        let mut tree = Self { points, indices, nodes: Vec::new(), corners: Vec::new() };
        tree.add(0, tree.indices.len());
        tree
    }

    fn width(&self) -> usize {
        self.points.dimensions - 1
    }

    fn add(&mut self, begin: usize, end: usize) -> usize {
        let (node, width) = (self.nodes.len(), self.width());
        self.nodes.push(Node { begin, end, children: [0; 2] });
        let mut corners = [vec![i64::MAX; width], vec![i64::MIN; width]];
        for index in &self.indices[begin..end] {
            for (place, rank) in self.points.rest(*index).iter().enumerate() {
                corners[0][place] = corners[0][place].min(*rank);
                corners[1][place] = corners[1][place].max(*rank);
            }
        }
        let spread = |place: &usize| corners[1][*place].abs_diff(corners[0][*place]);
        // Points are distinct, but may be equal in all ranks that the tree knows.
        let widest = (0..width).filter(|place| corners[0][*place] < corners[1][*place]).max_by_key(spread);
        self.corners.extend(corners.concat());
        if let Some(widest) = widest.filter(|_| end - begin > LEAF) {
            let middle = (end - begin) / 2;
            let points = self.points;
            let by_rank = |index: &usize| points.rest(*index)[widest];
            self.indices[begin..end].select_nth_unstable_by_key(middle, by_rank);
            let left = self.add(begin, begin + middle);
            let right = self.add(begin + middle, end);
            self.nodes[node].children = [left, right];
        }
        node
    }

    /// A point with no rank above the one in its place here.
    fn no_worse_than(&self, ranks: &[i64]) -> Option<usize> {
        if self.indices.is_empty() { None } else { self.search(0, ranks) }
    }

    fn search(&self, node: usize, ranks: &[i64]) -> Option<usize> {
        let width = self.width();
        let (best, worst) = self.corners[node * 2 * width..(node + 1) * 2 * width].split_at(width);
        let Node { begin, end, children } = self.nodes[node];
        if !is_no_worse(best, ranks) {
            return None;
        }
        if is_no_worse(worst, ranks) {
            return self.indices[begin..end].first().copied();
        }
        if children == [0; 2] {
            let found = self.indices[begin..end].iter().find(|index| is_no_worse(self.points.rest(**index), ranks));
            return found.copied();
        }
        children.into_iter().find_map(|child| self.search(child, ranks))
    }
}
