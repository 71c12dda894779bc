"""Every emulated class by NVIDIA's name."""

from __future__ import annotations

from yolotrt_lab.emulation.tensorrt.builder import Builder
from yolotrt_lab.emulation.tensorrt.config import IBuilderConfig, IOptimizationProfile
from yolotrt_lab.emulation.tensorrt.context import IExecutionContext
from yolotrt_lab.emulation.tensorrt.debug_tensors import IDebugListener
from yolotrt_lab.emulation.tensorrt.engine import ICudaEngine
from yolotrt_lab.emulation.tensorrt.inspector import EngineInspector
from yolotrt_lab.emulation.tensorrt.interfaces import (
    IAlgorithmSelector,
    IInt8Calibrator,
    IInt8EntropyCalibrator,
    IInt8EntropyCalibrator2,
    IInt8LegacyCalibrator,
    IInt8MinMaxCalibrator,
    IOutputAllocator,
    IProfiler,
    IProgressMonitor,
    Profiler,
)
from yolotrt_lab.emulation.tensorrt.logging import IErrorRecorder, ILogger, Logger
from yolotrt_lab.emulation.tensorrt.network import INetworkDefinition
from yolotrt_lab.emulation.tensorrt.network_layers import LAYER_CLASSES
from yolotrt_lab.emulation.tensorrt.objects import ApiObject
from yolotrt_lab.emulation.tensorrt.parser import OnnxParser, ParserError
from yolotrt_lab.emulation.tensorrt.parser_refitter import OnnxParserRefitter
from yolotrt_lab.emulation.tensorrt.permutation import Permutation
from yolotrt_lab.emulation.tensorrt.plan_streams import IStreamReader, IStreamReaderV2, IStreamWriter
from yolotrt_lab.emulation.tensorrt.plugin_fields import (
    DynamicPluginTensorDesc,
    FallbackString,
    PluginField,
    PluginFieldCollection,
    PluginFieldCollection_,
    PluginTensorDesc,
)
from yolotrt_lab.emulation.tensorrt.plugin_registry import IPluginRegistry
from yolotrt_lab.emulation.tensorrt.refitter import Refitter
from yolotrt_lab.emulation.tensorrt.runtime import Runtime
from yolotrt_lab.emulation.tensorrt.serialization import IRuntimeConfig, ISerializationConfig
from yolotrt_lab.emulation.tensorrt.tensor import ITensor
from yolotrt_lab.emulation.tensorrt.timing_cache import ITimingCache, TimingCacheKey, TimingCacheValue
from yolotrt_lab.emulation.tensorrt.values import Dims, Dims2, Dims3, Dims4, DimsHW, IHostMemory, Weights
from yolotrt_lab.emulation.tensorrt.versioned import (
    IGpuAllocator,
    IGpuAsyncAllocator,
    InterfaceInfo,
    IVersionedInterface,
)

__all__ = ["IMPLEMENTATIONS"]

_CLASSES: tuple[type[ApiObject], ...] = (
    *LAYER_CLASSES,
    Builder,
    Dims,
    Dims2,
    Dims3,
    Dims4,
    DimsHW,
    DynamicPluginTensorDesc,
    EngineInspector,
    FallbackString,
    IAlgorithmSelector,
    IBuilderConfig,
    ICudaEngine,
    IDebugListener,
    IErrorRecorder,
    IExecutionContext,
    IGpuAllocator,
    IGpuAsyncAllocator,
    IHostMemory,
    IInt8Calibrator,
    IInt8EntropyCalibrator,
    IInt8EntropyCalibrator2,
    IInt8LegacyCalibrator,
    IInt8MinMaxCalibrator,
    ILogger,
    INetworkDefinition,
    IOptimizationProfile,
    IOutputAllocator,
    IPluginRegistry,
    IProfiler,
    IProgressMonitor,
    IRuntimeConfig,
    ISerializationConfig,
    IStreamReader,
    IStreamReaderV2,
    IStreamWriter,
    ITensor,
    ITimingCache,
    IVersionedInterface,
    InterfaceInfo,
    Logger,
    OnnxParser,
    OnnxParserRefitter,
    ParserError,
    Permutation,
    PluginField,
    PluginFieldCollection,
    PluginFieldCollection_,
    PluginTensorDesc,
    Profiler,
    Refitter,
    Runtime,
    TimingCacheKey,
    TimingCacheValue,
    Weights,
)

IMPLEMENTATIONS: dict[str, type[ApiObject]] = {cls.__name__: cls for cls in _CLASSES}
