"""Several threads, each with a context and a stream of its own, as a server has them."""

import threading

import numpy as np


def test_threads_get_their_own_results(lab, model, infer, images, reference, distance):
    engine = lab.engine(model())
    expected = reference(model(), images())
    results, failures = [], []

    def work():
        try:
            context = engine.create_execution_context()
            results.extend(infer(context, images()) for _ in range(10))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(results) == 40
    assert all(distance(found, expected) < 1e-4 for found in results)
    assert all(np.array_equal(found, results[0]) for found in results)
