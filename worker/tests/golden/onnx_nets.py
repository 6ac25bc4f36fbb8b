"""Writes the files of ONNX that the tests read: python3 onnx_nets.py. Needs numpy, onnx, scikit-learn and skl2onnx."""
import pathlib
import numpy as np, onnx
from onnx import helper as h, TensorProto as T, numpy_helper as nh
from sklearn.neural_network import MLPClassifier
from skl2onnx import to_onnx
out = pathlib.Path(__file__).parent / "onnx"; out.mkdir(exist_ok=True)

def ramp(number, *shape):
    count = int(np.prod(shape))
    return (number + np.arange(count, dtype=np.float32) / 64).reshape(shape)

def save(name, nodes, tensors, inputs, outputs, opset=17):
    graph = h.make_graph(nodes, name, [h.make_tensor_value_info("input", T.FLOAT, inputs)],
                         [h.make_tensor_value_info(nodes[-1].output[0], T.FLOAT, outputs)],
                         [nh.from_array(v, n) for n, v in tensors.items()])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", opset)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    (out / f"{name}.onnx").write_bytes(model.SerializeToString())

# scikit-learn's own converter: MatMul, Add, Relu, and probabilities behind them.
x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
y = (x[:, 0] + x[:, 1] ** 2 > 0.5).astype(int)
net = MLPClassifier((8,), random_state=0, max_iter=50).fit(x, y)
model = to_onnx(net, x[:1], options={"zipmap": False}, target_opset=17)
(out / "sklearn.onnx").write_bytes(model.SerializeToString())
np.savetxt(out / "sklearn.csv", np.concatenate([net.coefs_[0].T.ravel(), net.intercepts_[0], net.coefs_[1].T.ravel(), net.intercepts_[1]]), fmt="%.9g")

# As torch.onnx.export writes torch.nn.Sequential(Linear, ReLU, Linear, Sigmoid), with its names.
save("torch", [
    h.make_node("Gemm", ["input", "0.weight", "0.bias"], ["/0/Gemm_output_0"], "/0/Gemm", alpha=1.0, beta=1.0, transB=1),
    h.make_node("Relu", ["/0/Gemm_output_0"], ["/1/Relu_output_0"], "/1/Relu"),
    h.make_node("Gemm", ["/1/Relu_output_0", "2.weight", "2.bias"], ["/2/Gemm_output_0"], "/2/Gemm", alpha=1.0, beta=1.0, transB=1),
    h.make_node("Sigmoid", ["/2/Gemm_output_0"], ["output"], "/3/Sigmoid"),
], {"0.weight": ramp(0, 8, 3), "0.bias": ramp(1, 8), "2.weight": ramp(2, 1, 8), "2.bias": ramp(3, 1)}, ["batch", 3], ["batch", 1])

# Matrices by rows of inputs, a transposed one, weights as constants, GELU in parts.
save("gelu", [
    h.make_node("Constant", [], ["w0"], value=nh.from_array(np.ascontiguousarray(ramp(0, 8, 3).T), "w0")),
    h.make_node("MatMul", ["input", "w0"], ["m0"]),
    h.make_node("Add", ["b0", "m0"], ["h"]),
    h.make_node("Div", ["h", "root"], ["d"]), h.make_node("Erf", ["d"], ["e"]), h.make_node("Add", ["e", "one"], ["a"]),
    h.make_node("Mul", ["h", "a"], ["p"]), h.make_node("Mul", ["p", "half"], ["g"]),
    h.make_node("Transpose", ["w1"], ["w1t"], perm=[1, 0]),
    h.make_node("MatMul", ["g", "w1t"], ["m1"]), h.make_node("Add", ["m1", "b1"], ["output"]),
], {"b0": ramp(1, 8), "root": np.float32(2 ** 0.5), "one": np.float32(1), "half": np.float32(0.5), "w1": ramp(2, 1, 8), "b1": ramp(3, 1)},
    ["batch", 3], ["batch", 1])

# Another activation.
save("tanh", [
    h.make_node("Gemm", ["input", "w0", "b0"], ["h"], "/fc1/Gemm", transB=1), h.make_node("Tanh", ["h"], ["t"], "/act/Tanh"),
    h.make_node("Gemm", ["t", "w1", "b1"], ["output"], transB=1),
], {"w0": ramp(0, 8, 3), "b0": ramp(1, 8), "w1": ramp(2, 1, 8), "b1": ramp(3, 1)}, ["batch", 3], ["batch", 1])
