//! What the functions and references of PyTorch's pickles would make, without calling or following them.

use safetensors::Dtype;

use super::{Id, MOST_DIMENSIONS, Machine, Node, Numbers, Storage, Tensor};

impl Machine<'_> {
    /// What an object is called that is not understood.
    pub(super) fn name(&self, id: Id) -> String {
        match self.node(id) {
            Node::Global(name) | Node::Opaque(name) => name.clone(),
            _ => "an object".to_owned(),
        }
    }

    fn list(&self, id: Id) -> &[Id] {
        if let Node::List(items) = self.node(id) { items } else { &[] }
    }

    /// What calling `function` with `arguments` would make, where that is known without calling it.
    pub(super) fn called(&self, function: Id, arguments: Id) -> Node {
        let name = self.name(function);
        let arguments = self.list(arguments);
        let made = match name.as_str() {
            "collections.OrderedDict" | "collections.defaultdict" | "builtins.dict" | "__builtin__.dict" => {
                let pairs = arguments.first().map_or(&[][..], |pairs| self.list(*pairs));
                let pair = |pair: &Id| <[Id; 2]>::try_from(self.list(*pair)).ok();
                Some(Node::Dict(pairs.iter().filter_map(pair).map(|[key, value]| (key, value)).collect()))
            }
            "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => self.tensor(arguments, None),
            "torch._utils._rebuild_tensor_v3" => {
                arguments.get(6).and_then(|dtype| self.tensor(arguments, Some(*dtype)))
            }
            "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" => {
                arguments.first().map(|tensor| self.node(*tensor).clone())
            }
            // A subclass of tensors: a function, a class, arguments, attributes.
            "torch._tensor._rebuild_from_type_v2" => match arguments {
                [function, _, inner, ..] if self.name(*function).starts_with("torch._utils._rebuild_tensor") => {
                    Some(self.called(*function, *inner))
                }
                _ => None,
            },
            "torch.Size" => arguments.first().map(|sizes| self.node(*sizes).clone()),
            _ => None,
        };
        made.unwrap_or(Node::Opaque(name))
    }

    /// A tensor of the arguments storage, offset, shape and strides.
    fn tensor(&self, arguments: &[Id], dtype: Option<Id>) -> Option<Node> {
        let [storage, offset, shape, stride, ..] = arguments else { return None };
        let Node::Storage(storage) = self.node(*storage) else { return None };
        let number = |id: &Id| if let Node::Int(number) = self.node(*id) { u64::try_from(*number).ok() } else { None };
        let sizes = |id: Id| self.list(id).iter().map(number).collect::<Option<Vec<u64>>>();
        let numbers = match (dtype, &storage.numbers) {
            (Some(dtype), _) => dtype_of(&self.name(dtype)),
            (None, Some(numbers)) => numbers.clone(),
            (None, None) => return None,
        };
        let (shape, stride) = (sizes(*shape)?, sizes(*stride)?);
        let tensor = Tensor { storage: storage.key.clone(), numbers, offset: number(offset)?, shape, stride };
        (tensor.shape.len() == tensor.stride.len() && tensor.shape.len() <= MOST_DIMENSIONS)
            .then_some(Node::Tensor(tensor))
    }

    /// The storage that a reference to something outside of the pickle means.
    pub(super) fn storage(&self, reference: Id) -> Node {
        let text = |id: Id| if let Node::Text(text) = self.node(id) { Some(text.clone()) } else { None };
        let made = || {
            let [kind, class, key, _, count, ..] = self.list(reference) else { return None };
            let (Node::Global(class), Node::Int(count)) = (self.node(*class), self.node(*count)) else { return None };
            let key = text(*key)?;
            let numbers = (!class.ends_with(".UntypedStorage")).then(|| dtype_of(class));
            let count = u64::try_from(*count).ok()?;
            (text(*kind)? == "storage").then_some(Node::Storage(Storage { key, numbers, count }))
        };
        made().unwrap_or_else(|| Node::Opaque("a reference".to_owned()))
    }
}

/// The type of numbers that a storage's class, as `torch.FloatStorage`, or a type, as `torch.float32`, is of.
fn dtype_of(name: &str) -> Numbers {
    let short = name.rsplit('.').next().unwrap_or(name);
    Ok(match short.strip_suffix("Storage").unwrap_or(short) {
        "Double" | "float64" => Dtype::F64,
        "Float" | "float32" => Dtype::F32,
        "Half" | "float16" => Dtype::F16,
        "BFloat16" | "bfloat16" => Dtype::BF16,
        "Long" | "int64" => Dtype::I64,
        "Int" | "int32" => Dtype::I32,
        "Short" | "int16" => Dtype::I16,
        "Char" | "int8" => Dtype::I8,
        "Byte" | "uint8" => Dtype::U8,
        "Bool" | "bool" => Dtype::BOOL,
        _ => return Err(short.to_owned()),
    })
}
