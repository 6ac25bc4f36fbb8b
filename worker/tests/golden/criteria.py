"""Scores of weights, by autograd or by a direct transcription of a formula, and the masks of torch.nn.utils.prune."""

import numpy as np
import torch
from torch.nn.utils import prune

from nets import generator, layers_of, lowest_removed, named, prunable_of, removed, rounded

SYNFLOW_ITERATIONS = 100


def torch_masks(subject, apply):
    """The masks that `apply`, given the prunable modules of a fresh copy, leaves in them."""
    modules = prunable_of(subject.copy())
    apply(modules)
    return [module.weight_mask.to(torch.uint8) for module in modules]


def torch_prune(subject, sparsity):
    """Masks of every method of torch.nn.utils.prune but the random ones, and how many each removes of each layer."""

    def count(number):
        # A layer keeps at least one unit: PyTorch would remove all 4 filters of the first convolution at 0.9.
        return min(rounded(sparsity * number), number - 1)

    def each(method, **options):
        def apply(modules):
            for module in modules:
                size = module.weight.shape[0] if "dim" in options else module.weight.numel()
                method(module, "weight", amount=count(size), **options)

        return apply

    total = sum(module.weight.numel() for module in prunable_of(subject.net))

    def everywhere(modules):
        parameters = [(module, "weight") for module in modules]
        prune.global_unstructured(parameters, pruning_method=prune.L1Unstructured, amount=count(total))

    methods = {
        "l1_layer": each(prune.l1_unstructured),
        "l1_global": everywhere,
        "ln1_structured": each(prune.ln_structured, n=1, dim=0),
        "ln2_structured": each(prune.ln_structured, n=2, dim=0),
    }
    masks = {name: torch_masks(subject, apply) for name, apply in methods.items()}
    # What is removed at random differs from generator to generator; how much must not.
    random = torch_masks(subject, each(prune.random_unstructured))
    magnitudes = [module.weight.abs() for module in prunable_of(subject.net)]
    assert all(map(torch.equal, masks["l1_global"], lowest_removed(magnitudes, count(total))[0]))
    return masks, {name: removed(masks) for name, masks in {**masks, "random_layer": random}.items()}


def custom_mask(subject):
    """A mask of one's own (every third weight goes), with the loss under it and the gradient of the unmasked weights:
    what reaches a weight through `weight_orig * mask`."""
    net = subject.copy()
    masks = []
    for module in prunable_of(net):
        mask = torch.ones(module.weight.numel(), dtype=torch.uint8)
        mask[::3] = 0
        masks.append(mask.reshape(module.weight.shape))
        prune.custom_from_mask(module, "weight", masks[-1])
    loss = subject.loss(net(subject.inputs))
    loss.backward()
    gradients = [getattr(layer, "weight_orig", layer.weight).grad for layer in layers_of(net)]
    return {
        **named("custom.mask.", masks),
        "custom.loss": loss.detach().reshape(1),
        **named("custom.gradient.", gradients),
        **named("custom.gradient.", [layer.bias.grad for layer in layers_of(net)], "bias"),
    }


def saliency(subject):
    """|w · g|, float32, g the gradient of the mean loss of the batch: first-order Taylor (Molchanov et al. 2017)."""
    net = subject.copy()
    subject.loss(net(subject.inputs)).backward()
    return [(layer.weight * layer.weight.grad).abs().detach() for layer in prunable_of(net)]


def snip(subject):
    """|w · g| over its sum over all prunable weights (Lee et al. 2019, equation 6), float32."""
    scores = saliency(subject)
    total = sum(score.sum() for score in scores)
    return [score / total for score in scores]


def grasp(subject, temperature, biases):
    """θ · (Hg), float64, of which the highest are kept (Wang et al. 2020: the score is −θ · (Hg) and its highest are
    removed).

    H and g are of the loss of logits / temperature, taken over the weights of all layers, the output layer's too; as in
    the authors' code without biases, or with them.
    """
    net = subject.copy(torch.float64)
    parameters = [layer.weight for layer in layers_of(net)]
    if biases:
        parameters += [layer.bias for layer in layers_of(net)]
    loss = subject.loss(net(subject.inputs.double()) / temperature)
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    product = sum((gradient.detach() * gradient).sum() for gradient in gradients)
    hessian_gradient = torch.autograd.grad(product, parameters)
    # Adding zero makes zeros positive: a total order that tells −0 from 0 must see a tie too.
    scores = [(weight * along + 0.0).detach() for weight, along in zip(parameters, hessian_gradient)]
    return scores[: len(prunable_of(net))]


def synflow_scores(net, input_shape, masks):
    """|w| · dR/d|w| where R is the sum of the outputs for an input of ones, the weights being |w| · mask and the
    biases zero, which they stay in `net`. (The authors' code has |b| there.)"""
    weights = [layer.weight for layer in layers_of(net)]
    signed = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for index, weight in enumerate(weights):
            weight.abs_()
            if index < len(masks):
                weight.mul_(masks[index])
        for layer in layers_of(net):
            layer.bias.zero_()
    gradients = torch.autograd.grad(net(torch.ones(1, *input_shape, dtype=torch.float64)).sum(), weights)
    scores = [(weight * gradient).detach() for weight, gradient in zip(weights, gradients)]
    with torch.no_grad():
        for weight, value in zip(weights, signed):
            weight.copy_(value)
    return scores[: len(prunable_of(net))]


def synflow(subject, sparsity, jitter=0.0):
    """Masks after SYNFLOW_ITERATIONS cuts (Tanaka et al. 2020), float64: the k-th leaves round((1 − d^(k/n)) · N)
    weights removed, d = 1 − sparsity. Removed ones stay so. `jitter` disturbs scores relatively."""
    net = subject.copy(torch.float64)
    draw = generator(4)
    masks = [torch.ones_like(layer.weight) for layer in prunable_of(net)]
    total = sum(mask.numel() for mask in masks)
    width = 0.0
    for iteration in range(1, SYNFLOW_ITERATIONS + 1):
        scores = synflow_scores(net, subject.input_shape, masks)
        scores = [
            score * (1 + jitter * torch.randn(score.shape, generator=draw, dtype=score.dtype)) for score in scores
        ]
        flat = torch.cat([torch.where(mask == 0, -1.0, score).flatten() for mask, score in zip(masks, scores)])
        count = rounded((1 - (1 - sparsity) ** (iteration / SYNFLOW_ITERATIONS)) * total)
        order = torch.from_numpy(np.argsort(flat.numpy(), kind="stable").copy())
        width = float((flat[order[count]] - flat[order[count - 1]]) / flat.max())
        mask = torch.ones(total, dtype=torch.float64)
        mask[order[:count]] = 0
        masks = [part.reshape(old.shape) for part, old in zip(mask.split([old.numel() for old in masks]), masks)]
    return [mask.to(torch.uint8) for mask in masks], width


def fisher(subject):
    """½ w² · mean over rows of g², float64, g the gradient of one row's loss (LeCun et al. 1990 with the empirical
    Fisher)."""
    net = subject.copy(torch.float64)
    weights = [layer.weight for layer in prunable_of(net)]
    squares = [torch.zeros_like(weight) for weight in weights]
    for row in range(len(subject.inputs)):
        rows = slice(row, row + 1)
        loss = subject.loss(net(subject.inputs[rows].double()), subject.targets[rows])
        for square, gradient in zip(squares, torch.autograd.grad(loss, weights)):
            square += gradient**2 / len(subject.inputs)
    return [(0.5 * weight**2 * square).detach() for weight, square in zip(weights, squares)]


def wanda(subject):
    """|W_ij| · ‖X_j‖₂, float32, X_j the layer's j-th input over the batch in the unpruned net (Sun et al. 2024); the
    norms too."""
    net = subject.copy()
    norms = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, x: norms.append(x[0].norm(dim=0).detach()))
        for layer in prunable_of(net)
    ]
    net(subject.inputs)
    for hook in hooks:
        hook.remove()
    return [(layer.weight.abs() * norm).detach() for layer, norm in zip(prunable_of(net), norms)], norms


def by_row(scores, sparsity):
    """Masks where outputs are apart: each row loses its round(sparsity · inputs) lowest."""
    return [
        torch.stack([lowest_removed([row], rounded(sparsity * len(row)))[0][0] for row in score])
        for score in scores
    ]  # fmt: skip


def lamp(weight):
    """w_u² over the sum of w_v² of all v with |w_v| ≥ |w_u|, float64 (Lee et al. 2021). Quadratic, to be plainly the
    formula."""
    squares = weight.detach().double().flatten() ** 2
    return torch.stack([square / squares[squares >= square].sum() for square in squares]).reshape(weight.shape)
