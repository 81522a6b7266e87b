"""The stock server: its version, options, operations and metrics."""

from functools import cache
from pathlib import Path

#: The release of TensorFlow Serving that the deployment files name.
VERSION = "2.19.1"

#: The newest graph that its runtime was made for, `TF_GRAPH_DEF_VERSION` in tensorflow/core/public/version.h.
#: A graph may ask for a runtime at least so new (`min_consumer`).
GRAPH_VERSION = 2129

_OPERATIONS = Path(__file__).parent / "operations.txt"

#: Operations of every TensorFlow that call Python, which the server does not have.
NEED_PYTHON = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})

#: The options of its program. Source: `tensorflow_serving/model_servers/main.cc`.
_OPTIONS = """
port grpc_socket_path rest_api_port rest_api_num_threads rest_api_timeout_in_ms rest_api_enable_cors_support
enable_batching allow_version_labels_for_unavailable_models batching_parameters_file
enable_per_model_batching_parameters model_config_file model_config_file_poll_wait_seconds model_name
model_base_path num_load_threads num_unload_threads max_num_load_retries load_retry_interval_micros
file_system_poll_wait_seconds flush_filesystem_caches tensorflow_session_parallelism
tensorflow_session_config_file tensorflow_intra_op_parallelism tensorflow_inter_op_parallelism
use_alts_credentials ssl_config_file platform_config_file per_process_gpu_memory_fraction saved_model_tags
grpc_channel_arguments grpc_max_threads enable_model_warmup num_request_iterations_for_warmup version
monitoring_config_file remove_unused_fields_from_bundle_metagraph xla_cpu_compilation_enabled
xla_gpu_compilation_enabled enable_profiler thread_pool_factory_config_file mixed_precision
prefer_tflite_model num_tflite_pools
num_tflite_interpreters_per_pool enable_signature_method_name_check skip_initialize_tpu
enable_grpc_healthcheck_service enable_serialization_as_tensor_content
"""
OPTIONS = frozenset(_OPTIONS.split())

#: Prometheus's name of a metric -> its kind. Sources: `tensorflow_serving/servables/tensorflow/util.cc`,
#: `tensorflow_serving/batching/batching_session.cc`, `tensorflow/cc/saved_model/{loader,metrics}.cc`, and
#: `tensorflow_serving/util/prometheus_exporter.cc` for how names and kinds are written.
METRICS = {
    ":tensorflow:serving:request_count": "counter",
    ":tensorflow:serving:request_latency": "histogram",
    ":tensorflow:serving:runtime_latency": "histogram",
    ":tensorflow:serving:batching_session:queuing_latency": "histogram",
    ":tensorflow:serving:batching_session:input_batch_size": "histogram",
    ":tensorflow:serving:batching_session:processed_batch_size": "histogram",
    ":tensorflow:serving:batching_session:padding_size": "histogram",
    ":tensorflow:cc:saved_model:load_attempt_count": "counter",
    ":tensorflow:cc:saved_model:load_latency": "counter",
    ":tensorflow:serving:model_warmup_latency": "histogram",
}

#: Metrics of Prometheus itself and of NVIDIA's exporter.
OTHER_METRICS = frozenset({"up", "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE"})


def series() -> frozenset[str]:
    """Every name that a query may use; a histogram is three series."""
    parts = {"counter": ("",), "histogram": ("_bucket", "_sum", "_count")}
    return OTHER_METRICS | {name + part for name, kind in METRICS.items() for part in parts[kind]}


@cache
def operations() -> dict[str, frozenset[str]]:
    """Operation -> its attributes, of the stock server. The file states how it was made."""
    lines = (line.split() for line in _OPERATIONS.read_text().splitlines() if not line.startswith("#"))
    return {name: frozenset(attributes) for name, *attributes in lines}
