"""The nets and batches that are scored, and how scores become masks."""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional

# Relative to the largest score. A mask whose cut is narrower than this would test rounding, not a criterion.
NARROWEST_CUT = 1e-6


def generator(seed):
    return torch.Generator().manual_seed(seed)


def rounded(value):
    """To the nearest integer, halves away from zero; Python's own `round` takes halves to even. For values that are not
    negative."""
    return math.floor(value + 0.5)


def linear_net(*sizes):
    layers = []
    for inputs, outputs in zip(sizes, sizes[1:]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def conv_net():
    """LeNet-5-Caffe's structure: no ReLU after the convolutions, one between the linear layers."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 10),
    )  # fmt: skip


# Name: how to build it, the shape of an input, how many classes (1: one logit, binary), rows, seed.
NETS = {
    "mlp": (lambda: linear_net(12, 16, 8, 1), (12,), 1, 37, 1),
    "mlp10": (lambda: linear_net(20, 24, 16, 10), (20,), 10, 50, 2),
    "conv": (conv_net, (1, 12, 12), 10, 30, 3),
}


class Subject:
    """A net with PyTorch's own initial values, and a batch."""

    def __init__(self, name):
        self.build, self.input_shape, self.classes, rows, seed = NETS[name]
        torch.manual_seed(seed)
        self.net = self.build()
        draw = generator(1000 + seed)
        self.inputs = torch.randn(rows, *self.input_shape, generator=draw)
        self.targets = torch.randint(max(self.classes, 2), (rows,), generator=draw)
        if self.classes == 1:
            self.targets = self.targets.float()

    def loss(self, logits, targets=None):
        targets = self.targets if targets is None else targets
        if self.classes == 1:
            return functional.binary_cross_entropy_with_logits(logits.squeeze(1), targets.to(logits.dtype))
        return functional.cross_entropy(logits, targets)

    def copy(self, dtype=torch.float32):
        net = self.build()
        net.load_state_dict(self.net.state_dict())
        return net.to(dtype)


def layers_of(net):
    """The layers that have parameters, in order: `layers.<i>` of the files."""
    return [module for module in net if isinstance(module, (nn.Linear, nn.Conv2d))]


def prunable_of(net):
    """The output layer is never pruned, nor is a bias."""
    return layers_of(net)[:-1]


def named(prefix, tensors, part="weight"):
    return {f"{prefix}layers.{index}.{part}": tensor.detach().clone() for index, tensor in enumerate(tensors)}


def lowest_removed(scores, count):
    """Masks that lack exactly the `count` lowest of all scores, ties by (layer, flat index), and the width of the cut
    relative to the largest score: 0 if a tie was broken."""
    flat = np.concatenate([score.detach().numpy().ravel() for score in scores])
    order = np.argsort(flat, kind="stable")
    mask = torch.ones(len(flat), dtype=torch.uint8)
    mask[torch.from_numpy(order[:count].copy())] = 0
    width = float(flat[order[count]] - flat[order[count - 1]]) / float(np.abs(flat).max())
    assert width >= NARROWEST_CUT or flat[order[count]] == flat[order[count - 1]] == 0, (
        f"a cut of {width}: take another seed"
    )
    parts = mask.split([score.numel() for score in scores])
    return [part.reshape(score.shape) for part, score in zip(parts, scores)], width


def removed(masks):
    """How many each mask removes."""
    return [int((mask == 0).sum()) for mask in masks]
