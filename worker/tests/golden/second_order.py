"""Removal with compensation in one linear layer: OBS and SparseGPT, in float64."""

import torch

from criteria import by_row, lamp
from nets import generator, lowest_removed, rounded


def correlated(rows, inputs, draw):
    """Normal inputs that are correlated: with independent ones there is next to nothing to compensate."""
    mixing = torch.eye(inputs, dtype=torch.float64)
    mixing += 0.2 * torch.randn(inputs, inputs, generator=draw, dtype=torch.float64)
    return torch.randn(rows, inputs, generator=draw, dtype=torch.float64) @ mixing


def obs(arrays):
    """Five weights of a least-squares problem, removed one at a time (Hassibi and Stork 1993): the lowest
    w²/(2 [H⁻¹]_qq) goes, and the others move by −w_q/[H⁻¹]_qq · H⁻¹ e_q, H being of the weights that are left."""
    draw = generator(5)
    rows, inputs, removals = 64, 10, 5
    x = correlated(rows, inputs, draw)
    hessian = x.T @ x / rows + 1e-3 * torch.eye(inputs, dtype=torch.float64)
    start = torch.randn(inputs, generator=draw, dtype=torch.float64)
    weights, left, order, saliencies, steps = start.clone(), list(range(inputs)), [], [], []
    for _ in range(removals):
        inverse = torch.linalg.inv(hessian[left][:, left])
        saliency = weights[left] ** 2 / (2 * inverse.diagonal())
        lowest = int(saliency.argmin())
        weights[left] -= weights[left[lowest]] / inverse[lowest, lowest] * inverse[:, lowest]
        weights[left[lowest]] = 0
        order.append(left.pop(lowest))
        saliencies.append(saliency[lowest])
        steps.append(weights.clone())
        # Removing one at a time has to end where the quadratic has its minimum over the weights that are left.
        gone = torch.linalg.solve(hessian[left][:, left], hessian[left][:, order] @ start[order])
        torch.testing.assert_close(weights[left], start[left] + gone, rtol=1e-10, atol=1e-12)
    assert order != start.abs().argsort()[:removals].tolist(), "magnitudes alone must not give the order"
    arrays |= {
        "obs.inputs": x, "obs.hessian": hessian, "obs.hessian_inverse": torch.linalg.inv(hessian), "obs.weights": start,
        "obs.order": torch.tensor(order), "obs.saliency": torch.stack(saliencies), "obs.steps": torch.stack(steps),
    }  # fmt: skip


def sparsegpt(weights, hessian, sparsity, block, rows_apart):
    """SparseGPT (Frantar and Alistarh 2023, algorithm 1), float64. U is the upper Cholesky factor of H⁻¹ = Uᵀ U.

    Block after block of columns: first the mask of the whole block by w²/U_jj² as the weights now are, exactly
    round(sparsity · n) lowest of the block, or of each row of it with `rows_apart`; then column after column j: e =
    w_j/U_jj where masked and else 0, columns j… of the block lose e · U_j,j… ; after the block the columns behind it
    lose the same.
    """
    weights = weights.clone()
    factor = torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)
    diagonal = factor.diagonal()
    mask = torch.ones(weights.shape, dtype=torch.uint8)
    columns = weights.shape[1]
    for begin in range(0, columns, block):
        end = min(begin + block, columns)
        saliency = weights[:, begin:end] ** 2 / diagonal[begin:end] ** 2
        if rows_apart:
            mask[:, begin:end] = by_row([saliency], sparsity)[0]
        else:
            mask[:, begin:end] = lowest_removed([saliency], rounded(sparsity * saliency.numel()))[0][0]
        errors = torch.zeros(weights.shape[0], end - begin, dtype=torch.float64)
        for j in range(begin, end):
            error = torch.where(mask[:, j] == 0, weights[:, j] / diagonal[j], 0.0)
            weights[:, j:end] -= error[:, None] * factor[j, j:end]
            weights[mask[:, j] == 0, j] = 0
            errors[:, j - begin] = error
        weights[:, end:] -= errors @ factor[begin:end, end:]
    return weights, mask


def sweep_by_inverses(weights, hessian, mask):
    """The same compensation without Cholesky: a removal updates its row by the inverse of H over the columns from it
    on.

    U_jj² is that inverse's first entry, which is what makes w²/U_jj² the saliency of OBS.
    """
    weights = weights.clone()
    for j in range(weights.shape[1]):
        inverse = torch.linalg.inv(hessian[j:, j:])
        error = torch.where(mask[:, j] == 0, weights[:, j] / inverse[0, 0], 0.0)
        weights[:, j:] -= error[:, None] * inverse[0]
        weights[mask[:, j] == 0, j] = 0
    return weights


def second_order_file():
    arrays = {}
    obs(arrays)
    draw = generator(8)
    rows, outputs, inputs = 128, 8, 16
    x = correlated(rows, inputs, draw)
    start = torch.randn(outputs, inputs, generator=draw, dtype=torch.float64)
    hessian = 2 * x.T @ x / rows
    hessian += 0.01 * hessian.diagonal().mean() * torch.eye(inputs, dtype=torch.float64)
    arrays |= {"sparsegpt.inputs": x, "sparsegpt.hessian": hessian, "sparsegpt.weights": start}
    magnitude = start * by_row([start.abs()], 0.5)[0]

    def error(weights):
        return torch.einsum("ij,jk,ik->", weights - start, hessian, weights - start)

    for name, block, rows_apart in (("row_16", 16, True), ("block_16", 16, False), ("block_8", 8, False)):
        weights, mask = sparsegpt(start, hessian, 0.5, block, rows_apart)
        torch.testing.assert_close(weights, sweep_by_inverses(start, hessian, mask), rtol=1e-10, atol=1e-12)
        assert error(weights) < 0.8 * error(magnitude), "too little to compensate: take another seed"
        arrays |= {f"sparsegpt.{name}.weights": weights, f"sparsegpt.{name}.mask": mask}
    arrays |= {"lamp.weights": torch.tensor([1.0, 2.0, 3.0]), "lamp.scores": lamp(torch.tensor([1.0, 2.0, 3.0]))}
    return arrays
