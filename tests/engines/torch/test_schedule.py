from dataclasses import dataclass

from llava_serve.engines.torch.schedule import Schedule


@dataclass(eq=False)
class Job:
    name: str
    unread: int = 1
    is_answering: bool = False


def schedule(*names: str, slots: int = 2, unread: int = 1) -> Schedule[Job]:
    schedule: Schedule[Job] = Schedule(slots, chunk=8, alone=100)
    for name in names:
        schedule.add(Job(name, unread))
    return schedule


def admit(schedule: Schedule[Job]) -> str:
    admitted = schedule.candidates()
    for job in admitted:
        schedule.admit(job)
    return names(admitted)


def names(jobs: object) -> str:
    return "".join(job.name for job in jobs)  # type: ignore[attr-defined]


def step(schedule: Schedule[Job]) -> list[tuple[str, int]]:
    return [(share.job.name, share.count) for share in schedule.step()]


def test_who_came_first_runs_first_and_no_more_than_the_slots() -> None:
    jobs = schedule("a", "b", "c", "d")
    assert admit(jobs) == "ab"
    assert admit(jobs) == ""
    jobs.remove(jobs.running[0])
    assert admit(jobs) == "c"
    assert (names(jobs.running), names(jobs.waiting)) == ("bc", "d")


def test_a_waiting_job_can_leave() -> None:
    jobs = schedule("a", "b", "c", slots=1)
    admit(jobs)
    jobs.remove(jobs.waiting[0])
    jobs.remove(jobs.running[0])
    assert admit(jobs) == "c"


def test_an_empty_schedule_is_falsy() -> None:
    assert not schedule()
    jobs = schedule("a")
    assert jobs
    admit(jobs)
    assert len(jobs) == 1
    assert jobs.step()


def test_who_gives_its_slot_back_is_the_next_to_get_one() -> None:
    jobs = schedule("a", "b", "c")
    admit(jobs)
    jobs.put_back(jobs.running[1])
    assert names(jobs.waiting) == "bc"
    assert admit(jobs) == "b"


def test_prompts_are_read_in_the_order_they_came() -> None:
    jobs = schedule("a", "b", "c", slots=3, unread=60)
    admit(jobs)
    assert step(jobs) == [("a", 60), ("b", 40)]


def test_answers_advance_while_a_long_prompt_is_read_in_chunks() -> None:
    jobs = schedule("a", "b", "c", slots=3, unread=60)
    admit(jobs)
    for job in jobs.running[1:]:
        job.unread, job.is_answering = 1, True
    assert step(jobs) == [("b", 1), ("c", 1), ("a", 8)]
