"""Closed forms, checked against published figures."""

import math

from nets import rounded


def erk(shapes, sparsity):
    """Sparsity of each linear layer [inputs, outputs]: density proportional to (inputs + outputs)/(inputs · outputs),
    layers that would exceed 1 made dense and the rest rescaled (Evci et al. 2020, their code's `erdos_renyi`)."""
    dense = set()
    while True:
        budget, divisor = 0, 0.0
        for shape in shapes:
            weights = math.prod(shape)
            zeros = math.floor(sparsity * weights)
            if shape in dense:
                budget -= zeros
            else:
                budget += weights - zeros
                divisor += sum(shape)
        factor = budget / divisor
        raw = {shape: sum(shape) / math.prod(shape) for shape in shapes if shape not in dense}
        highest = max(raw.values())
        if factor * highest <= 1:
            return [0.0 if shape in dense else 1 - factor * raw[shape] for shape in shapes]
        dense |= {shape for shape, value in raw.items() if value == highest}


def dense_bytes(sizes):
    return 4 * sum(inputs * outputs + outputs for inputs, outputs in zip(sizes, sizes[1:]))


def bitmask_bytes(sizes, sparsity):
    weights = sum(inputs * outputs for inputs, outputs in zip(sizes, sizes[1:]))
    return 4 * rounded((1 - sparsity) * weights) + weights / 8 + 4 * sum(sizes[1:])


def tables():
    lenet = [(784, 300), (300, 100), (100, 10)]
    published = {
        0.8: (0.83776, 0.53064, 0), 0.9: (0.92043, 0.76981, 0), 0.95: (0.96152, 0.88867, 0.08149),
        0.98: (0.98461, 0.95547, 0.6326), 0.99: (0.9923, 0.97773, 0.8163),
    }  # fmt: skip
    result = {"erk_lenet_300_100": [], "agp_cubic": [], "rigl_bytes": []}
    for sparsity, expected in published.items():
        layers = erk(lenet, sparsity)
        assert all(abs(one - other) <= 5.001e-6 for one, other in zip(layers, expected)), (sparsity, layers)
        result["erk_lenet_300_100"].append({"sparsity": sparsity, "layers": layers})
    # s_f + (s_i − s_f)(1 − t)³ from 0 to 0.9 (Zhu and Gupta 2017).
    agp = [0.9 - 0.9 * (1 - step / 10) ** 3 for step in range(11)]
    expected = (0, 0.2439, 0.4392, 0.5913, 0.7056, 0.7875, 0.8424, 0.8757, 0.8928, 0.8991, 0.9)
    assert all(abs(one - other) < 1e-12 for one, other in zip(agp, expected))
    result["agp_cubic"] = [{"progress": step / 10, "sparsity": value} for step, value in enumerate(agp)]
    # The compact LeNet-300-100s of Evci et al. 2020: the inputs and hidden units that are left, and the outputs. Last,
    # the paper's figure, and how far the formula may be from it: the paper gives sparsities to three digits.
    for name, sizes, sparsity, paper, tolerance in (
        ("SBP", (245, 160, 55, 10), 0.0, 195100, 0),
        ("L0", (266, 88, 33, 10), 0.0, 107092, 0),
        ("VIB", (97, 71, 33, 10), 0.0, 38696, 0),
        ("RigL", (375, 62, 51, 10), 0.886, 16133, 1),
        ("RigL", (408, 100, 69, 10), 0.870, 31914, 0.0005 * 4 * 48390),
    ):
        value = bitmask_bytes(sizes, sparsity) if sparsity else dense_bytes(sizes)
        assert abs(value - paper) <= tolerance, (name, value)
        row = {"name": name, "sizes": sizes, "sparsity": sparsity, "format": "bitmask" if sparsity else "dense"}
        result["rigl_bytes"].append({**row, "bytes": value, "published": paper})
    return result
