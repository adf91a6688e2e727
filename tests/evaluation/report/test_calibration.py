"""Reliability of probabilities: bins and the expected calibration error."""

import math

import pytest

from llava_serve.evaluation.report.calibration import Calibration, confidence_of


def test_the_error_is_the_weighted_distance_of_probability_and_credit() -> None:
    calibration = Calibration()
    for credit in (1.0, 1.0, 1.0, 0.0):
        calibration.add(math.log(0.95), credit)  # says 95 %, is right in 75 %
    calibration.add(math.log(0.25), 0.25)
    reliability = calibration.reliability()
    assert reliability is not None
    assert reliability.expected_calibration_error == pytest.approx(4 / 5 * 0.2)
    assert reliability.mean_confidence == pytest.approx((4 * 0.95 + 0.25) / 5)
    assert [one.n for one in reliability.bins] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 4]
    assert reliability.bins[9].credit == 0.75
    assert reliability.bins[0].credit is None


def test_a_certain_answer_is_in_the_last_bin() -> None:
    calibration = Calibration()
    calibration.add(0.0, 1.0)
    calibration.add(1e-7, 1.0)  # a sum of rounded log-probabilities may pass 0
    calibration.add(-1e9, 0.0)
    reliability = calibration.reliability()
    assert reliability is not None
    assert (reliability.bins[9].n, reliability.bins[0].n) == (2, 1)
    assert reliability.expected_calibration_error == 0


def test_no_answer_has_no_error() -> None:
    assert Calibration().reliability() is None
    assert confidence_of(-0.5) == pytest.approx(0.6065, abs=1e-4)
