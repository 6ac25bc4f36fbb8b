#!/usr/bin/env python3
"""Runs files of ONNX and compares what they answer: check.py CASES.json

Each case has the path of a file, its inputs, the expected probabilities and how far off they may be. Needs numpy, onnx and onnxruntime.
"""
import json
import sys

import numpy
import onnx
import onnxruntime


def tensor(given):
    if given["element"] == "uint8":
        return numpy.array(given["values"], dtype=numpy.uint8).reshape([-1, *given["shape"]])
    if given["element"] == "string":
        return numpy.array(given["values"], dtype=object).reshape(-1, 1)
    values = [numpy.nan if value is None else float(value) for value in given["values"]]
    return numpy.array(values, dtype=numpy.float64).reshape(-1, 1)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    wrong = 0
    for case in cases:
        onnx.checker.check_model(case["onnx"], full_check=True)
        session = onnxruntime.InferenceSession(case["onnx"], providers=["CPUExecutionProvider"])
        inputs = {name: tensor(given) for name, given in case["inputs"].items()}
        (found,) = session.run(["probability"], inputs)
        expected = numpy.array(case["expected"])
        difference = numpy.abs(found - expected).max()
        shares = [numpy.abs(found - expected).max(axis=1).argmax()]
        if found.shape != expected.shape or not difference <= case["tolerance"]:
            print(f"{case['name']}: off by {difference:.2e} in row {shares[0]}")
            wrong += 1
        # One row alone is answered as it is among others.
        (alone,) = session.run(["probability"], {name: value[:1] for name, value in inputs.items()})
        if numpy.abs(alone - found[:1]).max() > 1e-6:
            print(f"{case['name']}: another answer for one row alone")
            wrong += 1
    print(f"{len(cases) - wrong} files are right")
    sys.exit(1 if wrong else 0)


main()
