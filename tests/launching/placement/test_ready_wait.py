from llava_serve.launching.placement.ready_wait import ReadyWait


def test_a_wait_ends_once() -> None:
    wait = ReadyWait(10.0)
    assert wait.take(11.0, is_ready=False) is None
    assert wait.take(14.0, is_ready=True) == 4.0
    assert wait.take(15.0, is_ready=True) is None


def test_what_was_lost_is_waited_for_from_then_on() -> None:
    wait = ReadyWait(10.0)
    wait.take(14.0, is_ready=True)
    assert wait.take(100.0, is_ready=False) is None
    assert wait.began_at == 100.0
    wait.take(101.0, is_ready=False)
    assert wait.take(103.0, is_ready=True) == 3.0
