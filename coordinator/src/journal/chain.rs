//! Checksums: that of each line covers its entry and the checksum before it. So altered, lost and moved lines are
//! detected.
//!
//! Pure: it knows lines, but no databases and no meaning of entries.

use super::Damage;

/// Bytes of a checksum.
const LENGTH: usize = 32;

/// A stored line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1, without gaps.
    pub sequence: i64,
    /// The entry as it was found, which may not be text.
    pub entry: Vec<u8>,
    /// BLAKE3 of the previous checksum and the entry.
    pub checksum: Vec<u8>,
}

impl Line {
    /// Whether it stands for removed lines: it has only the checksum of the last one, which the next line's checksum
    /// covers. A first line has no checksum before it.
    fn is_base(&self) -> bool {
        self.sequence > 1 && self.entry.is_empty() && self.checksum.len() == LENGTH
    }
}

/// The end of a journal, where lines are appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    sequence: i64,
    checksum: Vec<u8>,
}

impl Default for Chain {
    /// The end of an empty journal.
    fn default() -> Self {
        Self { sequence: 0, checksum: vec![0; LENGTH] }
    }
}

impl Chain {
    /// The sequence number of the next line.
    pub(super) const fn next(&self) -> i64 {
        self.sequence + 1
    }

    /// The end after `line`.
    #[must_use]
    pub fn at(line: &Line) -> Self {
        Self { sequence: line.sequence, checksum: line.checksum.clone() }
    }

    fn checksum_of(&self, entry: &[u8]) -> Vec<u8> {
        blake3::Hasher::new().update(&self.checksum).update(entry).finalize().as_bytes().to_vec()
    }

    /// Adds an entry. Returns its sequence number and its checksum.
    pub fn add(&mut self, entry: &[u8]) -> (i64, Vec<u8>) {
        self.sequence += 1;
        self.checksum = self.checksum_of(entry);
        (self.sequence, self.checksum.clone())
    }

    /// Adds an entry that has a sequence number but no checksum.
    pub(super) fn adopt(&mut self, sequence: i64, entry: &[u8]) -> Vec<u8> {
        self.sequence = sequence - 1;
        self.add(entry).1
    }
}

/// Verifies the lines of a journal, in order. Keeps none of them.
#[derive(Debug, Default)]
pub struct Verification {
    /// The chain after the lines so far, or `None` if there were none.
    chain: Option<Chain>,
    shortened: bool,
    damages: Vec<Damage>,
    /// The last line that fits the one before it.
    last_good: Option<i64>,
    good_behind: bool,
}

impl Verification {
    /// Verifies the next line. Returns whether it has an entry: the first may only stand for removed lines.
    pub fn take(&mut self, line: &Line) -> bool {
        if self.chain.is_none() && line.is_base() {
            self.chain = Some(Chain::at(line));
            self.shortened = true;
            return false;
        }
        let chain = self.chain.take().unwrap_or_default();
        let damage = if line.sequence <= chain.sequence {
            // Sequence numbers always increase.
            Some(Damage::Altered { sequence: line.sequence })
        } else if line.sequence != chain.sequence + 1 {
            Some(Damage::Missing { first: chain.sequence + 1, last: line.sequence - 1 })
        } else if chain.checksum_of(&line.entry) != line.checksum {
            Some(Damage::Altered { sequence: line.sequence })
        } else {
            None
        };
        if damage.is_none() {
            self.good_behind |= !self.damages.is_empty();
            self.last_good = Some(line.sequence);
        }
        self.damages.extend(damage);
        self.chain = Some(Chain::at(line));
        true
    }

    /// Whether lines before these were removed.
    #[must_use]
    pub const fn is_shortened(&self) -> bool {
        self.shortened
    }

    /// Whether no damage was found so far.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.damages.is_empty()
    }

    /// Returns all damage in order, and whether it is a torn tail. It is one if no line after the first damage fits the
    /// line before it, as a torn write leaves it. `stopped` is the database's reason if it could not read on. Then the
    /// tail is unknown and not called torn.
    #[must_use]
    pub fn end(mut self, stopped: Option<String>) -> (Vec<Damage>, bool) {
        let is_whole = stopped.is_none();
        if let Some(reason) = stopped {
            let sequence = self.chain.map_or(0, |chain| chain.sequence) + 1;
            self.damages.push(Damage::Stops { sequence, reason });
        }
        // A sequence number that is too small may come before good lines, too.
        let is_last = |first: &Damage| !self.good_behind && self.last_good.is_none_or(|good| good < first.sequence());
        let torn = is_whole && self.damages.first().is_some_and(is_last);
        (self.damages, torn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(entries: &[&str]) -> Vec<Line> {
        let mut chain = Chain::default();
        let line = |entry: &&str| {
            let (sequence, checksum) = chain.add(entry.as_bytes());
            Line { sequence, entry: entry.as_bytes().to_vec(), checksum }
        };
        entries.iter().map(line).collect()
    }

    fn verified(lines: &[Line], stopped: Option<&str>) -> (Vec<Damage>, bool) {
        let mut verification = Verification::default();
        lines.iter().for_each(|line| _ = verification.take(line));
        verification.end(stopped.map(str::to_owned))
    }

    /// Applies `harm` to six good lines. Returns the damage and whether it is a torn tail.
    fn harmed(harm: impl FnOnce(&mut Vec<Line>)) -> (Vec<Damage>, bool) {
        let mut lines = good(&["a", "b", "c", "d", "e", "f"]);
        harm(&mut lines);
        verified(&lines, None)
    }

    #[test]
    fn checksums_are_chained_blake3() {
        let lines = good(&["a", "b"]);
        let first = blake3::hash(&[&[0; 32][..], b"a"].concat());
        let second = blake3::hash(&[&first.as_bytes()[..], b"b"].concat());
        assert_eq!(
            [&lines[0].checksum, &lines[1].checksum],
            [first.as_bytes(), second.as_bytes()].map(<[u8; 32]>::as_slice)
        );
    }

    #[test]
    fn whatever_is_done_to_a_line_is_noticed() {
        let altered = |sequence| Damage::Altered { sequence };
        assert_eq!(harmed(|_| {}), (vec![], false));
        assert_eq!(harmed(|lines| lines[2].entry[0] ^= 1), (vec![altered(3)], false));
        assert_eq!(harmed(|lines| lines[2].checksum[31] ^= 1), (vec![altered(3), altered(4)], false));
        assert_eq!(harmed(|lines| lines[0].entry.clear()), (vec![altered(1)], false));
        assert_eq!(harmed(|lines| lines[5].entry.push(b'x')), (vec![altered(6)], true));
        assert_eq!(harmed(|lines| lines[4].checksum.clear()), (vec![altered(5), altered(6)], true));
        let swap = |lines: &mut Vec<Line>| {
            let entry = std::mem::take(&mut lines[1].entry);
            lines[1].entry = std::mem::replace(&mut lines[2].entry, entry);
        };
        assert_eq!(harmed(swap), (vec![altered(2), altered(3)], false));
        let missing = |first, last| Damage::Missing { first, last };
        assert_eq!(harmed(|lines| drop(lines.drain(1..3))), (vec![missing(2, 3)], false));
        assert_eq!(harmed(|lines| drop(lines.remove(0))), (vec![missing(1, 1)], false));
        assert_eq!(harmed(|lines| drop(lines.remove(4))), (vec![missing(5, 5)], true));
        // A page of zeros gives lines impossible sequence numbers.
        assert_eq!(harmed(|lines| lines[0].sequence = 0), (vec![altered(0), missing(1, 1)], false));
        let alone = |lines: &mut Vec<Line>| {
            lines.truncate(1);
            lines[0].sequence = 0;
        };
        assert_eq!(harmed(alone), (vec![altered(0)], true));
        // A number that is too small is not a torn tail, wherever it is.
        assert_eq!(harmed(|lines| lines[5].sequence = 2), (vec![altered(2)], false));
        // A line was lost and the rest renumbered: no gap, but the chain is broken.
        let closed = |lines: &mut Vec<Line>| {
            lines.remove(2);
            (1..).zip(lines).for_each(|(sequence, line)| line.sequence = sequence);
        };
        assert_eq!(harmed(closed), (vec![altered(3)], false));
    }

    #[test]
    fn what_is_left_of_a_journal_is_held_to_the_checksum_before_it() {
        let left = |harm: fn(&mut Vec<Line>)| {
            harmed(|lines| {
                lines.drain(..2);
                lines[0].entry.clear();
                harm(lines);
            })
        };
        assert_eq!(left(|_| {}), (vec![], false));
        assert_eq!(left(|lines| lines[1].entry[0] ^= 1), (vec![Damage::Altered { sequence: 4 }], false));
        assert_eq!(left(|lines| lines[0].checksum[0] ^= 1), (vec![Damage::Altered { sequence: 4 }], false));
        assert_eq!(left(|lines| drop(lines.remove(1))), (vec![Damage::Missing { first: 4, last: 4 }], false));
        let (without, lost) = left(|lines| drop(lines.remove(0)));
        assert_eq!((without, lost), (vec![Damage::Missing { first: 1, last: 3 }], false));
        // A second base, or one that is not the first line, is damage.
        assert_eq!(left(|lines| lines[1].entry.clear()), (vec![Damage::Altered { sequence: 4 }], false));
    }

    #[test]
    fn nobody_knows_what_is_behind_the_place_where_a_database_stops() {
        let stops = vec![Damage::Stops { sequence: 3, reason: "malformed".to_owned() }];
        assert_eq!(verified(&good(&["a", "b"]), Some("malformed")), (stops, false));
    }
}
