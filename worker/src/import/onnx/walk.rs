//! The way through a graph beside the steps of a net.

use secateur_proto::spec::{Activation, Layer, LayerKind, Step, TensorKind};

use super::{BEHIND, CLOSE, Constant, Onnx, OnnxError, TRANSPARENT, attribute, operator};
use crate::net::NORM_EPSILON;

/// A way through the graph beside the steps of a net.
pub(super) struct Walk<'a> {
    pub(super) onnx: &'a Onnx,
    pub(super) layers: &'a [Layer],
    /// The present value.
    pub(super) value: String,
    pub(super) saved: Vec<String>,
    /// Tensors by the net's names.
    pub(super) found: Vec<(String, Constant)>,
    /// A bias of a layer that has none in the net: it belongs to the batch normalisation behind it.
    pub(super) left_bias: Option<Vec<f32>>,
    pub(super) notes: Vec<String>,
}

impl<'a> Walk<'a> {
    pub(super) fn step(&mut self, step: &Step) -> Result<(), OnnxError> {
        match *step {
            Step::Layer(index) => {
                let layer = &self.layers[index];
                self.value = match layer.kind {
                    LayerKind::Linear { .. } => self.linear(layer)?,
                    LayerKind::Convolution { .. } => {
                        let value = self.value.clone();
                        self.convolution(layer, &value)?
                    }
                    LayerKind::BatchNorm { features } => self.norm(layer, features)?,
                };
                Ok(())
            }
            Step::Activation(activation) => self.activation(activation),
            // In training only.
            Step::Dropout => Ok(()),
            Step::MaxPool => {
                let index = self.node(&["MaxPool"], "MaxPool over 2 × 2 values")?;
                let node = &self.onnx.nodes[index];
                let is = |name: &str, wanted: &[i64]| attribute(node, name).is_some_and(|found| found.ints == wanted);
                let has_pads = attribute(node, "pads").is_some_and(|pads| pads.ints.iter().any(|pad| *pad != 0));
                let rounds_up = attribute(node, "ceil_mode").is_some_and(|mode| mode.i == Some(1));
                if !is("kernel_shape", &[2, 2]) || !is("strides", &[2, 2]) || has_pads || rounds_up {
                    return Err(self
                        .problem(index, "the net has the maximum over 2 × 2 values, in steps of 2, without padding"));
                }
                self.follow(index)
            }
            Step::MeanPool => {
                let index = self.node(&["GlobalAveragePool", "ReduceMean"], "the mean over all positions")?;
                self.follow(index)
            }
            Step::Flatten => Ok(()),
            Step::Save => {
                self.skip();
                self.saved.push(self.value.clone());
                Ok(())
            }
            Step::AddSaved(projection) => {
                let Some(mut other) = self.saved.pop() else { return Ok(()) };
                if let Some(layer) = projection.map(|index| &self.layers[index]) {
                    other = self.convolution(layer, &other)?;
                    if self.left_bias.take().is_some_and(|bias| bias.iter().any(|one| *one != 0.0)) {
                        let problem = "the net has no bias there, and the file has one".to_owned();
                        return Err(OnnxError::Node { place: layer.name.clone(), problem });
                    }
                }
                self.skip();
                let value = self.value.clone();
                let index = self.node(&["Add"], "Add of the block's input")?;
                let inputs = &self.onnx.nodes[index].input;
                if !inputs.contains(&value) || !inputs.contains(&other) {
                    return Err(self.problem(index, "it does not add the input of the residual block"));
                }
                self.follow(index)
            }
        }
    }

    /// Goes past operators that change no number.
    fn skip(&mut self) {
        // A file may have circles.
        for _ in 0..self.onnx.nodes.len() {
            let takers = self.onnx.takers.get(&self.value).map_or(&[][..], Vec::as_slice);
            let [only] = takers else { return };
            let node = &self.onnx.nodes[*only];
            let is_first = node.input.first() == Some(&self.value);
            match (TRANSPARENT.contains(&operator(node)) && is_first, node.output.first()) {
                (true, Some(output)) => self.value.clone_from(output),
                _ => return,
            }
        }
    }

    /// The node that takes the present value and is one of these operators.
    fn node(&mut self, operators: &[&str], expected: &str) -> Result<usize, OnnxError> {
        self.skip();
        let takers = self.onnx.takers.get(&self.value).map_or(&[][..], Vec::as_slice);
        let fits = |index: &&usize| operators.contains(&operator(&self.onnx.nodes[**index]));
        match (takers.iter().find(fits), takers.first()) {
            (Some(index), _) => Ok(*index),
            (None, Some(other)) => {
                Err(self.unlike(self.onnx.place(*other), operator(&self.onnx.nodes[*other]), expected))
            }
            (None, None) => Err(self.unlike("the end".to_owned(), "there", expected)),
        }
    }

    fn follow(&mut self, index: usize) -> Result<(), OnnxError> {
        match self.onnx.nodes[index].output.first() {
            Some(output) => self.value.clone_from(output),
            None => return Err(self.problem(index, "it has no output")),
        }
        Ok(())
    }

    fn unlike(&self, place: String, found: &str, expected: &str) -> OnnxError {
        OnnxError::Step { place, found: found.to_owned(), expected: expected.to_owned(), all: self.onnx.all() }
    }

    fn problem(&self, index: usize, problem: &str) -> OnnxError {
        OnnxError::Node { place: self.onnx.place(index), problem: problem.to_owned() }
    }

    /// A constant input of a node.
    fn input(&self, index: usize, place: usize) -> Result<Option<Constant>, OnnxError> {
        let name = self.onnx.nodes[index].input.get(place).filter(|name| !name.is_empty());
        name.map_or(Ok(None), |name| self.onnx.constant(name))
    }

    fn linear(&mut self, layer: &Layer) -> Result<String, OnnxError> {
        let expected = format!("Gemm or MatMul, the linear layer {}", layer.name);
        let index = self.node(&["Gemm", "MatMul"], &expected)?;
        let node = &self.onnx.nodes[index];
        let number =
            |name: &str, otherwise| attribute(node, name).map_or(otherwise, |found| f64::from(found.f.unwrap_or(0.0)));
        let flag = |name: &str| attribute(node, name).is_some_and(|found| found.i == Some(1));
        let is_gemm = operator(node) == "Gemm";
        if is_gemm && (number("alpha", 1.0) != 1.0 || number("beta", 1.0) != 1.0 || flag("transA")) {
            return Err(self.problem(index, "alpha, beta and transA must be 1, 1 and 0"));
        }
        let Some(mut weight) = self.input(index, 1)?.filter(|weight| weight.shape.len() == 2) else {
            return Err(self.problem(index, "its weights are not a constant matrix"));
        };
        // In files, the net has a row for each output.
        if !(is_gemm && flag("transB")) {
            weight.is_transposed = !weight.is_transposed;
        }
        self.found.push((format!("{}.weight", layer.name), weight));
        self.follow(index)?;
        let bias = if is_gemm { self.input(index, 2)? } else { self.added()? };
        self.bias(index, layer, bias)
    }

    /// The constant vector that is added next, if one is.
    fn added(&mut self) -> Result<Option<Constant>, OnnxError> {
        let takers = self.onnx.takers.get(&self.value).map_or(&[][..], Vec::as_slice);
        let [index] = takers else { return Ok(None) };
        let node = &self.onnx.nodes[*index];
        if operator(node) != "Add" {
            return Ok(None);
        }
        let Some(other) = node.input.iter().find(|name| **name != self.value) else { return Ok(None) };
        let Some(constant) = self.onnx.constant(other)? else { return Ok(None) };
        self.follow(*index)?;
        Ok(Some(Constant { shape: vec![constant.numbers.len() as u64], ..constant }))
    }

    fn bias(&mut self, index: usize, layer: &Layer, bias: Option<Constant>) -> Result<String, OnnxError> {
        let outputs = layer.outputs() as usize;
        match (layer.bias, bias) {
            (true, Some(bias)) => self.found.push((format!("{}.bias", layer.name), bias)),
            (true, None) => {
                self.notes.push(format!("{} has no bias in the file: it starts as 0", layer.name));
                let zeros = Constant { numbers: vec![0.0; outputs], shape: vec![outputs as u64], is_transposed: false };
                self.found.push((format!("{}.bias", layer.name), zeros));
            }
            (false, Some(bias)) if bias.numbers.len() == outputs => self.left_bias = Some(bias.numbers),
            (false, Some(_)) => return Err(self.problem(index, "its bias has another length than its outputs")),
            (false, None) => {}
        }
        Ok(self.value.clone())
    }

    fn convolution(&mut self, layer: &Layer, value: &str) -> Result<String, OnnxError> {
        let LayerKind::Convolution { kernel, stride, padding, .. } = layer.kind else { return Ok(value.to_owned()) };
        let before = std::mem::replace(&mut self.value, value.to_owned());
        self.skip();
        let side = i64::from(kernel);
        let takers = self.onnx.takers.get(&self.value).cloned().unwrap_or_default();
        let is_convolution = |index: &usize| operator(&self.onnx.nodes[*index]) == "Conv";
        let convolutions: Vec<usize> = takers.into_iter().filter(is_convolution).collect();
        let sides = |index: usize| attribute(&self.onnx.nodes[index], "kernel_shape").map(|found| found.ints.clone());
        // In a residual block, two convolutions take the same value.
        let fitting = convolutions.iter().find(|index| sides(**index).is_none_or(|sides| sides == [side, side]));
        let index = match fitting.or(convolutions.first()) {
            Some(index) => *index,
            None => self.node(&["Conv"], &format!("Conv, the convolution {}", layer.name))?,
        };
        let node = &self.onnx.nodes[index];
        let ints = |name: &str, otherwise: &[i64]| {
            attribute(node, name).map_or(otherwise.to_vec(), |found| found.ints.clone())
        };
        let (stride, padding) = (i64::from(stride), i64::from(padding));
        let is_same = sides(index).is_none_or(|sides| sides == [side, side])
            && ints("strides", &[1, 1]) == [stride; 2]
            && ints("pads", &[0; 4]) == [padding; 4]
            && ints("dilations", &[1, 1]) == [1, 1]
            && attribute(node, "group").is_none_or(|group| group.i == Some(1))
            && attribute(node, "auto_pad").is_none_or(|pad| pad.s.as_deref().is_none_or(|pad| pad == b"NOTSET"));
        if !is_same {
            let text = format!(
                "{} of the net has {side} × {side} weights, steps of {stride} and a padding of {padding}, in one group",
                layer.name
            );
            return Err(self.problem(index, &text));
        }
        let Some(weight) = self.input(index, 1)?.filter(|weight| weight.shape.len() == 4) else {
            return Err(self.problem(index, "its weights are not constant"));
        };
        self.found.push((format!("{}.weight", layer.name), weight));
        self.follow(index)?;
        let bias = match self.input(index, 2)? {
            None if layer.bias => self.added()?,
            bias => bias,
        };
        self.bias(index, layer, bias)?;
        Ok(std::mem::replace(&mut self.value, before))
    }

    fn norm(&mut self, layer: &Layer, features: u32) -> Result<String, OnnxError> {
        let features = features as usize;
        let left = self.left_bias.take();
        self.skip();
        let takers = self.onnx.takers.get(&self.value).map_or(&[][..], Vec::as_slice);
        let index = takers.iter().find(|index| operator(&self.onnx.nodes[**index]) == "BatchNormalization").copied();
        let name = |kind: TensorKind| format!("{}.{}", layer.name, kind.suffix());
        let Some(index) = index else {
            // The exporter has multiplied it into the layer before it. What is left of it changes nothing, or adds a bias.
            self.notes
                .push(format!("the batch normalisation {} is folded into the layer before it in the file", layer.name));
            #[expect(clippy::cast_possible_truncation, reason = "numbers of f32")]
            let rest = (1.0 - NORM_EPSILON) as f32;
            let constant =
                |numbers: Vec<f32>| Constant { shape: vec![numbers.len() as u64], numbers, is_transposed: false };
            self.found.extend([
                (name(TensorKind::Scale), constant(vec![1.0; features])),
                (name(TensorKind::Shift), constant(left.unwrap_or_else(|| vec![0.0; features]))),
                (name(TensorKind::RunningMean), constant(vec![0.0; features])),
                (name(TensorKind::RunningVariance), constant(vec![rest; features])),
            ]);
            return Ok(self.value.clone());
        };
        let node = &self.onnx.nodes[index];
        let epsilon = attribute(node, "epsilon").map_or(NORM_EPSILON, |found| f64::from(found.f.unwrap_or(0.0)));
        if (epsilon / NORM_EPSILON - 1.0).abs() > CLOSE {
            return Err(
                self.problem(index, &format!("its epsilon is {epsilon}, and that of the net is {NORM_EPSILON}"))
            );
        }
        let kinds = [TensorKind::Scale, TensorKind::Shift, TensorKind::RunningMean, TensorKind::RunningVariance];
        for (place, kind) in kinds.into_iter().enumerate() {
            let Some(mut constant) = self.input(index, place + 1)? else {
                return Err(self.problem(index, &format!("its {} is not constant", kind.suffix())));
            };
            if let (TensorKind::RunningMean, Some(left)) = (kind, &left) {
                constant.numbers.iter_mut().zip(left).for_each(|(mean, bias)| *mean -= bias);
            }
            self.found.push((name(kind), constant));
        }
        self.follow(index)?;
        Ok(self.value.clone())
    }

    fn activation(&mut self, activation: Activation) -> Result<(), OnnxError> {
        match activation {
            Activation::Relu => self.single("Relu"),
            Activation::Tanh => self.single("Tanh"),
            Activation::Silu => {
                self.skip();
                let value = self.value.clone();
                if self.takes(&["Swish"]) {
                    return self.single("Swish");
                }
                let share = self.node(&["Sigmoid"], "Sigmoid and Mul, the activation silu")?;
                self.follow(share)?;
                let product = self.node(&["Mul"], "Mul, the second part of the activation silu")?;
                if !self.onnx.nodes[product].input.contains(&value) {
                    return Err(self.problem(product, "it is not part of the activation silu"));
                }
                self.follow(product)
            }
            Activation::Gelu => self.gelu(),
        }
    }

    fn takes(&self, operators: &[&str]) -> bool {
        let takers = self.onnx.takers.get(&self.value).map_or(&[][..], Vec::as_slice);
        takers.iter().any(|index| operators.contains(&operator(&self.onnx.nodes[*index])))
    }

    fn single(&mut self, name: &str) -> Result<(), OnnxError> {
        let index = self.node(&[name], &format!("{name}, the activation of the net"))?;
        self.follow(index)
    }

    /// ½ · x · (1 + erf(x / √2)), as one operator or as five in one of their usual orders.
    fn gelu(&mut self) -> Result<(), OnnxError> {
        self.skip();
        if self.takes(&["Gelu"]) {
            let index = self.node(&["Gelu"], "Gelu")?;
            let approximation = attribute(&self.onnx.nodes[index], "approximate").and_then(|found| found.s.clone());
            if approximation.is_some_and(|kind| kind != b"none") {
                return Err(self.problem(index, "the net has the exact activation gelu"));
            }
            return self.follow(index);
        }
        let value = self.value.clone();
        let wrong = |walk: &Self, index| walk.problem(index, "it is not part of the activation gelu");
        let is = |found: Option<f64>, wanted: f64| found.is_some_and(|found| (found / wanted - 1.0).abs() < CLOSE);
        let takers = self.onnx.takers.get(&value).cloned().unwrap_or_default();
        let root = std::f64::consts::SQRT_2;
        let inner = takers.into_iter().find(|index| {
            let node = &self.onnx.nodes[*index];
            let scalar = self.onnx.scalar(node, &value);
            (operator(node) == "Div" && is(scalar, root)) || (operator(node) == "Mul" && is(scalar, 1.0 / root))
        });
        let Some(inner) = inner else {
            // It says what is there.
            return self.node(&["Gelu"], "the activation gelu (Gelu, or Div, Erf, Add, Mul and Mul)").map(drop);
        };
        self.follow(inner)?;
        let erf = self.node(&["Erf"], "Erf, part of the activation gelu")?;
        self.follow(erf)?;
        let add = self.node(&["Add"], "Add of 1, part of the activation gelu")?;
        if !is(self.onnx.scalar(&self.onnx.nodes[add], &self.value), 1.0) {
            return Err(wrong(self, add));
        }
        self.follow(add)?;
        // x and ½ are factors in either order; ½ · x may have been made before.
        let (mut has_value, mut has_half) = (false, false);
        while !(has_value && has_half) {
            let index = self.node(&["Mul"], "Mul, part of the activation gelu")?;
            let node = &self.onnx.nodes[index];
            let Some(other) = node.input.iter().find(|name| **name != self.value) else {
                return Err(wrong(self, index));
            };
            let half_of_value =
                self.onnx.makers.get(other).map(|index| &self.onnx.nodes[*index]).is_some_and(|maker| {
                    operator(maker) == "Mul" && maker.input.contains(&value) && is(self.onnx.scalar(maker, &value), 0.5)
                });
            match (*other == value, is(self.onnx.scalar(node, &self.value), 0.5), half_of_value) {
                (true, _, _) if !has_value => has_value = true,
                (_, true, _) if !has_half => has_half = true,
                (_, _, true) if !has_value && !has_half => (has_value, has_half) = (true, true),
                _ => return Err(wrong(self, index)),
            }
            self.follow(index)?;
        }
        Ok(())
    }

    /// Behind the logits come probabilities, or nothing.
    pub(super) fn end(&mut self) -> Result<(), OnnxError> {
        if self.left_bias.take().is_some_and(|bias| bias.iter().any(|one| *one != 0.0)) {
            let problem = "a bias that the net does not have is not followed by a batch normalisation".to_owned();
            return Err(OnnxError::Node { place: "the last layer".to_owned(), problem });
        }
        self.skip();
        let takers = self.onnx.takers.get(&self.value).map_or(&[][..], Vec::as_slice);
        let strange = takers.iter().find(|index| !BEHIND.contains(&operator(&self.onnx.nodes[**index])));
        match strange {
            Some(index) => {
                let found = operator(&self.onnx.nodes[*index]);
                Err(self.unlike(self.onnx.place(*index), found, "the end of the net, or probabilities"))
            }
            None => Ok(()),
        }
    }
}
