"""What may be called while a stream captures. Codes and states are those of an H200 with CUDA 13.0, all tried there."""

import threading

import pytest

NONE, ACTIVE, INVALIDATED = 0, 1, 2
MODES = {"global": 0, "thread local": 1, "relaxed": 2}
NBYTES = 16


def value(result):
    code, *values = result
    assert int(code) == 0, code
    return values[0] if values else None


def value_pair(result):
    assert int(result[0]) == 0
    return list(result[1:])


def after_record(call):
    """Return a call on an event that was just recorded in the capture."""
    return lambda rt, box: call(rt, box, box.recorded())


FORBIDDEN = (900, INVALIDATED, 901)
FINE = (0, ACTIVE, 0)
STRICT = ("global", "thread local")
# What is called while a non-blocking stream captures: in strict modes, and in relaxed mode, the call's code, the state
# then, and the code of ending the capture. All tried on the GPU, but for instantiating in relaxed mode, which CUDA's
# documentation allows.
CALLS = {
    "synchronise the stream": (lambda rt, box: rt.cudaStreamSynchronize(box.stream), FORBIDDEN, FORBIDDEN),
    "query the stream": (lambda rt, box: rt.cudaStreamQuery(box.stream), FORBIDDEN, FORBIDDEN),
    "synchronise another stream": (lambda rt, box: rt.cudaStreamSynchronize(box.other), FORBIDDEN, FINE),
    "synchronise the device": (lambda rt, box: rt.cudaDeviceSynchronize(), FORBIDDEN, FORBIDDEN),
    "malloc": (lambda rt, box: rt.cudaMalloc(64), FORBIDDEN, FINE),
    "free": (lambda rt, box: rt.cudaFree(0), FORBIDDEN, FINE),
    "malloc host": (lambda rt, box: rt.cudaMallocHost(64), FORBIDDEN, FINE),
    "memcpy": (lambda rt, box: rt.cudaMemcpy(box.memory, box.host, NBYTES, rt.cudaMemcpyKind(1)), FINE, FINE),
    "memset": (lambda rt, box: rt.cudaMemset(box.memory, 0, NBYTES), FINE, FINE),
    "copy in": (lambda rt, box: box.copy_in(), FINE, FINE),
    "copy back": (lambda rt, box: box.copy_back(), FINE, FINE),
    "copy in the default stream": (lambda rt, box: box.copy_in(rt.cudaStream_t(0)), FINE, FINE),
    "copy in another stream": (lambda rt, box: box.copy_in(box.other), FINE, FINE),
    "wait for an event from before": (
        lambda rt, box: rt.cudaStreamWaitEvent(box.stream, box.before, 0),
        (905, INVALIDATED, 901),
        (905, INVALIDATED, 901),
    ),
    "wait for an event never recorded": (
        lambda rt, box: rt.cudaStreamWaitEvent(box.stream, box.event(), 0),
        FINE,
        FINE,
    ),
    "synchronise a captured event": (
        after_record(lambda rt, box, event: rt.cudaEventSynchronize(event)),
        (907, INVALIDATED, 901),
        (907, INVALIDATED, 901),
    ),
    "query a captured event": (
        after_record(lambda rt, box, event: rt.cudaEventQuery(event)),
        (907, INVALIDATED, 901),
        (907, INVALIDATED, 901),
    ),
    "time to a captured event": (
        after_record(lambda rt, box, event: rt.cudaEventElapsedTime(box.before, event)),
        (907, ACTIVE, 0),
        (907, ACTIVE, 0),
    ),
    "synchronise an event from before": (lambda rt, box: rt.cudaEventSynchronize(box.before), FORBIDDEN, FINE),
    "query an event from before": (lambda rt, box: rt.cudaEventQuery(box.before), FORBIDDEN, FINE),
    "instantiate a graph": (lambda rt, box: rt.cudaGraphInstantiate(box.graph, 0), FORBIDDEN, FINE),
    "begin again": (lambda rt, box: rt.cudaStreamBeginCapture(box.stream, 0), (401, ACTIVE, 0), (401, ACTIVE, 0)),
    "end another": (lambda rt, box: rt.cudaStreamEndCapture(box.other), (401, ACTIVE, 0), (401, ACTIVE, 0)),
    "create a stream": (lambda rt, box: rt.cudaStreamCreate(), FINE, FINE),
    "destroy a stream": (lambda rt, box: rt.cudaStreamDestroy(box.blocking), FINE, FINE),
    "create an event": (lambda rt, box: rt.cudaEventCreate(), FINE, FINE),
    "ask for free memory": (lambda rt, box: rt.cudaMemGetInfo(), FINE, FINE),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CALLS)
def test_calls_during_a_capture(rt, box, name, mode):
    call, strict, relaxed = CALLS[name]
    box.begin(mode=MODES[mode])
    value(box.fill(box.stream))
    code = int(call(rt, box)[0])
    status = box.status()
    ended = int(box.end()[0])
    assert (code, status, ended) == (strict if mode in STRICT else relaxed)
    assert box.status() == NONE


def test_what_follows_a_spoilt_capture_fails_until_it_is_ended(rt, box):
    box.begin()
    rt.cudaStreamSynchronize(box.stream)
    assert int(box.fill(box.stream)[0]) == 901
    assert int(box.end()[0]) == 901
    value(box.fill(box.stream))
    value(rt.cudaStreamSynchronize(box.stream))


class TestTheDefaultStream:
    @pytest.mark.parametrize(
        "use",
        [
            lambda rt, box: box.fill(0),
            lambda rt, box: rt.cudaMemcpy(box.memory, box.host, NBYTES, rt.cudaMemcpyKind(1)),
            lambda rt, box: rt.cudaEventRecord(box.before, 0),
            lambda rt, box: rt.cudaStreamSynchronize(0),
            lambda rt, box: rt.cudaStreamQuery(0),
        ],
    )
    def test_it_cannot_be_used_while_a_blocking_stream_captures(self, rt, box, use):
        box.begin(box.blocking, mode=2)
        assert int(rt.cudaStreamIsCapturing(0)[0]) == 906
        assert box.status(box.blocking) == ACTIVE, "asking does no harm"
        assert int(use(rt, box)[0]) == 906
        assert box.status(box.blocking) == INVALIDATED
        assert int(box.end(box.blocking)[0]) == 901

    @pytest.mark.parametrize("handle", [0, 1])
    def test_it_cannot_capture(self, rt, box, handle):
        assert int(rt.cudaStreamBeginCapture(handle, 0)[0]) == 900

    def test_a_threads_own_one_can(self, rt, box):
        value(rt.cudaStreamBeginCapture(2, 0))
        assert int(value(rt.cudaStreamIsCapturing(2))) == ACTIVE
        value(rt.cudaStreamEndCapture(2))


class TestOddCalls:
    def test_ending_what_was_not_begun(self, rt, box):
        assert int(box.end()[0]) == 401

    def test_events_recorded_in_a_capture_mark_nothing_afterwards(self, rt, box):
        box.begin()
        event = box.recorded()
        value(box.end())
        assert int(rt.cudaEventQuery(event)[0]) == 1
        assert int(rt.cudaEventSynchronize(event)[0]) == 1
        assert int(rt.cudaEventElapsedTime(box.before, event)[0]) == 1
        assert int(rt.cudaStreamWaitEvent(box.other, event, 0)[0]) == 1
        value(rt.cudaEventRecord(event, box.stream))
        value(rt.cudaEventSynchronize(event))

    def test_destroying_a_stream_gives_its_capture_up(self, rt, box):
        box.begin()
        value(rt.cudaStreamDestroy(box.stream))
        value(rt.cudaMalloc(64))

    @pytest.mark.parametrize(
        ("mode", "malloc", "ended"), [("global", 900, 908), ("thread local", 0, 908), ("relaxed", 0, 0)]
    )
    def test_other_threads(self, rt, box, mode, malloc, ended):
        found = []
        box.begin(mode=MODES[mode])
        thread = threading.Thread(target=lambda: found.append(int(rt.cudaMalloc(64)[0])))
        thread.start()
        thread.join()
        if malloc:  # that spoilt it
            assert int(box.end()[0]) == 901
            box.begin(mode=MODES[mode])
        thread = threading.Thread(target=lambda: found.append(int(box.end()[0])))
        thread.start()
        thread.join()
        assert found == [malloc, ended]
        assert box.status() == NONE

    def test_host_functions_are_captured_too(self, rt, box):
        from yolotrt_lab.emulation.device import device

        called = []
        box.begin()
        device().scheduler.launch_host_function(int(box.stream), lambda: called.append(1))
        graph = value(box.end())
        node = value_pair(rt.cudaGraphGetNodes(graph, 1))[0][0]
        assert value(rt.cudaGraphNodeGetType(node)).name == "cudaGraphNodeTypeHost"
        launchable = value(rt.cudaGraphInstantiate(graph, 0))
        for _ in range(2):
            value(rt.cudaGraphLaunch(launchable, box.stream))
        assert called == []
        value(rt.cudaStreamSynchronize(box.stream))
        assert called == [1, 1]
