"""The emulated builder configuration."""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.tensorrt.builder_flags import check_flag
from yolotrt_lab.emulation.tensorrt.logging import Reporter
from yolotrt_lab.emulation.tensorrt.objects import ContextManaged
from yolotrt_lab.emulation.tensorrt.profile import IOptimizationProfile
from yolotrt_lab.emulation.tensorrt.properties import FlagBits, fixed, kept
from yolotrt_lab.emulation.tensorrt.target import target
from yolotrt_lab.emulation.tensorrt.timing_cache import read_timing_cache
from yolotrt_lab.errors import EmulationError

__all__ = ["IBuilderConfig", "IOptimizationProfile", "default_tactic_sources"]


def _idle_setting(name: str, default: Any, document: str) -> Any:
    """Return a property that keeps a value and says in the log that the value changes nothing here.

    The default is a plain value, or the names of an enum and its member.
    """

    def read(self: IBuilderConfig) -> Any:
        initial = getattr(getattr(self._api, default[0]), default[1]) if isinstance(default, tuple) else default
        return self._settings.get(name, initial)

    def write(self: IBuilderConfig, value: Any) -> None:
        if value != read(self):
            self._reporter.warning(f"[emulation] IBuilderConfig.{name} has no effect on the CPU.")
        self._settings[name] = value

    return property(read, write, doc=document)


def default_tactic_sources(api: Any) -> int:
    """Return the libraries kernels come from unless a program says otherwise, as bits."""
    return sum(1 << int(getattr(api.TacticSource, name)) for name in ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"))


def _fixed(name: str, value: Any, document: str, *, meaning: str = "") -> Any:
    return fixed("IBuilderConfig", name, value, document, meaning=meaning)


class IBuilderConfig(FlagBits, ContextManaged):
    """How to build an engine."""

    def _setup(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self.reset()

    def reset(self) -> None:
        """Go back to the defaults."""
        self._flags = 1 << int(self._api.BuilderFlag.TF32)
        self._settings: dict[str, Any] = {}
        self._pools: dict[int, int] = {}
        self._profiles: list[Any] = []
        self._timing_cache: Any = None
        self._int8_calibrator: Any = None
        self._calibration_profile: Any = None
        self._quantization_flags = 0
        self._progress_monitor: Any = None
        self._profiling_verbosity = self._api.ProfilingVerbosity.LAYER_NAMES_ONLY
        self._preview: set[int] = set()
        self._tactic_sources = default_tactic_sources(self._api)

    # Flags

    @property
    def flags(self) -> int:
        """The builder flags as bits."""
        return self._flags

    @flags.setter
    def flags(self, value: int) -> None:
        for name, flag in self._api.BuilderFlag.__members__.items():
            if int(value) >> int(flag) & 1:
                self._check_flag(name)
        self._flags = int(value)

    def set_flag(self, flag: Any) -> None:
        """Set a flag."""
        self._check_flag(flag.name)
        super().set_flag(flag)

    def _has_flag(self, name: str) -> bool:
        """Return whether a flag is set, False if this version has no such flag."""
        flag = self._api.BuilderFlag.__members__.get(name)
        return flag is not None and self.get_flag(flag)

    def _check_flag(self, name: str) -> None:
        note = check_flag(name)
        if note is not None:
            self._reporter.warning(note)

    # Profiles, memory, timing cache

    def add_optimization_profile(self, profile: Any) -> int:
        """Add a profile and return its index; -1 if it is not valid."""
        if not profile:
            self._reporter.usage_error(
                "IBuilderConfig::addOptimizationProfile",
                "Parameter check failed, condition: profile->isValid(). "
                "Specified optimization profiles must satisfy MIN<=OPT<=MAX.",
            )
            return -1
        self._profiles.append(profile)
        return len(self._profiles) - 1

    @property
    def num_optimization_profiles(self) -> int:
        """How many profiles were added."""
        return len(self._profiles)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        """Limit a memory pool; OpenVINO's kernels need no pools, so the limit is only remembered."""
        if pool_size < 0:
            self._reporter.usage_error("IBuilderConfig::setMemoryPoolLimit", "poolSize >= 0")
            return
        self._pools[int(pool)] = pool_size

    def get_memory_pool_limit(self, pool: Any) -> int:
        """Return a memory pool's limit; by default all device memory, and 1 GiB for a kernel's shared memory."""
        defaults = dict.fromkeys(("WORKSPACE", "TACTIC_DRAM"), target().memory_bytes())
        defaults["TACTIC_SHARED_MEMORY"] = 1 << 30
        return self._pools.get(int(pool), defaults.get(pool.name, 0))

    def create_timing_cache(self, serialized_timing_cache: Any) -> Any:
        """Return a timing cache with this content, a new one for b"", None if the content is no timing cache."""
        cache = read_timing_cache(self._api, bytes(serialized_timing_cache))
        if cache is None:
            text = "Serialization assertion magicTagRead == kMAGIC_TAG failed.Magic tag does not match"
            self._reporter.error("IBuilderConfig::createTimingCache", text, code=1, kind="Serialization")
        return cache

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        """Use a timing cache; refuse one of another version or, unless told otherwise, another device."""
        if not cache._fits(ignore_device=ignore_mismatch):
            text = "Timing cache was generated by another version of TensorRT or for another device."
            self._reporter.usage_error("IBuilderConfig::setTimingCache", text)
            return False
        self._timing_cache = cache
        return True

    def get_timing_cache(self) -> Any:
        """Return the timing cache in use, or None."""
        return self._timing_cache

    # Observation

    profiling_verbosity = kept("profiling_verbosity", "How much the inspector can tell about the engine.")
    progress_monitor = kept("progress_monitor", "Who is told about the build's progress, and may cancel it.")

    # Classic quantization, TensorRT 10

    int8_calibrator = kept("int8_calibrator", "The calibrator of a weakly typed INT8 build.")
    quantization_flags = kept("quantization_flags", "The quantization flags as bits.", convert=int)

    def set_calibration_profile(self, profile: Any) -> bool:
        """Set the shapes used for calibration; its opt shapes count."""
        self._calibration_profile = profile
        return bool(profile)

    def get_calibration_profile(self) -> Any:
        """Return the calibration profile, or None."""
        return self._calibration_profile

    def set_quantization_flag(self, flag: Any) -> None:
        """Set a quantization flag; the emulation always calibrates before fusion."""
        self._quantization_flags |= 1 << int(flag)

    def clear_quantization_flag(self, flag: Any) -> None:
        """Clear a quantization flag."""
        self._quantization_flags &= ~(1 << int(flag))

    def get_quantization_flag(self, flag: Any) -> bool:
        """Return whether a quantization flag is set."""
        return bool(self._quantization_flags >> int(flag) & 1)

    # What the CPU has no use for

    avg_timing_iterations = _idle_setting("avg_timing_iterations", 1, "How often a kernel is timed.")
    builder_optimization_level = _idle_setting("builder_optimization_level", 3, "How hard to search for kernels.")
    max_aux_streams = _idle_setting("max_aux_streams", -1, "How many extra streams an engine may use.")
    max_num_tactics = _idle_setting("max_num_tactics", -1, "How many kernels to try.")
    l2_limit_for_tiling = _idle_setting("l2_limit_for_tiling", 0, "How much L2 cache tiling may use.")
    profile_stream = _idle_setting("profile_stream", 0, "The stream kernels are timed on.")
    tiling_optimization_level = _idle_setting(
        "tiling_optimization_level", ("TilingOptimizationLevel", "NONE"), "How hard to search for tilings."
    )
    engine_capability = _fixed("engine_capability", ("EngineCapability", "STANDARD"), "The runtime's kind.")
    default_device_type = _fixed("default_device_type", ("DeviceType", "GPU"), "Where layers run.")
    hardware_compatibility_level = _fixed(
        "hardware_compatibility_level",
        ("HardwareCompatibilityLevel", "NONE"),
        "Which other devices may load the plan.",
        meaning="the plan would load on other devices, but OpenVINO's executables are for one instruction set",
    )
    runtime_platform = _fixed("runtime_platform", ("RuntimePlatform", "SAME_AS_BUILD"), "Which system loads it.")
    DLA_core = _fixed("DLA_core", -1, "The deep learning accelerator (DLA): none.", meaning="there is no DLA")
    algorithm_selector = _fixed(
        "algorithm_selector", None, "Who chooses kernels: OpenVINO.", meaning="the program would choose kernels"
    )
    plugins_to_serialize: Any = _fixed("plugins_to_serialize", [], "Plugin libraries that go into the plan: none.")
    remote_auto_tuning_config = _fixed("remote_auto_tuning_config", "", "Where safety engines are tuned: nowhere.")
    build_route = _fixed("build_route", "", "Settings of the GPU's compiler: none.")

    @property
    def all_build_routes(self) -> str:
        """The compiler settings there are, as JSON; "", as where TensorRT cannot be tuned."""
        return ""

    def get_device_type(self, layer: Any) -> Any:
        """Return where a layer runs: on the GPU, as all do."""
        return self._api.DeviceType.GPU

    def is_device_type_set(self, layer: Any) -> bool:
        """Return whether a layer was moved: never."""
        return False

    def set_device_type(self, layer: Any, device_type: Any) -> None:
        """Refuse to move a layer to a deep learning accelerator."""
        if device_type != self._api.DeviceType.GPU:
            raise EmulationError(
                f"A deep learning accelerator (DLA) is not emulated; {layer.name} runs on the GPU.",
                fix="Leave the device type alone.",
            )

    def reset_device_type(self, layer: Any) -> None:
        """Do nothing: no layer was moved."""

    def can_run_on_DLA(self, layer: Any) -> bool:
        """Return whether a layer can run on a DLA: no."""
        return False

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        """Choose the libraries kernels come from; here they all come from OpenVINO."""
        self._reporter.warning("[emulation] IBuilderConfig.set_tactic_sources has no effect on the CPU.")
        self._tactic_sources = tactic_sources
        return True

    def get_tactic_sources(self) -> int:
        """Return the libraries kernels come from as bits."""
        return self._tactic_sources

    def set_preview_feature(self, feature: Any, enable: bool) -> None:
        """Turn a preview feature on or off."""
        self._reporter.warning("[emulation] IBuilderConfig.set_preview_feature has no effect on the CPU.")
        if enable:
            self._preview.add(int(feature))
        else:
            self._preview.discard(int(feature))

    def get_preview_feature(self, feature: Any) -> bool:
        """Return whether a preview feature is on."""
        return int(feature) in self._preview
