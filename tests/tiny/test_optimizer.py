"""Our stacked Muon takes the steps of torch's own."""

import torch
from torch import nn

from scripts.tiny.optimizer import StackedMuon, stable_then_decay


def test_stacked_steps_equal_single_ones() -> None:
    torch.manual_seed(0)
    shapes = [(8, 8), (8, 8), (16, 8), (8, 16), (8, 16)]
    ours = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [nn.Parameter(parameter.detach().clone()) for parameter in ours]
    stacked = StackedMuon(ours, lr=0.01, weight_decay=0.1)
    single = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        for one, two in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            two.grad = one.grad.clone()
        stacked.step()
        single.step()  # type: ignore[no-untyped-call]
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, two, atol=2e-3, rtol=1e-2)


def test_the_rate_warms_up_stays_and_falls_to_zero() -> None:
    shares = [stable_then_decay(done / 100) for done in range(101)]
    assert shares[0] < 0.1
    assert shares[50] == 1.0
    assert shares[100] == 0.0
    assert shares[90] < shares[85]
