#!/usr/bin/env python3
"""Runs what `secateur export` wrote: deploy.py FOLDER [TABLE.csv SCORES...]

Every ONNX file of FOLDER has to give the probabilities of its *.rows.csv, and those of SCORES, which `secateur score` gave the rows of
TABLE.csv: a list of TRIAL=FILE. Needs numpy, onnx and onnxruntime; with torch, the safetensors are loaded too.
"""
import csv
import pathlib
import re
import sys

import numpy
import onnx
import onnxruntime

try:
    import torch
    from safetensors.torch import load_file
except ImportError:
    torch = None


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def images_of(path):
    content = path.read_bytes()
    count, height, width = (int.from_bytes(content[at : at + 4], "big") for at in (4, 8, 12))
    return numpy.frombuffer(content[16:], numpy.uint8).reshape(count, 1, height, width)


def tensors(session, rows):
    """The columns of a table as the file wants them."""
    found = {}
    for given in session.get_inputs():
        cells = [row[given.name].strip() for row in rows]
        if given.type == "tensor(string)":
            found[given.name] = numpy.array(cells, dtype=object).reshape(-1, 1)
        else:
            numbers = [float(cell) if cell else numpy.nan for cell in cells]
            found[given.name] = numpy.array(numbers, dtype=numpy.float64).reshape(-1, 1)
    return found


def probabilities(rows):
    names = [name for name in rows[0] if name.startswith("probability")]
    return numpy.array([[float(row[name]) for name in names] for row in rows])


def check(path, table, scores):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    tolerance = 1e-3 if any(node.op_type == "QuantizeLinear" for node in model.graph.node) else 1e-5
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rows = rows_of(path.with_suffix(".rows.csv"))
    images = path.with_suffix(".rows-images-idx3-ubyte")
    inputs = {"image": images_of(images)} if images.exists() else tensors(session, rows)
    (found,) = session.run(["probability"], inputs)
    worst = numpy.abs(found - probabilities(rows)).max()
    trial = next((trial for trial in scores if trial in path.name), None)
    if trial:
        (found,) = session.run(["probability"], tensors(session, table))
        worst = max(worst, numpy.abs(found - probabilities(rows_of(scores[trial]))).max())
    if not worst <= tolerance:
        sys.exit(f"{path.name}: off by {worst:.1e}")
    return worst


def load(path):
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)\nfrom safetensors", card, re.DOTALL)[1]
    names = {}
    exec(code, names)
    names["net"].load_state_dict(load_file(path), strict=True)
    names["net"].eval()


def main():
    folder = pathlib.Path(sys.argv[1])
    table = rows_of(sys.argv[2]) if len(sys.argv) > 2 else []
    scores = dict(pair.split("=", 1) for pair in sys.argv[3:])
    files = sorted(folder.glob("*.onnx"))
    worst = max(check(path, table, scores) for path in files)
    if torch:
        for path in folder.glob("*.safetensors"):
            load(path)
    loaded = "and" if torch else "without PyTorch, so no"
    print(f"{len(files)} ONNX files are right, the worst off by {worst:.1e}, {loaded} safetensors loaded")


main()
