"""Trajectories of torch.optim over fixed gradients."""

import torch
from torch import nn

from nets import generator

LEARNING_RATE = 1e-2
OPTIMIZERS = {
    "adam": (torch.optim.Adam, {"weight_decay": 0.0}),
    "adam_decay": (torch.optim.Adam, {"weight_decay": 0.01}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.01}),
    "sgd": (torch.optim.SGD, {}),
    "sgd_decay": (torch.optim.SGD, {"weight_decay": 5e-4}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "momentum_decay": (torch.optim.SGD, {"momentum": 0.9, "weight_decay": 5e-4}),
    "nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "nesterov_decay": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}),
}


def optimizers_file():
    draw = generator(7)
    start = torch.randn(50, generator=draw)
    gradients = torch.randn(100, 50, generator=draw)
    # One weight that only decays, and one whose gradient is about Adam's eps, so that the place of eps shows.
    gradients[:, 0] = 0
    gradients[:, 1] *= 1e-8
    arrays = {"start": start, "gradients": gradients}
    for name, (optimizer, options) in OPTIMIZERS.items():
        for dtype, label in ((torch.float32, "f32"), (torch.float64, "f64")):
            parameter = nn.Parameter(start.to(dtype).clone())
            steps = optimizer([parameter], lr=LEARNING_RATE, foreach=False, **options)
            for step, gradient in enumerate(gradients.to(dtype), 1):
                parameter.grad = gradient.clone()
                steps.step()
                if step in (1, 10, 100):
                    arrays[f"{name}.{label}.step{step}"] = parameter.detach().clone()
    return arrays
