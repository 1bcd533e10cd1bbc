"""What one layer of a network costs: weights, operations, and bytes kept for its backward pass."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

FLOAT, HALF = 4, 2  # bytes


@dataclass(frozen=True)
class Shape:
    """Rows x width token ids of one forward pass, and how many positions are predicted; `even`
    where no row is padded.
    """

    rows: int
    width: int
    predicted: int
    even: bool = True

    @property
    def tokens(self) -> int:
        return self.rows * self.width


@dataclass(frozen=True)
class Way:
    """How the step is computed."""

    half: bool = False  # bf16 or fp16 autocast over float weights
    cuda: bool = False
    checkpointing: bool = False  # layers are computed again in the backward pass
    sharded: int = 1  # devices that weights, gradients and states are divided among (FSDP)
    per_sample: bool = False  # a gradient of its own for each row (differential privacy)

    @property
    def bytes(self) -> int:
        """Of a number that matrices are multiplied in."""
        return HALF if self.half else FLOAT


@dataclass(frozen=True, kw_only=True)
class Layer(ABC):
    """A layer with self-attention of all tokens of a row, and an inner layer.

    Attributes:
        parameters: all of them, adapters too.
        trained: those that learn.
        products: weights that each token's states are multiplied with, without adapters.
        first: of these, the ones that multiply the layer's input (query, key and value).
        hidden: width of its states.
        attended: width of all heads together.
        heads: of its attention.
        inner: width of the inner layer.
        hidden_dropout, attention_dropout: shares.
        adapters: weights of low-rank adapters, which learn in place of all others; 0: none.
        first_adapters: of these, the ones that multiply the layer's input.
    """

    parameters: int
    trained: int
    products: int
    first: int
    hidden: int
    attended: int
    heads: int
    inner: int
    hidden_dropout: float
    attention_dropout: float
    adapters: int = 0
    first_adapters: int = 0

    def forward_flops(self, shape: Shape) -> int:
        """2 per weight and token; 4 T S a for attention (T tokens, rows of S, heads a wide)."""
        products = 2 * shape.tokens * (self.products + self.adapters)
        return products + 4 * shape.tokens * shape.width * self.attended

    def backward_flops(self, shape: Shape, way: Way) -> int:
        """As many for the gradients of the inputs, and of the weights that learn; attention by a
        fused kernel is computed again (2.5 instead of 2).
        """
        learning = self.adapters or self.products
        products = 2 * shape.tokens * (self.products + self.adapters + learning)
        attention = 4 * shape.tokens * shape.width * self.attended
        return products + 2 * attention + (attention // 2 if self.fused(way) else 0)

    def unread_flops(self, shape: Shape) -> int:
        """What backward saves where nothing below learns: the gradient of the layer's input."""
        return 2 * shape.tokens * (self.first + self.first_adapters)

    def first_token_flops(self, shape: Shape) -> int:
        """Of a FirstTokenLayer, which has the linear parts for one token per row, and 4 T n h for
        the attention of its n heads to all.
        """
        return 2 * shape.rows * self.products + 4 * shape.tokens * self.heads * self.hidden

    def first_token_kept(self, shape: Shape, way: Way) -> int:
        """Of a FirstTokenLayer: the same for one token per row, and for each head and token the
        softmax and what its dropout adds.
        """
        pairs = self.heads * shape.tokens * (2 * FLOAT + 1 if self.attention_dropout else FLOAT)
        return self.kept(Shape(shape.rows, 1, shape.rows), way) + pairs

    def fused(self, way: Way) -> bool:
        """Whether a kernel does attention as a whole; on a processor none does with dropout."""
        return way.cuda or self.attention_dropout == 0.0

    @abstractmethod
    def kept(self, shape: Shape, way: Way) -> int:
        """Bytes that it keeps for its backward pass, where it learns."""

    @abstractmethod
    def passing(self, shape: Shape, way: Way) -> int:
        """Bytes of gradients that live together in the backward pass of its inner layer."""

    @abstractmethod
    def around(self, shape: Shape, frozen: bool) -> int:
        """Bytes kept below the first layer and above the last one, whose number does not matter;
        `frozen` where the embeddings don't learn.
        """

    @abstractmethod
    def forward_only(self, shape: Shape, way: Way) -> int:
        """Bytes that it holds at its highest where it keeps nothing."""


class EncoderLayer(Layer):
    """BERT's, with scaled dot-product attention."""

    def kept(self, shape: Shape, way: Way) -> int:
        """In units of tokens x hidden: the inputs of query/key/value (one tensor; under autocast a
        half copy each), of the attention's output projection and of the inner layer; both norms'
        inputs (always float); query, key and value; dropout's two masks, in bytes. The inner layer:
        input and output of its activation. Attention without a fused kernel keeps, for each head
        and pair of positions, the softmax and the dropped softmax in float and dropout's mask in
        bytes.
        """
        unit = shape.tokens * self.hidden
        one = way.bytes
        inputs = (5 if way.half else 3) * one
        norms = 2 * FLOAT
        mask = 1 if self.hidden_dropout else 0
        fused = self.fused(way)
        attention_width = one if way.cuda else FLOAT
        # A fused kernel keeps the log-sum of each head's row too.
        statistics = 4 * FLOAT * shape.tokens + (FLOAT * shape.tokens * self.heads if fused else 0)
        pairs = 0
        if not fused:
            pairs = self.heads * shape.tokens * shape.width
            pairs *= 2 * FLOAT + 1 if self.attention_dropout else FLOAT
        inner = 2 * one * shape.tokens * self.inner
        return unit * (inputs + norms + 2 * mask + 3 * attention_width) + inner + pairs + statistics

    def passing(self, shape: Shape, way: Way) -> int:
        """The gradient of the inner layer's output, and of its input."""
        return way.bytes * shape.tokens * self.inner

    def around(self, shape: Shape, frozen: bool) -> int:
        """Sum and normalised sum of the embeddings; the last layer's output."""
        return FLOAT * shape.tokens * self.hidden * (1 if frozen else 3)

    def forward_only(self, shape: Shape, way: Way) -> int:
        """At its inner layer: input and output of the activation beside the layer's input and the
        attention's output; or in attention: input, query, key, value and their result. Without a
        fused kernel there are scores, masked scores, softmax and dropped softmax then, and the bits
        that dropout draws.
        """
        unit = FLOAT * shape.tokens * self.hidden
        inner = 2 * unit + 2 * way.bytes * shape.tokens * self.inner
        pairs = 0 if self.fused(way) else self.heads * shape.tokens * shape.width
        attention = 7 * unit if not pairs else 6 * unit + (4 * FLOAT + 3) * pairs
        return max(inner, attention)


@dataclass(frozen=True, kw_only=True)
class DecoderLayer(Layer):
    """Llama's: norms before attention and before a gated inner layer; each row has a mask, since
    texts lie end to end in it.

    Attributes:
        adapted: widths of what goes into the adapters, together.
        ranks: widths of what comes out of their first matrices, together.
    """

    adapted: int = 0
    ranks: int = 0

    def kept(self, shape: Shape, way: Way) -> int:
        """Per token: of each norm the input, what the norm's own weight is multiplied with where it
        learns, and its output, which is the input of several products (under autocast a half copy
        each); rotated query and key, value and attention's result, as wide as all heads; of the
        inner layer gate, its activation, what it is multiplied with, and the product. The mask is
        made float for each layer. Adapters with dropout keep inputs of their own in place of all
        these inputs, with a mask in bytes.
        """
        one = way.bytes
        norms = 2 * FLOAT * self.hidden * (1 if self.adapters else 2)
        inputs = (5 * HALF if way.half else 2 * FLOAT) * self.hidden + one * self.inner
        if self.adapters and self.hidden_dropout:
            inputs = (one + 1) * self.adapted
        rest = 4 * one * self.attended + 3 * one * self.inner + one * self.ranks
        statistics = FLOAT * (self.heads + 2)
        mask = (one if way.cuda else FLOAT) * shape.width
        return shape.tokens * (norms + inputs + rest + statistics + mask)

    def passing(self, shape: Shape, way: Way) -> int:
        """Gradients of the product, of what was multiplied, and of the gate."""
        return 2 * way.bytes * shape.tokens * self.inner

    def around(self, shape: Shape, frozen: bool) -> int:
        """The last norm's input, what its weight is multiplied with where it learns, and its
        output; the mask, in bytes.
        """
        states = FLOAT * shape.tokens * self.hidden * (2 if frozen else 3)
        return states + shape.tokens * shape.width

    def forward_only(self, shape: Shape, way: Way) -> int:
        """At its inner layer: gate, activation, its partner and the product."""
        return shape.tokens * (3 * FLOAT * self.hidden + 4 * way.bytes * self.inner)
