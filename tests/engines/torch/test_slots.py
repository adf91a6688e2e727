from llava_serve.engines.torch.slots import Slots


def test_who_came_first_runs_first_and_no_more_than_the_limit() -> None:
    slots: Slots[str] = Slots(limit=2)
    for job in "abcd":
        slots.add(job)
    assert slots.admit() == ["a", "b"]
    assert slots.admit() == []
    slots.remove("a")
    assert slots.admit() == ["c"]
    assert (slots.running, list(slots.waiting)) == (["b", "c"], ["d"])


def test_a_waiting_job_can_leave() -> None:
    slots: Slots[str] = Slots(limit=1)
    for job in "abc":
        slots.add(job)
    slots.admit()
    slots.remove("b")
    slots.remove("a")
    assert slots.admit() == ["c"]


def test_empty_slots_are_falsy() -> None:
    slots: Slots[str] = Slots(limit=1)
    assert not slots
    slots.add("a")
    assert slots
    slots.admit()
    assert len(slots) == 1
