"""The part of Triton's `inference.ModelConfig` that we write, as protobuf knows it: names, types and numbers of its public definition."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

__all__ = ["read_config"]

_F = descriptor_pb2.FieldDescriptorProto
_TEXT, _INT32, _INT64, _UINT32, _UINT64, _BOOL = _F.TYPE_STRING, _F.TYPE_INT32, _F.TYPE_INT64, _F.TYPE_UINT32, _F.TYPE_UINT64, _F.TYPE_BOOL
_TYPES = "INVALID BOOL UINT8 UINT16 UINT32 UINT64 INT8 INT16 INT32 INT64 FP16 FP32 FP64 STRING BF16".split()  # noqa: SIM905
_ENUMS = {"DataType": [f"TYPE_{name}" for name in _TYPES], "Kind": ["KIND_AUTO", "KIND_GPU", "KIND_CPU", "KIND_MODEL"]}
_ENUMS["Format"] = ["FORMAT_NONE", "FORMAT_NHWC", "FORMAT_NCHW"]
_Field = tuple[str, int, Any, bool]
_MESSAGES: dict[str, list[_Field]] = {  # name, number, type (of protobuf, a message or an enum), repeated
    "ModelTensorReshape": [("shape", 1, _INT64, True)],
    "ModelInput": [
        ("name", 1, _TEXT, False),
        ("data_type", 2, "DataType", False),
        ("format", 3, "Format", False),
        ("dims", 4, _INT64, True),
        ("reshape", 5, "ModelTensorReshape", False),
        ("is_shape_tensor", 6, _BOOL, False),
        ("allow_ragged_batch", 7, _BOOL, False),
        ("optional", 8, _BOOL, False),
    ],
    "ModelOutput": [
        ("name", 1, _TEXT, False),
        ("data_type", 2, "DataType", False),
        ("dims", 3, _INT64, True),
        ("label_filename", 4, _TEXT, False),
        ("reshape", 5, "ModelTensorReshape", False),
    ],
    "Latest": [("num_versions", 1, _UINT32, False)],
    "ModelVersionPolicy": [("latest", 1, "Latest", False)],
    "ModelDynamicBatching": [
        ("preferred_batch_size", 1, _INT32, True),
        ("max_queue_delay_microseconds", 2, _UINT64, False),
        ("preserve_ordering", 3, _BOOL, False),
    ],
    "ModelInstanceGroup": [("name", 1, _TEXT, False), ("count", 2, _INT32, False), ("gpus", 3, _INT32, True), ("kind", 4, "Kind", False)],
    "ModelParameter": [("string_value", 1, _TEXT, False)],
    "ModelConfig": [
        ("name", 1, _TEXT, False),
        ("platform", 2, _TEXT, False),
        ("version_policy", 3, "ModelVersionPolicy", False),
        ("max_batch_size", 4, _INT32, False),
        ("input", 5, "ModelInput", True),
        ("output", 6, "ModelOutput", True),
        ("instance_group", 7, "ModelInstanceGroup", True),
        ("default_model_filename", 8, _TEXT, False),
        ("dynamic_batching", 11, "ModelDynamicBatching", False),
        ("parameters", 14, "ParametersEntry", True),
        ("backend", 17, _TEXT, False),
    ],
}


def read_config(text: str) -> Any:
    """Parse a `config.pbtxt` strictly: a field, type or enum value that Triton does not know is an error."""
    return text_format.Parse(text, _config()())


def _config() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="model_config.proto", package="inference", syntax="proto3")
    for name, values in _ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields:
            _add(message, *field)
        if name == "ModelConfig":
            entry = message.nested_type.add(name="ParametersEntry")
            entry.options.map_entry = True
            _add(entry, "key", 1, _TEXT, False)
            _add(entry, "value", 2, "ModelParameter", False)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))


def _add(message: Any, name: str, number: int, kind: Any, repeated: bool) -> None:
    field = message.field.add(name=name, number=number, label=_F.LABEL_REPEATED if repeated else _F.LABEL_OPTIONAL)
    if not isinstance(kind, str):
        field.type = kind
        return
    field.type = _F.TYPE_ENUM if kind in _ENUMS else _F.TYPE_MESSAGE
    field.type_name = f".inference.ModelConfig.{kind}" if kind == "ParametersEntry" else f".inference.{kind}"
