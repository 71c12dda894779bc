"""Wrong and right answers to lab4.fp32_engine."""

from pathlib import Path

from tests_course_api import right, wrong

from yolotrt_lab.engines.platform import activate
from yolotrt_lab.errors import EngineBuildError

trt = activate().trt


class Keeper(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
        self.lines = []

    def log(self, severity, msg):
        if int(severity) <= int(trt.ILogger.ERROR):
            self.lines.append(msg)


def started(logger):
    builder = trt.Builder(logger)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.clear_flag(trt.BuilderFlag.TF32)
    network = builder.create_network()
    return builder, config, network, trt.OnnxParser(network, logger)


def require(onnx_path):
    if not Path(onnx_path).is_file():
        raise FileNotFoundError(f"no ONNX file at {onnx_path}")


@wrong(caught_by="test_a_build_that_gives_none_says_why", says="does not raise")
def trusts_the_builder(onnx_path):
    """Believes that a failed build raises, as Python functions do."""
    require(onnx_path)
    logger = Keeper()
    builder, config, network, parser = started(logger)
    if not parser.parse_from_file(str(onnx_path)):
        raise EngineBuildError("; ".join(str(parser.get_error(i)) for i in range(parser.num_errors)))
    return bytes(builder.build_serialized_network(network, config))


@wrong(caught_by="test_every_parser_error_is_reported", says="not the only one")
def first_error_only(onnx_path):
    """Believes that the parser stops at its first error."""
    require(onnx_path)
    logger = Keeper()
    builder, config, network, parser = started(logger)
    if not parser.parse_from_file(str(onnx_path)):
        raise EngineBuildError(f"cannot parse {onnx_path}: {parser.get_error(0)}")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineBuildError("\n".join(logger.lines))
    return bytes(plan)


@wrong(caught_by="test_every_parser_error_is_reported", says="not a reason")
def no_reasons(onnx_path):
    """Believes that False is all there is to know."""
    require(onnx_path)
    logger = Keeper()
    builder, config, network, parser = started(logger)
    if not parser.parse_from_file(str(onnx_path)):
        raise EngineBuildError(f"{onnx_path} could not be parsed")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineBuildError("\n".join(logger.lines))
    return bytes(plan)


@wrong(caught_by="test_a_build_that_gives_none_says_why", says="logger alone")
def silent_none(onnx_path):
    """Raises for None, but lets the logger print the reason to a terminal nobody reads."""
    require(onnx_path)
    builder, config, network, parser = started(trt.Logger(trt.Logger.ERROR))
    if not parser.parse_from_file(str(onnx_path)):
        raise EngineBuildError("; ".join(str(parser.get_error(i)) for i in range(parser.num_errors)))
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineBuildError("the build failed")
    return bytes(plan)


@wrong(caught_by="test_it_computes_in_fp32_what_onnx_runtime_does", says="yardstick")
def faster_is_better(onnx_path):
    """Allows FP16 because engines are about speed."""
    require(onnx_path)
    logger = Keeper()
    builder, config, network, parser = started(logger)
    config.set_flag(trt.BuilderFlag.FP16)
    if not parser.parse_from_file(str(onnx_path)):
        raise EngineBuildError("; ".join(str(parser.get_error(i)) for i in range(parser.num_errors)))
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineBuildError("\n".join(logger.lines))
    return bytes(plan)


@wrong(caught_by="test_a_missing_file_is_not_a_broken_one", says="different errors")
def parser_finds_out(onnx_path):
    """Leaves it to the parser to find that there is no file."""
    logger = Keeper()
    builder, config, network, parser = started(logger)
    if not parser.parse_from_file(str(onnx_path)):
        raise EngineBuildError("; ".join(str(parser.get_error(i)) for i in range(parser.num_errors)))
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineBuildError("\n".join(logger.lines))
    return bytes(plan)


@wrong(caught_by="test_a_good_model_becomes_a_plan", says="TensorRT's own IHostMemory")
def the_object_itself(onnx_path):
    """Returns TensorRT's own object for the plan's memory."""
    require(onnx_path)
    logger = Keeper()
    builder, config, network, parser = started(logger)
    if not parser.parse_from_file(str(onnx_path)):
        raise EngineBuildError("; ".join(str(parser.get_error(i)) for i in range(parser.num_errors)))
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineBuildError("\n".join(logger.lines))
    return plan


@wrong(caught_by="test_it_computes_in_fp32_what_onnx_runtime_does", says="verbosity")
def cannot_be_inspected(onnx_path):
    """Leaves the profiling verbosity at its default."""
    require(onnx_path)
    logger = Keeper()
    builder, config, network, parser = started(logger)
    config.profiling_verbosity = trt.ProfilingVerbosity.LAYER_NAMES_ONLY
    if not parser.parse_from_file(str(onnx_path)):
        raise EngineBuildError("; ".join(str(parser.get_error(i)) for i in range(parser.num_errors)))
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineBuildError("\n".join(logger.lines))
    return bytes(plan)


@right
def from_bytes(onnx_path):
    """Parses bytes, quotes the whole log instead of the parser's list, returns a bytearray."""
    content = Path(onnx_path).read_bytes()
    logger = Keeper()
    builder, config, network, parser = started(logger)
    if not parser.parse(content):
        reasons = [f"{parser.get_error(i).node_name()}: {parser.get_error(i).desc()}" for i in range(parser.num_errors)]
        raise EngineBuildError(f"{onnx_path} cannot be parsed.", got=" | ".join(reasons))
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineBuildError("No engine.", got=" | ".join(logger.lines))
    return bytearray(plan)


@right
def strongly_typed_by_engine(onnx_path):
    """Uses a strongly typed network and serializes a live engine."""
    with open(onnx_path, "rb"):
        pass
    logger = Keeper()
    builder = trt.Builder(logger)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.clear_flag(trt.BuilderFlag.TF32)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse_from_file(str(onnx_path))
    problems = [str(parser.get_error(index)) for index in range(parser.num_errors)]
    if not parsed or problems:
        raise EngineBuildError("The parser refuses the model.", got="\n".join(problems))
    engine = builder.build_engine_with_config(network, config)
    if engine is None:
        raise EngineBuildError("TensorRT builds nothing.", got="\n".join(logger.lines))
    return bytes(engine.serialize())
