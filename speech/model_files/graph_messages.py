"""TensorFlow's graph messages for protobuf alone: no TensorFlow import, and none of its import time.

Declared at run time in a descriptor pool of their own, so that TensorFlow's registration of the same names in the same
process is not in the way. Names and numbers are those of tensorflow/core/framework/{graph,node_def,attr_value,tensor,
tensor_shape,versions,function}.proto and tensorflow/core/util/memmapped_file_system.proto; what is left out there
survives a round trip as unknown fields. Enums are declared int32, which is the same on the wire.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "tensorflow"

# message -> field -> (number, type); a type is a scalar's name or a message's, `*` marks a repeated field and
# `{}` a map from string.
_FIELDS: dict[str, dict[str, tuple[int, str]]] = {
    "GraphDef": {
        "node": (1, "*NodeDef"),
        "library": (2, "FunctionDefLibrary"),
        "version": (3, "int32"),
        "versions": (4, "VersionDef"),
    },
    "VersionDef": {"producer": (1, "int32"), "min_consumer": (2, "int32"), "bad_consumers": (3, "*int32")},
    "FunctionDefLibrary": {"function": (1, "*FunctionDef")},
    "FunctionDef": {"node_def": (3, "*NodeDef")},
    "NodeDef": {
        "name": (1, "string"),
        "op": (2, "string"),
        "input": (3, "*string"),
        "device": (4, "string"),
        "attr": (5, "{}AttrValue"),
    },
    "AttrValue": {
        "list": (1, "ListValue"),
        "s": (2, "bytes"),
        "i": (3, "int64"),
        "f": (4, "float"),
        "b": (5, "bool"),
        "type": (6, "int32"),
        "shape": (7, "TensorShapeProto"),
        "tensor": (8, "TensorProto"),
        "placeholder": (9, "string"),
        "func": (10, "NameAttrList"),
    },
    "ListValue": {
        "s": (2, "*bytes"),
        "i": (3, "*int64"),
        "f": (4, "*float"),
        "b": (5, "*bool"),
        "type": (6, "*int32"),
        "shape": (7, "*TensorShapeProto"),
        "tensor": (8, "*TensorProto"),
        "func": (9, "*NameAttrList"),
    },
    "NameAttrList": {"name": (1, "string"), "attr": (2, "{}AttrValue")},
    "TensorShapeProto": {"dim": (2, "*Dim"), "unknown_rank": (3, "bool")},
    "Dim": {"size": (1, "int64"), "name": (2, "string")},
    "TensorProto": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "TensorShapeProto"),
        "version_number": (3, "int32"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "*float"),
        "double_val": (6, "*double"),
        "int_val": (7, "*int32"),
        "string_val": (8, "*bytes"),
        "scomplex_val": (9, "*float"),
        "int64_val": (10, "*int64"),
        "bool_val": (11, "*bool"),
        "dcomplex_val": (12, "*double"),
        "half_val": (13, "*int32"),
        "uint32_val": (16, "*uint32"),
        "uint64_val": (17, "*uint64"),
    },
    "MemmappedFileSystemDirectory": {"element": (1, "*MemmappedFileSystemDirectoryElement")},
    "MemmappedFileSystemDirectoryElement": {"offset": (1, "uint64"), "name": (2, "string"), "length": (3, "uint64")},
}
_ONEOF = {"AttrValue": "value"}  # all fields of the message are one choice

_Field = descriptor_pb2.FieldDescriptorProto


def _set_type(field: Any, kind: str) -> None:
    if kind in _FIELDS:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    else:
        field.type = getattr(_Field, f"TYPE_{kind.upper()}")


def _add_map_entry(message: Any, field: Any, kind: str) -> None:
    """A map is a repeated nested message of key and value, marked as such."""
    entry = message.nested_type.add(name=f"{field.name.title()}Entry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_STRING)
    _set_type(entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL), kind)
    field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{message.name}.{entry.name}"


def _declare() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="speech/graph.proto", package=_PACKAGE, syntax="proto3")
    for message_name, fields in _FIELDS.items():
        message = file.message_type.add(name=message_name)
        if message_name in _ONEOF:
            message.oneof_decl.add(name=_ONEOF[message_name])
        for name, (number, kind) in fields.items():
            repeated = kind.startswith(("*", "{}"))
            label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            field = message.field.add(name=name, number=number, label=label)
            if message_name in _ONEOF:
                field.oneof_index = 0
            if kind.startswith("{}"):
                _add_map_entry(message, field, kind[2:])
            else:
                _set_type(field, kind.lstrip("*"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


_POOL = _declare()


def _message_class(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


GraphDef = _message_class("GraphDef")
NodeDef = _message_class("NodeDef")
AttrValue = _message_class("AttrValue")
TensorProto = _message_class("TensorProto")
TensorShapeProto = _message_class("TensorShapeProto")
MemmappedFileSystemDirectory = _message_class("MemmappedFileSystemDirectory")
