//! Reads pickles as data, and executes nothing of them.
//!
//! A pickle is a program that builds objects. This reader follows its instructions and understands what state dicts are made of:
//! dictionaries, lists, texts, integers, and PyTorch's tensors, which refer to storages outside of the pickle. Every other object becomes
//! [`Node::Opaque`]: the name of its class and nothing else.

mod torch;

use std::{
    collections::HashMap,
    io::{self, BufRead, Read as _},
};

use safetensors::Dtype;

/// The longest pickle, in bytes. Numbers of tensors stand outside of it.
const LONGEST: u64 = 1 << 28;
/// The most objects of a pickle.
const MOST_NODES: usize = 1 << 22;
/// The longest name of a class that is kept, in characters, and the most dimensions of a tensor.
const LONGEST_NAME: usize = 200;
const MOST_DIMENSIONS: usize = 16;
/// The longest line of a pickle in text form.
const LONGEST_LINE: u64 = 1 << 16;

/// The place of an object among [`Objects`]. Objects refer to each other, so that one that is there twice is one object.
pub(super) type Id = u32;

/// An object.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// `None`, a truth value, a number with decimals, bytes.
    Plain,
    Int(i64),
    Text(String),
    /// Or a tuple.
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or a function by its full name.
    Global(String),
    Storage(Storage),
    Tensor(Tensor),
    /// An object of another class.
    Opaque(String),
}

/// The numbers of tensors, by their name in the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Storage {
    pub(super) key: String,
    /// `None` if it is untyped.
    pub(super) numbers: Option<Numbers>,
    pub(super) count: u64,
}

/// What a tensor's numbers are: a type, or the name of one that is not known here.
pub(super) type Numbers = Result<Dtype, String>;

/// A view into a storage. Offsets and strides count numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tensor {
    pub(super) storage: String,
    pub(super) numbers: Numbers,
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    pub(super) stride: Vec<u64>,
}

/// A pickle that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PickleError {
    /// It ends in the middle, or cannot be read.
    #[error("its pickle ends too early: the file is cut short")]
    Cut,
    /// It says something impossible.
    #[error("its pickle is damaged at byte {0}")]
    Damaged(u64),
    /// It is larger than any checkpoint's.
    #[error("its pickle is larger than that of any state_dict (at most {LONGEST} bytes and {MOST_NODES} objects)")]
    TooLarge,
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
}

/// The objects of a pickle, and the one that it is about.
#[derive(Debug)]
pub(super) struct Objects {
    nodes: Vec<Node>,
    pub(super) root: Id,
}

impl Objects {
    pub(super) fn get(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    pub(super) fn storages(&self) -> impl Iterator<Item = &Storage> {
        self.nodes.iter().filter_map(|node| if let Node::Storage(storage) = node { Some(storage) } else { None })
    }

    /// The pickle that `input` begins with. `position` is where the input stands in the file, and moves to the pickle's end.
    pub(super) fn read(input: &mut dyn BufRead, position: &mut u64) -> Result<Self, PickleError> {
        let mut machine = Machine {
            input,
            position: *position,
            end: position.saturating_add(LONGEST),
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            references: 0,
        };
        while machine.step()? {}
        *position = machine.position;
        let root = machine.pop()?;
        Ok(Self { nodes: machine.nodes, root })
    }
}

struct Machine<'a> {
    input: &'a mut dyn BufRead,
    position: u64,
    end: u64,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// How many objects all lists and dictionaries hold.
    references: usize,
}

impl Machine<'_> {
    /// Follows an instruction. Returns whether there is another one.
    fn step(&mut self) -> Result<bool, PickleError> {
        let instruction = self.bytes(1)?[0];
        match instruction {
            b'.' => return Ok(false),
            // The version, and frames, which say how much to read at a time.
            0x80 => drop(self.bytes(1)?),
            0x95 => drop(self.bytes(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => match self.marks.last() {
                Some(mark) if *mark == self.stack.len() => drop(self.marks.pop()),
                _ => drop(self.pop()?),
            },
            b'1' => drop(self.since_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            // None, True, False, and floats as text or bytes.
            b'N' | 0x88 | 0x89 => self.push(Node::Plain)?,
            b'F' => {
                self.line()?;
                self.push(Node::Plain)?;
            }
            b'G' => {
                self.bytes(8)?;
                self.push(Node::Plain)?;
            }
            b'I' | b'L' => {
                let line = self.line()?;
                let number = line.trim_end_matches('L').parse().map_err(|_| self.damaged())?;
                self.push(Node::Int(number))?;
            }
            b'J' => self.integer(4, true)?,
            b'K' => self.integer(1, false)?,
            b'M' => self.integer(2, false)?,
            0x8a => {
                let length = self.length(1)?;
                self.integer(length, true)?;
            }
            0x8b => {
                let length = self.length(4)?;
                self.integer(length, true)?;
            }
            b'S' => {
                let line = self.line()?;
                self.push(Node::Text(line.trim_matches(['\'', '"']).to_owned()))?;
            }
            b'V' => {
                let line = self.line()?;
                self.push(Node::Text(line))?;
            }
            b'U' | 0x8c => self.text(1)?,
            b'T' | b'X' => self.text(4)?,
            0x8d => self.text(8)?,
            b'C' => self.blob(1)?,
            b'B' => self.blob(4)?,
            0x8e | 0x96 => self.blob(8)?,
            b']' => self.push(Node::List(Vec::new()))?,
            b')' => self.push(Node::List(Vec::new()))?,
            b'}' => self.push(Node::Dict(Vec::new()))?,
            b'l' | b't' => {
                let items = self.since_mark()?;
                self.push(Node::List(items))?;
            }
            b'd' => {
                let items = self.since_mark()?;
                let entries = self.pairs(&items)?;
                self.push(Node::Dict(entries))?;
            }
            0x85..=0x87 => {
                let items = self.pop_several(usize::from(instruction - 0x84))?;
                self.push(Node::List(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.add_items(&[item])?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.add_items(&items)?;
            }
            b's' => {
                let entry = self.pop_several(2)?;
                self.add_entries(&entry)?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.add_entries(&items)?;
            }
            0x8f => self.opaque("set")?,
            0x90 => drop(self.since_mark()?),
            0x91 => {
                self.since_mark()?;
                self.opaque("frozenset")?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(global(&module, &name))?;
            }
            0x93 => {
                let names = self.pop_several(2)?;
                let [Node::Text(module), Node::Text(name)] = [0, 1].map(|n| self.node(names[n])) else {
                    return Err(self.damaged());
                };
                let global = global(module, name);
                self.push(global)?;
            }
            // Classes of a registry that no file has.
            0x82 => {
                self.bytes(1)?;
                self.opaque("an extension of pickle")?;
            }
            0x83 => {
                self.bytes(2)?;
                self.opaque("an extension of pickle")?;
            }
            0x84 => {
                self.bytes(4)?;
                self.opaque("an extension of pickle")?;
            }
            b'R' | 0x81 => {
                let call = self.pop_several(2)?;
                let made = self.called(call[0], call[1]);
                self.push(made)?;
            }
            0x92 => {
                let call = self.pop_several(3)?;
                let made = self.called(call[0], call[1]);
                self.push(made)?;
            }
            b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                self.since_mark()?;
                self.opaque(&name_of(&module, &name))?;
            }
            b'o' => {
                let items = self.since_mark()?;
                let class = items.first().map(|class| self.name(*class)).ok_or_else(|| self.damaged())?;
                self.push(Node::Opaque(class))?;
            }
            // Attributes: of an ordered dictionary `_metadata`, which says nothing of numbers.
            b'b' => drop(self.pop()?),
            b'Q' => {
                let reference = self.pop()?;
                let storage = self.storage(reference);
                self.push(storage)?;
            }
            b'P' => {
                self.line()?;
                self.opaque("a reference by text")?;
            }
            0x97 => self.opaque("a buffer")?,
            0x98 => {}
            b'g' => {
                let line = self.line()?;
                let place = line.parse().map_err(|_| self.damaged())?;
                self.recall(place)?;
            }
            b'h' => {
                let place = self.length(1)? as u64;
                self.recall(place)?;
            }
            b'j' => {
                let place = self.length(4)? as u64;
                self.recall(place)?;
            }
            b'p' => {
                let line = self.line()?;
                let place = line.parse().map_err(|_| self.damaged())?;
                self.remember(place)?;
            }
            b'q' => {
                let place = self.length(1)? as u64;
                self.remember(place)?;
            }
            b'r' => {
                let place = self.length(4)? as u64;
                self.remember(place)?;
            }
            0x94 => self.remember(self.memo.len() as u64)?,
            _ => return Err(self.damaged()),
        }
        Ok(true)
    }

    const fn damaged(&self) -> PickleError {
        PickleError::Damaged(self.position)
    }

    fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    fn bytes(&mut self, count: usize) -> Result<Vec<u8>, PickleError> {
        if self.position.saturating_add(count as u64) > self.end {
            return Err(PickleError::TooLarge);
        }
        // What a damaged length says is not allocated before it is there.
        let mut bytes = Vec::new();
        (&mut *self.input).take(count as u64).read_to_end(&mut bytes)?;
        if bytes.len() < count {
            return Err(PickleError::Cut);
        }
        self.position += count as u64;
        Ok(bytes)
    }

    fn line(&mut self) -> Result<String, PickleError> {
        let mut line = Vec::new();
        (&mut *self.input).take(LONGEST_LINE).read_until(b'\n', &mut line)?;
        self.position += line.len() as u64;
        if line.pop() != Some(b'\n') {
            return Err(PickleError::Cut);
        }
        String::from_utf8(line).map_err(|_| self.damaged())
    }

    /// A length of that many bytes, lowest first.
    fn length(&mut self, width: usize) -> Result<usize, PickleError> {
        let bytes = self.bytes(width)?;
        let length = bytes.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        usize::try_from(length).map_err(|_| PickleError::TooLarge)
    }

    /// An integer of that many bytes, lowest first. One that is too long for any size is as good as any other object.
    fn integer(&mut self, width: usize, signed: bool) -> Result<(), PickleError> {
        let bytes = self.bytes(width)?;
        if width > 8 {
            return self.push(Node::Plain);
        }
        let fill = if signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
        let mut whole = [fill; 8];
        whole[..width].copy_from_slice(&bytes);
        self.push(Node::Int(i64::from_le_bytes(whole)))
    }

    fn text(&mut self, width: usize) -> Result<(), PickleError> {
        let length = self.length(width)?;
        let bytes = self.bytes(length)?;
        // Python 2 wrote names as bytes.
        self.push(Node::Text(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn blob(&mut self, width: usize) -> Result<(), PickleError> {
        let length = self.length(width)?;
        self.bytes(length)?;
        self.push(Node::Plain)
    }

    fn push(&mut self, node: Node) -> Result<(), PickleError> {
        // An object that is made from another one again and again has its items each time.
        self.references += match &node {
            Node::List(items) => items.len(),
            Node::Dict(entries) => entries.len(),
            _ => 0,
        };
        if self.nodes.len() >= MOST_NODES || self.references > MOST_NODES {
            return Err(PickleError::TooLarge);
        }
        self.stack.push(Id::try_from(self.nodes.len()).map_err(|_| PickleError::TooLarge)?);
        self.nodes.push(node);
        Ok(())
    }

    fn opaque(&mut self, what: &str) -> Result<(), PickleError> {
        self.push(Node::Opaque(what.to_owned()))
    }

    fn top(&self) -> Result<Id, PickleError> {
        let is_marked = self.marks.last() == Some(&self.stack.len());
        self.stack.last().copied().filter(|_| !is_marked).ok_or_else(|| self.damaged())
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// The last objects of the stack, in its order.
    fn pop_several(&mut self, count: usize) -> Result<Vec<Id>, PickleError> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        Ok(items)
    }

    fn since_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        let mark = self.marks.pop().ok_or_else(|| self.damaged())?;
        Ok(self.stack.split_off(mark))
    }

    fn pairs(&self, items: &[Id]) -> Result<Vec<(Id, Id)>, PickleError> {
        let (pairs, rest) = items.as_chunks::<2>();
        if rest.is_empty() {
            Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
        } else {
            Err(self.damaged())
        }
    }

    fn add_items(&mut self, items: &[Id]) -> Result<(), PickleError> {
        let list = self.top()? as usize;
        match &mut self.nodes[list] {
            Node::List(list) => list.extend(items),
            Node::Opaque(_) => {}
            _ => return Err(self.damaged()),
        }
        Ok(())
    }

    fn add_entries(&mut self, items: &[Id]) -> Result<(), PickleError> {
        let entries = self.pairs(items)?;
        let dict = self.top()? as usize;
        match &mut self.nodes[dict] {
            Node::Dict(dict) => dict.extend(entries),
            Node::Opaque(_) => {}
            _ => return Err(self.damaged()),
        }
        Ok(())
    }

    fn remember(&mut self, place: u64) -> Result<(), PickleError> {
        let top = self.top()?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn recall(&mut self, place: u64) -> Result<(), PickleError> {
        let known = *self.memo.get(&place).ok_or_else(|| self.damaged())?;
        self.stack.push(known);
        Ok(())
    }
}

fn name_of(module: &str, name: &str) -> String {
    module.chars().chain(['.']).chain(name.chars()).take(LONGEST_NAME).collect()
}

fn global(module: &str, name: &str) -> Node {
    Node::Global(name_of(module, name))
}
