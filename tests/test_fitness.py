from core.fitness import Fitness


def test_a_job_is_hopeless_only_when_every_host_refused_it() -> None:
    fitness = Fitness(["a", "b"])
    fitness.note("a", "k", "no LoRA x")
    assert fitness.hopeless("k") == ""
    fitness.note("b", "k", "no node Y")
    assert fitness.hopeless("k") == "no host can run it: a: no LoRA x; b: no node Y"
    assert fitness.hopeless("other") == ""


def test_a_single_host_s_words_are_given_as_they_are() -> None:
    fitness = Fitness(["a"])
    fitness.note("a", "k", "no LoRA x")
    assert fitness.hopeless("k") == "no LoRA x"


def test_a_host_that_got_what_it_lacked_gives_hope_again() -> None:
    fitness = Fitness(["a"])
    fitness.note("a", "k", "no LoRA x")
    fitness.note("a", "k", "")
    assert fitness.hopeless("k") == ""
