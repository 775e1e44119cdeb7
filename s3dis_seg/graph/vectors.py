"""The tools that the CPU kernels are written with: numba's compiler, and vector instructions for their inner loops.

What to know of numba before changing a kernel (numba_knn.py, numba_edges.py):

Compiling. A function under `@kernel` is compiled when it is first called with arguments of some types, and machine code
for these types is kept in `__pycache__` for the next process. Inside it only numbers, tuples and numpy arrays exist. A
name of the module is read once, when the kernel is compiled, and is a constant from then on.

The cache. numba finds kept code by the file that the kernel stands in, the types of the arguments, the processor and
the bytecode of the function. It does not look at other files, nor at constants of the module. `_Cache` therefore adds
to the key what else the code is made of: the text of the kernels' files (`_FILES`) and the processor's entry in the
table. After any change there, all kernels are compiled anew (half a minute). A kernel must not be a closure over an
intrinsic: that is a new object in every process, and its kept code would never be found again.

Vector instructions. LLVM, to which numba hands its code, does not find by itself how to keep a tile of distances, or
the running maxima of a point, in vector registers. Such an inner loop is written as instructions:

    def _write_sum(vectors, values, offset, count):      # runs once, while the kernel is compiled
        total = vectors.repeat(vectors.number(0), count, [vectors.zero], lambda i, state: ...)

    _sum = instructions(_write_sum)                      # what kernels call: _sum(values, offset=0, count=8)

`_write_...` is Python that runs while a kernel is compiled. It works on names of values that will exist when the
kernel runs: `vectors.load(...)` loads nothing, it appends a load to the code and returns the name of its result. A
Python loop there is unrolled; a loop of the kernel is `vectors.repeat`. Arguments that are arrays arrive as (numba
type, value) and are read through `load` and `scalar`; whole numbers arrive as int64. llvmlite's builder (`vectors.
builder`) has what Vectors lacks: add, mul, fsub, select, fcmp_ordered ...

What goes wrong. Nothing checks the offsets: an offset outside of an array reads or writes whatever is there. Types of
LLVM have to match exactly (an i32 is no i64), or it refuses with "Operands must be the same type". An instruction that
the processor lacks ends in "Cannot select". To see the result: `kernel.inspect_asm()` of the compiled function; spilled
registers show as `(%rsp)` in the inner loop. Try a change under the tests of tests/graph, which hold every kernel to
the definition, on this processor and on lesser ones.
"""

import hashlib
import inspect
from pathlib import Path

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.caching import FunctionCache
from numba.extending import intrinsic

from s3dis_seg.graph.processor import processor

VECTOR_BYTES = processor().vector_bytes
_FILES = ("processor.py", "vectors.py", "numba_knn.py", "numba_edges.py")


def _fingerprint():
    """Of all that a kernel's machine code is made of beside its own function. -> str"""
    texts = [Path(__file__).with_name(name).read_bytes() for name in _FILES]
    return hashlib.sha256(b"".join(texts) + repr(processor()).encode()).hexdigest()


class _Cache(FunctionCache):
    """numba's cache on disk; its key knows what else the kernels are made of."""

    _made_of = _fingerprint()

    def _index_key(self, sig, codegen):
        return (*super()._index_key(sig, codegen), self._made_of)


def kernel(function, flags=("contract", "nsz")):
    """Compiled, with the GIL released; kept on disk where there is a folder to write to."""
    compiled = numba.njit(nogil=True, boundscheck=False, fastmath=set(flags))(function)
    try:
        compiled._cache = _Cache(function)  # what njit(cache=True) does, with numba's own class
    except RuntimeError:  # no folder
        return compiled
    return compiled


def kernel_of_numbers(function):
    """As kernel, but LLVM may assume that there is no NaN (`nnan`), so that min and max vectorise."""
    return kernel(function, flags=("contract", "nsz", "nnan"))


class Vectors:
    """Writes instructions on vectors of one element type. Offsets count elements, from the start of an array."""

    def __init__(self, context, builder, element):
        self.builder = builder
        self.bits = element.bitwidth
        self.lanes = 8 * VECTOR_BYTES // self.bits
        self.type = ir.VectorType(context.get_value_type(element), self.lanes)
        self.zero = ir.Constant(self.type, None)
        self.one = ir.Constant(self.type, [1.0] * self.lanes)
        self.context = context

    def number(self, value):
        return ir.Constant(ir.IntType(64), value)

    def plus(self, offset, value):
        return self.builder.add(offset, self.number(value))

    def address(self, array, offset, kind=None):
        """array: (numba type, value); kind: read there as that type."""
        data = cgutils.create_struct_proxy(array[0])(self.context, self.builder, value=array[1]).data
        pointer = self.builder.gep(data, [offset])
        return pointer if kind is None else self.builder.bitcast(pointer, kind.as_pointer())

    def vector_of(self, array):
        return ir.VectorType(self.context.get_value_type(array[0].dtype), self.lanes)

    def load(self, array, offset):
        loaded = self.builder.load(self.address(array, offset, self.vector_of(array)))
        loaded.align = array[0].dtype.bitwidth // 8
        return loaded

    def scalar(self, array, offset):
        """One element; whole numbers come as int64."""
        loaded = self.builder.load(self.address(array, offset))
        if isinstance(array[0].dtype, types.Integer) and array[0].dtype.bitwidth < 64:
            loaded = self.builder.sext(loaded, ir.IntType(64))
        return loaded

    def store(self, value, array, offset):
        stored = self.builder.store(value, self.address(array, offset, value.type))
        stored.align = array[0].dtype.bitwidth // 8

    def splat(self, value):
        vector = ir.VectorType(value.type, self.lanes)
        one = self.builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), None)
        return self.builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), everywhere)

    def call(self, name, result, *arguments):
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), arguments)

    def multiply_add(self, x, y, z):
        return self.call(f"llvm.fmuladd.v{self.lanes}f{self.bits}", self.type, x, y, z)

    def positive(self, x):
        return self.builder.fcmp_ordered(">", x, self.zero)

    def repeat(self, first, last, state, body):
        """state = body(i, state) for i in first ... last - 1. -> state, a list of values"""
        builder, before = self.builder, self.builder.block
        test, inside, after = (builder.append_basic_block(name) for name in ("test", "inside", "after"))
        builder.branch(test)
        builder.position_at_end(test)
        i, *phis = [builder.phi(value.type) for value in (first, *state)]
        builder.cbranch(builder.icmp_signed("<", i, last), inside, after)
        builder.position_at_end(inside)
        news = [self.plus(i, 1), *body(i, phis)]
        for phi, old, new in zip((i, *phis), (first, *state), news):
            phi.add_incoming(old, before)
            phi.add_incoming(new, builder.block)
        builder.branch(test)
        builder.position_at_end(after)
        return phis

    def when(self, condition, state, body):
        """body(state) where the condition holds, else the state as it is. -> state, a list of values"""
        builder, before = self.builder, self.builder.block
        inside, after = (builder.append_basic_block(name) for name in ("inside", "after"))
        builder.cbranch(condition, inside, after)
        builder.position_at_end(inside)
        news = body(state)
        end = builder.block
        builder.branch(after)
        builder.position_at_end(after)
        phis = [builder.phi(value.type) for value in state]
        for phi, old, new in zip(phis, state, news):
            phi.add_incoming(old, before)
            phi.add_incoming(new, end)
        return phis


def instructions(write, result=types.void):
    """write(vectors, *arguments) -> a function for kernels, which may return what `write` does, of type `result`.

    Its arguments have the names that `write` gives them. Vectors have the element type of the first one. Arrays arrive
    as (numba type, value), whole numbers as int64.
    """
    _, *parameters = inspect.signature(write).parameters.values()
    signature = inspect.Signature(parameters)

    def define(typing, *given, **named):
        kinds = [types.unliteral(kind) for kind in signature.bind(*given, **named).args]
        numbers = {types.Integer: types.int64, types.Float: kinds[0].dtype}
        kinds = [numbers.get(type(kind), kind) for kind in kinds]

        def generate(context, builder, _, values):
            vectors = Vectors(context, builder, kinds[0].dtype)
            pairs = zip(kinds, values)
            returned = write(vectors, *[pair if isinstance(pair[0], types.Array) else pair[1] for pair in pairs])
            return context.get_dummy_value() if returned is None else returned

        return result(*kinds), generate

    # numba reads from here which arguments there are.
    typing = inspect.Parameter("typing", inspect.Parameter.POSITIONAL_ONLY)
    define.__signature__ = inspect.Signature([typing, *parameters])
    return intrinsic(define)
