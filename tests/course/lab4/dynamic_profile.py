"""Wrong and right answers to lab4.dynamic_profile."""

from tests_course_api import right, wrong

from yolotrt_lab.engines.messages import make_logger
from yolotrt_lab.engines.platform import activate
from yolotrt_lab.errors import EngineBuildError, InputError

trt = activate().trt


class Base:
    """A right answer in parts, so that each wrong one changes one idea."""

    def __init__(self, onnx_path, *, min_batch, opt_batch, max_batch):
        self.batches = (min_batch, opt_batch, max_batch)
        self.logger = make_logger(trt)
        builder = trt.Builder(self.logger)
        network = builder.create_network()
        parser = trt.OnnxParser(network, self.logger)
        if not parser.parse_from_file(str(onnx_path)):
            raise EngineBuildError(str(parser.get_error(0)))
        config = builder.create_builder_config()
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        config.clear_flag(trt.BuilderFlag.TF32)
        self.add_profile(builder, network, config)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise EngineBuildError("No engine.", got=self.logger.errors())
        self.plan = bytes(plan)
        self.engine = trt.Runtime(self.logger).deserialize_cuda_engine(self.plan)
        self.context = self.engine.create_execution_context()

    def dynamic_inputs(self, network):
        inputs = [network.get_input(index) for index in range(network.num_inputs)]
        found = [tensor for tensor in inputs if tensor.shape[0] == -1]
        if not found:
            raise InputError("The batch is fixed.", expected="a dynamic batch", got=tuple(inputs[0].shape))
        return found

    def add_profile(self, builder, network, config):
        profile = builder.create_optimization_profile()
        for tensor in self.dynamic_inputs(network):
            rest = tuple(tensor.shape)[1:]
            profile.set_shape(tensor.name, *[(batch, *rest) for batch in self.batches])
        if config.add_optimization_profile(profile) < 0:
            raise InputError("TensorRT refuses the profile.", got=self.batches)

    def names(self, mode):
        every = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        return [name for name in every if self.engine.get_tensor_mode(name) == mode]

    def set_batch(self, batch):
        for name in self.names(trt.TensorIOMode.INPUT):
            shape = tuple(self.engine.get_tensor_shape(name))
            if shape[0] == -1 and not self.context.set_input_shape(name, (batch, *shape[1:])):
                raise InputError(f"Batch {batch} does not fit.", expected=f"{self.batches[0]} to {self.batches[2]}")

    def output_shapes(self, batch):
        self.set_batch(batch)
        return {name: tuple(self.context.get_tensor_shape(name)) for name in self.names(trt.TensorIOMode.OUTPUT)}


@wrong(caught_by="test_an_impossible_range_is_refused_at_once", says="its result was negative")
class IgnoresTheIndex(Base):
    """Does not look at what add_optimization_profile returns."""

    def add_profile(self, builder, network, config):
        profile = builder.create_optimization_profile()
        for tensor in self.dynamic_inputs(network):
            rest = tuple(tensor.shape)[1:]
            profile.set_shape(tensor.name, *[(batch, *rest) for batch in self.batches])
        config.add_optimization_profile(profile)


@wrong(caught_by="test_an_impossible_range_is_refused_at_once", says="silently")
class SortsThem(Base):
    """Puts the numbers in order, to be helpful."""

    def __init__(self, onnx_path, *, min_batch, opt_batch, max_batch):
        low, mid, high = sorted((min_batch, opt_batch, max_batch))
        super().__init__(onnx_path, min_batch=low, opt_batch=mid, max_batch=high)


@wrong(caught_by="test_a_batch_outside_is_refused", says="returns False")
class TrustsTheContext(Base):
    """Believes that set_input_shape raises."""

    def set_batch(self, batch):
        for name in self.names(trt.TensorIOMode.INPUT):
            shape = tuple(self.engine.get_tensor_shape(name))
            self.context.set_input_shape(name, (batch, *shape[1:]))


@wrong(caught_by="test_the_profile_holds_least_preferred_and_most", says="one of the inputs")
class FirstInputOnly(Base):
    """Believes that a network has one input."""

    def dynamic_inputs(self, network):
        return super().dynamic_inputs(network)[:1]


@wrong(caught_by="test_the_profile_holds_least_preferred_and_most", says="exactly one batch size")
class TunedForTheLargest(Base):
    """Believes that an engine for the greatest batch also runs smaller ones."""

    def add_profile(self, builder, network, config):
        if not self.batches[0] <= self.batches[1] <= self.batches[2]:
            raise InputError("Out of order.", got=self.batches)
        profile = builder.create_optimization_profile()
        for tensor in self.dynamic_inputs(network):
            shape = (self.batches[2], *tuple(tensor.shape)[1:])
            profile.set_shape(tensor.name, shape, shape, shape)
        config.add_optimization_profile(profile)


@wrong(caught_by="test_the_profile_holds_least_preferred_and_most", says="rule out fast kernels")
class AlwaysFromOne(Base):
    """Starts every range at 1, to be on the safe side."""

    def add_profile(self, builder, network, config):
        if not self.batches[0] <= self.batches[1] <= self.batches[2]:
            raise InputError("Out of order.", got=self.batches)
        self.batches = (1, *self.batches[1:])
        super().add_profile(builder, network, config)


@wrong(caught_by="test_an_impossible_range_is_refused_at_once", says="one fixed batch")
class FixedIsFine(Base):
    """Builds a model with a fixed batch without a word."""

    def add_profile(self, builder, network, config):
        inputs = [network.get_input(index) for index in range(network.num_inputs)]
        if any(tensor.shape[0] == -1 for tensor in inputs):
            super().add_profile(builder, network, config)


@wrong(caught_by="test_output_shapes_follow_the_batch", says="not known yet")
class AsksTheEngine(Base):
    """Asks the engine, which knows no batch, instead of the context."""

    def output_shapes(self, batch):
        self.set_batch(batch)
        return {name: tuple(self.engine.get_tensor_shape(name)) for name in self.names(trt.TensorIOMode.OUTPUT)}


@wrong(caught_by="test_a_batch_outside_is_refused", says="which batch would have been right")
class SaysNothing(Base):
    """Refuses without telling what would have been right."""

    def set_batch(self, batch):
        try:
            super().set_batch(batch)
        except InputError:
            raise InputError("Wrong batch.") from None


@right
class ChecksItself:
    """Checks the numbers in Python, keeps the range, makes a new context for every question."""

    def __init__(self, onnx_path, min_batch, opt_batch, max_batch):
        if not 0 < min_batch <= opt_batch <= max_batch:
            raise InputError(f"{min_batch}, {opt_batch}, {max_batch} are out of order.")
        self.low, self.high = min_batch, max_batch
        self.logger = make_logger(trt)
        builder = trt.Builder(self.logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, self.logger)
        parser.parse(onnx_path.read_bytes())
        config = builder.create_builder_config()
        config.clear_flag(trt.BuilderFlag.TF32)
        profile = builder.create_optimization_profile()
        dynamic = False
        for index in range(network.num_inputs):
            tensor = network.get_input(index)
            dynamic |= -1 in tensor.shape
            batches = (min_batch, opt_batch, max_batch)
            profile.set_shape(tensor.name, *[[n if size < 0 else size for size in tensor.shape] for n in batches])
        if not dynamic:
            raise InputError("This model has no dynamic batch.")
        config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise EngineBuildError(self.logger.errors())
        self.plan = bytearray(plan)

    def output_shapes(self, batch):
        if batch not in range(self.low, self.high + 1):
            raise InputError(f"Batch {batch} is not in {self.low}..{self.high}.")
        engine = trt.Runtime(self.logger).deserialize_cuda_engine(bytes(self.plan))
        context = engine.create_execution_context()
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        for name in names:
            shape = list(engine.get_tensor_shape(name))
            if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT and shape[0] == -1:
                context.set_input_shape(name, [batch, *shape[1:]])
        outputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT]
        return {name: list(context.get_tensor_shape(name)) for name in outputs}


@right
class AsksTheProfile(Base):
    """Takes the range from the engine's own profile."""

    def set_batch(self, batch):
        for name in self.names(trt.TensorIOMode.INPUT):
            shape = self.engine.get_tensor_shape(name)
            if shape[0] != -1:
                continue
            low, _, high = self.engine.get_tensor_profile_shape(name, 0)
            if not low[0] <= batch <= high[0]:
                raise InputError(f"{batch} is outside of {low[0]} to {high[0]}.")
            self.context.set_input_shape(name, trt.Dims([batch, *tuple(shape)[1:]]))
