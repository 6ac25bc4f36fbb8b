"""Writes checkpoints/*, which people's training loops leave beside a state_dict, without PyTorch: the pickles are Python's own, with
stand-ins for the functions and classes of PyTorch that they name. `python checkpoints.py` writes the files again, byte for byte.

The net is a perceptron of 3 inputs, 8 hidden units and one logit (`layers.0`, `layers.1`). Weight number i of tensor t is t + i / 64.
`checkpoint.pth`, `lightning.ckpt`, `extra-buffers.pt` and `plain.pt` are PyTorch's own, of other values."""

import argparse
import collections
import fractions
import io
import os
import pickle
import struct
import sys
import types
import zipfile

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "checkpoints")


def module(name):
    made = types.ModuleType(name)
    sys.modules[name] = made
    return made


torch, utils = module("torch"), module("torch._utils")


def _rebuild_tensor_v2(*arguments):
    raise AssertionError("only named")


_rebuild_tensor_v2.__module__ = "torch._utils"
utils._rebuild_tensor_v2 = _rebuild_tensor_v2
WIDTHS = {"FloatStorage": "f", "DoubleStorage": "d", "LongStorage": "q", "ByteStorage": "B"}
for name in WIDTHS:
    setattr(torch, name, type(name, (), {"__module__": "torch"}))


class Tensor:
    def __init__(self, shape, values, storage="FloatStorage"):
        self.shape, self.values, self.storage = tuple(shape), list(values), storage

    def __reduce__(self):
        stride, step = [], 1
        for size in reversed(self.shape):
            stride.insert(0, step)
            step *= size
        return _rebuild_tensor_v2, (Storage(self), 0, self.shape, tuple(stride), False, collections.OrderedDict())


class Storage:
    def __init__(self, tensor):
        self.tensor = tensor


class Pickler(pickle.Pickler):
    """Tells storages apart by their order."""

    def __init__(self, file, protocol, legacy):
        super().__init__(file, protocol)
        self.legacy, self.storages = legacy, []

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        tensor, key = value.tensor, str(len(self.storages))
        self.storages.append(tensor)
        more = (None,) if self.legacy else ()
        return ("storage", getattr(torch, tensor.storage), key, "cpu", len(tensor.values)) + more


def numbers(tensor):
    return struct.pack("<" + WIDTHS[tensor.storage] * len(tensor.values), *tensor.values)


def save(name, value, protocol=2):
    data = io.BytesIO()
    pickler = Pickler(data, protocol, False)
    pickler.dump(value)
    with zipfile.ZipFile(os.path.join(FOLDER, name), "w") as archive:
        def write(path, content):
            archive.writestr(zipfile.ZipInfo(f"archive/{path}"), content)

        write("data.pkl", data.getvalue())
        write("byteorder", "little")
        for key, tensor in enumerate(pickler.storages):
            write(f"data/{key}", numbers(tensor))
        write("version", "3\n")


def save_legacy(name, value):
    with open(os.path.join(FOLDER, name), "wb") as file:
        pickle.dump(0x1950A86A20F9469CFC6C, file, protocol=2)
        pickle.dump(1001, file, protocol=2)
        pickle.dump({"protocol_version": 1001, "little_endian": True}, file, protocol=2)
        pickler = Pickler(file, 2, True)
        pickler.dump(value)
        pickle.dump([str(key) for key in range(len(pickler.storages))], file, protocol=2)
        for tensor in pickler.storages:
            file.write(struct.pack("<q", len(tensor.values)) + numbers(tensor))


def ramp(number, shape, storage="FloatStorage"):
    count = 1
    for size in shape:
        count *= size
    return Tensor(shape, [number + place / 64 for place in range(count)], storage)


def net(prefix="", logits=1, storage="FloatStorage"):
    shapes = [("layers.0.weight", (8, 3)), ("layers.0.bias", (8,)), ("layers.1.weight", (logits, 8)), ("layers.1.bias", (logits,))]
    return collections.OrderedDict((prefix + name, ramp(number, shape, storage)) for number, (name, shape) in enumerate(shapes))


class Runs:
    """What executes a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch executed",)


def main():
    save_legacy("legacy.pt", {"epoch": 3, "net": net("_orig_mod.")})
    # What Lightning keeps beside the net: objects of any class.
    parameters = argparse.Namespace(hidden=[8], rate=fractions.Fraction(1, 100))
    save("objects.ckpt", {"hyper_parameters": parameters, "epoch": 1, "state_dict": net("model.net.")}, protocol=4)
    save("runs.pt", {"callback": Runs(), "model": net()})
    save("runs-within.pt", {"model": {**net(), "layers.1.bias": Runs()}})
    save("whole.pt", Runs())
    pruned = net()
    kept = [place % 3 != 0 for place in range(24)]
    pruned["layers.0.weight_orig"] = pruned.pop("layers.0.weight")
    pruned["layers.0.weight_mask"] = Tensor((8, 3), [float(keeps) for keeps in kept])
    save("pruned.pt", pruned)
    save("logits.pt", {"model": net(logits=2)})
    save("two.pt", {"model": net(), "ema": {"module": net()}, "step": 7})
    save("double.bin", net(storage="DoubleStorage"))
    save("integers.pt", {**net(), "layers.1.bias": Tensor((1,), [1], "LongStorage")})
    # Another head, and names of its own.
    renamed = {"body.fc1.weight": ramp(0, (8, 3)), "body.fc1.bias": ramp(1, (8,)), "body.out.weight": ramp(2, (1, 8))}
    save("renamed.pt", {"state_dict": {**renamed, "body.out.bias": ramp(3, (1,)), "body.aux.weight": ramp(4, (5, 8))}})
    deeper = {"layers.1.weight": ramp(2, (8, 8)), "layers.2.weight": ramp(3, (1, 8)), "layers.2.bias": ramp(4, (1,))}
    save("deeper.pt", {"best": {**net(), **deeper}})


if __name__ == "__main__":
    main()
