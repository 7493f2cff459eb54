"""A strict reader of the ONNX wire format that decides, before any session exists, whether a graph is only operators and tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from autorec_kernel.errors import BundleError

__all__ = ["ALLOWED_OPS", "MAX_IR", "MAX_OPSET", "check_graph"]

MAX_IR, MAX_OPSET = 10, 20
_DOMAINS = frozenset({"", "ai.onnx"})
_EXTRA = {"com.microsoft": frozenset({"MatMulNBits"})}  # onnxruntime's own products of four-bit weights, which check their shapes at load
ALLOWED_OPS = frozenset(
    """
    Abs Add And ArgMax ArgMin AveragePool BatchNormalization BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast
    CastLike Ceil Celu Clip
    Concat Constant ConstantOfShape Conv Cos CumSum DequantizeLinear Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand
    EyeLike Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual
    GroupNormalization HardSigmoid HardSwish Hardmax Identity IsInf IsNaN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log
    LogSoftmax MatMul MatMulInteger Max MaxPool Mean Min Mish Mod Mul Neg NonZero Not OneHot Or PRelu Pad Pow QuantizeLinear RNN Range
    Reciprocal ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Round
    ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign Split Sqrt Squeeze Sub Sum Tanh
    ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Where Xor
    """.split()  # noqa: SIM905
)
_Field = tuple[int, int | memoryview]
_Visit = Callable[[memoryview], None]


def check_graph(data: bytes, name: str) -> None:
    """Refuse an ONNX model that could do more than compute on its own tensors.

    External data (in any tensor, in attributes too), subgraphs, functions, training information, foreign operator domains, operators
    outside the list and fields unknown to this reader are refused.

    Args:
        data: The serialised `ModelProto`.
        name: Member named in the error.

    Raises:
        BundleError: The graph is refused, with the reason.
    """
    try:
        _model(memoryview(data))
    except _Refused as error:
        raise BundleError(f"member {name!r} {error}") from None


class _Refused(ValueError):
    pass


def _model(data: memoryview) -> None:
    graphs = 0
    for field, value in _fields(data, {1, 2, 3, 4, 5, 6, 7, 8, 14}, "model"):
        if field == 1 and not 3 <= _number(value) <= MAX_IR:
            raise _Refused(f"has IR version {value}, this version reads up to {MAX_IR}")
        if field == 7:
            graphs += 1
            _graph(_bytes(value))
        if field == 8:
            _opset(_bytes(value))
    if graphs != 1:
        raise _Refused(f"holds {graphs} graphs instead of one")


def _opset(data: memoryview) -> None:
    domain, version = "", 0
    for field, value in _fields(data, {1, 2}, "operator set"):
        domain, version = (_text(value), version) if field == 1 else (domain, _number(value))
    if not (7 <= version <= MAX_OPSET if domain in _DOMAINS else domain in _EXTRA and version == 1):
        raise _Refused(f"imports the operators {domain or 'ai.onnx'!r} version {version}; only ai.onnx up to {MAX_OPSET} is run")


def _graph(data: memoryview) -> None:
    visits: dict[int, _Visit] = {1: _node, 5: _tensor}
    for field, value in _fields(data, {1, 2, 5, 10, 11, 12, 13}, "graph"):
        if field in visits:
            visits[field](_bytes(value))


def _node(data: memoryview) -> None:
    op, domain = "", ""
    for field, value in _fields(data, {1, 2, 3, 4, 5, 6, 7}, "node"):
        if field == 4:
            op = _text(value)
        elif field == 7:
            domain = _text(value)
        elif field == 5:
            _attribute(_bytes(value))
    if op not in (ALLOWED_OPS if domain in _DOMAINS else _EXTRA.get(domain, frozenset())):
        raise _Refused(f"uses the operator {domain + '::' if domain else ''}{op[:60]}, which bundles may not use")


def _attribute(data: memoryview) -> None:
    for field, value in _fields(data, {1, 2, 3, 4, 5, 7, 8, 9, 10, 13, 20}, "attribute (a subgraph or a type)"):
        if field in (5, 10):
            _tensor(_bytes(value))


def _tensor(data: memoryview) -> None:
    for field, value in _fields(data, {1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14}, "tensor (external data)"):
        if field == 14 and _number(value) != 0:
            raise _Refused("keeps a tensor in another file (external data)")


def _fields(data: memoryview, known: set[int], where: str) -> Iterator[_Field]:
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        field, kind = tag >> 3, tag & 7
        if field not in known:
            raise _Refused(f"has a field {field} that is not allowed in a {where}")
        if kind == 0:
            value, position = _varint(data, position)
            yield field, value
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            position = _advance(data, position, size)
            yield field, data[position - size : position]
        elif kind == 2:
            size, position = _varint(data, position)
            position = _advance(data, position, size)
            yield field, data[position - size : position]
        else:
            raise _Refused(f"is not a well-formed {where}")


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _Refused("ends inside a number")


def _advance(data: memoryview, position: int, size: int) -> int:
    if size > len(data) - position:
        raise _Refused("ends inside a field")
    return position + size


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _Refused("holds a number where a message belongs")
    return value


def _number(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise _Refused("holds bytes where a number belongs")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_bytes(value)).decode("utf-8", "backslashreplace")
